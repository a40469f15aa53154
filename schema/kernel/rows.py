"""Types of the schema that are read off database rows: how a field says which columns it needs.

A plain field reads the column of its Python name. `part_of_source` makes an object of more columns of the same row, and
`resolved_field` is fetched by a resolver, which says what it reads of the row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import strawberry
from sqlalchemy import ColumnElement, String, type_coerce
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


def as_text(column: Any) -> ColumnElement[str]:
    """An enum column as the text it is stored as: the schema writes a name either way, and a row costs less."""
    return type_coerce(col(column), String)
