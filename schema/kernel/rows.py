"""Types of the schema that are read off database rows: how a field says which columns it needs.

A plain field reads the column of its Python name. `part_of_source` makes an object of more columns of the same row, and
`resolved_field` is fetched by a resolver, which says what it reads of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import strawberry
from sqlalchemy import ColumnElement, String, type_coerce
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import col
from strawberry.types.field import StrawberryField

READS = "reads"  # key of a field's metadata


class PartOfSource(StrawberryField):
    """A field whose source is its parent's source."""

    def get_result(self, source: Any, info: Any, args: Any, kwargs: Any) -> Any:
        del info, args, kwargs
        return source


def part_of_source(*, description: str) -> Any:
    """A field whose object is made of columns of its parent's row, as `package` is of `package_name` and others."""
    return PartOfSource(python_name=None, graphql_name=None, type_annotation=None, description=description)


def resolved_field(*, description: str, reads: Sequence[str] = ("id",)) -> Callable[..., Any]:
    """A field below the root that is fetched when it is asked for; `reads` are columns of its parent's row."""
    return cast("Callable[..., Any]", strawberry.field(description=description, metadata={READS: tuple(reads)}))


class _WrittenTime(FunctionElement[str]):
    """A stored time in the form of `iso_utc`, written by the database."""

    type = String()
    inherit_cache = True


@compiles(_WrittenTime, "sqlite")
def _from_sqlite(element: _WrittenTime, compiler: SQLCompiler, **options: Any) -> str:
    # SQLite keeps text in UTC: 2026-04-26 14:22:11.000000.
    column = compiler.process(element.clauses, **options)
    return f"substr({column}, 1, 10) || 'T' || substr({column}, 12, 12) || 'Z'"


@compiles(_WrittenTime, "postgresql")
def _from_postgresql(element: _WrittenTime, compiler: SQLCompiler, **options: Any) -> str:
    column = compiler.process(element.clauses, **options)
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


def as_time(column: Any) -> ColumnElement[str]:
    """A time column as the text an answer has: half of what a row costs would go into reading and writing times."""
    return _WrittenTime(column)


def as_text(column: Any) -> ColumnElement[str]:
    """An enum column as the text it is stored as: the schema writes a name either way, and a row costs less."""
    return type_coerce(col(column), String)
