"""Parameters of statements that are built once and executed with values."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, bindparam

ORGANIZATION = "organization_id"


def parameter(name: str, type_: Any = None) -> BindParameter[Any]:
    return bindparam(name, type_=type_)


def any_of(name: str) -> BindParameter[Any]:
    """For `column.in_(any_of("statuses"))`: the value is a list."""
    return bindparam(name, expanding=True)
