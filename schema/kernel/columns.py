"""Column types that mean the same on SQLite and PostgreSQL, and the base of every table."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import JSON, Column, DateTime, Dialect, MetaData, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

# Named constraints, because a migration can only drop what has a name on both databases.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

E = TypeVar("E", bound=StrEnum)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC on both databases; SQLite keeps no zone, so it is put back when reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            msg = "a naive datetime has no place in the database"
            raise ValueError(msg)
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class EnumText(TypeDecorator[E]):
    """A StrEnum kept as text: adding a member needs no migration, unlike a database enum."""

    impl = String(32)
    cache_ok = True

    def __init__(self, enum: type[E]) -> None:
        super().__init__()
        self.enum = enum

    def process_bind_param(self, value: E | str | None, _dialect: Dialect) -> str | None:
        return None if value is None else str(self.enum(value))

    def process_result_value(self, value: str | None, _dialect: Dialect) -> E | None:
        return None if value is None else self.enum(value)


JsonDocument = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Table(SQLModel):
    """Base of every table. No ORM relationships: a query names what it reads, so nothing loads behind its back."""


Table.metadata.naming_convention = NAMING
metadata: MetaData = Table.metadata


class TenantTable(Table):
    """A table whose rows belong to one organization. Query it through `schema.kernel.tenancy` only."""

    # By name, not as a ForeignKey object: every table needs one of its own.
    organization_id: str = Field(foreign_key="organizations.id", sa_type=String, nullable=False)


def id_field() -> Any:
    return Field(primary_key=True, sa_type=String)


def time_field(**options: Any) -> Any:
    return Field(sa_type=UtcDateTime, nullable=False, **options)


def optional_time_field(**options: Any) -> Any:
    return Field(default=None, sa_type=UtcDateTime, nullable=True, **options)


def enum_field(enum: type[StrEnum], **options: Any) -> Any:
    return Field(sa_type=EnumText(enum), **options)


def json_field(**options: Any) -> Any:
    factory = options.pop("default_factory", None)
    if factory is not None:
        # Pydantic asks for a factory's signature each time it calls it; that of a class takes longer than all the rest.
        options["default_factory"] = lambda: factory()  # noqa: PLW0108
    return Field(sa_type=JsonDocument, **options)


def all_columns(table: type[Table]) -> list[Column[Any]]:
    """Every column of a table, for a select that yields light rows instead of entities."""
    return list(metadata.tables[str(table.__tablename__)].columns)
