"""Alembic's entry: always on a connection that the caller opened and whose transaction the caller ends."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import JSON, Connection, DateTime, String
from sqlalchemy.types import TypeDecorator

from schema.tables import metadata


def render_type(kind: str, value: Any, _autogenerate: object) -> str | Literal[False]:
    """Spells our column types with SQLAlchemy's own: a migration must not change when our code does."""
    if kind != "type":
        return False
    plain = value.impl if isinstance(value, TypeDecorator) else value
    if isinstance(plain, DateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(plain, JSON):
        return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
    if type(plain) is not String and isinstance(plain, String) and type(plain).__module__.startswith("sqlmodel"):
        return "sa.String()" if plain.length is None else f"sa.String(length={plain.length})"
    if isinstance(value, TypeDecorator) and isinstance(plain, String):
        return f"sa.String(length={plain.length})"
    return False


connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    render_item=render_type,
    compare_type=True,
    transactional_ddl=False,  # the caller's transaction is the one
)
context.run_migrations()
