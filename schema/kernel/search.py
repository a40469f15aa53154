"""Free-text search as one predicate, the same on both databases."""

from __future__ import annotations

from sqlalchemy import ColumnElement, SQLColumnExpression

from schema.kernel.errors import bad_request

MAX_SEARCH_LENGTH = 200


def contains(column: SQLColumnExpression[str], text: str) -> ColumnElement[bool]:
    """Case-insensitive substring match with the wildcards of LIKE taken literally. BAD_REQUEST over 200 characters."""
    if len(text) > MAX_SEARCH_LENGTH:
        message = f"search must contain at most {MAX_SEARCH_LENGTH} characters"
        raise bad_request(message)
    if "\x00" in text:
        message = "search must not contain a NUL character"
        raise bad_request(message)
    return column.icontains(text, autoescape=True)
