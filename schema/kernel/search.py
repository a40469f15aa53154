"""Free-text search as one predicate, the same on both databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func

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
