"""Free-text search as one predicate, the same on both databases."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Dialect, String, func
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from schema.kernel.errors import bad_request
from schema.kernel.parameters import parameter

MAX_SEARCH_LENGTH = 200
_ESCAPE = "/"


def contains(column: Any, name: str) -> ColumnElement[bool]:
    """Case-insensitive substring match with the parameter of that name, whose value `pattern` makes."""
    return func.lower(column).like(func.lower(parameter(name)), escape=_ESCAPE)


def pattern(text: str | None) -> str | None:
    """What LIKE has to match for a text to be found as it is; None for none. BAD_REQUEST over 200 characters."""
    if not text:
        return None
    if len(text) > MAX_SEARCH_LENGTH:
        message = f"search must contain at most {MAX_SEARCH_LENGTH} characters"
        raise bad_request(message)
    if "\x00" in text:
        message = "search must not contain a NUL character"
        raise bad_request(message)
    escaped = text.replace(_ESCAPE, _ESCAPE * 2).replace("%", f"{_ESCAPE}%").replace("_", f"{_ESCAPE}_")
    return f"%{escaped}%"


class _Glob(TypeDecorator[str]):
    """A glob as the database takes it: SQLite knows globs, PostgreSQL regular expressions."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if dialect.name == "sqlite":
            return value.replace("[!", "[^")
        return f"^{''.join(_expressions(value))}$"


def _expressions(glob: str) -> list[str]:
    wild = {"*": ".*", "?": "."}
    parts = re.findall(r"\[[!^]?\]?[^\]]*\]|.", glob, re.DOTALL)
    return [
        wild.get(part, part.replace("[!", "[^").replace("\\", "\\\\") if len(part) > 1 else re.escape(part))
        for part in parts
    ]


class _MatchesGlob(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True


@compiles(_MatchesGlob)
def _matches_glob(element: _MatchesGlob, compiler: SQLCompiler, **options: Any) -> str:
    column, glob = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} {'GLOB' if compiler.dialect.name == 'sqlite' else '~'} {glob}"


def matches_glob(column: Any, name: str) -> ColumnElement[bool]:
    """Whether a column matches the glob (`*`, `?`, `[…]`, capitals count) that a parameter holds."""
    return _MatchesGlob(column, parameter(name, _Glob()))
