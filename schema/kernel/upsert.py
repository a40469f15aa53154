"""Inserts of many rows, and inserts that meet what is there already, spelled once for both databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import CursorResult, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.columns import Table, metadata

T = TypeVar("T")


BATCH = 500  # rows of a statement


def batches(rows: Iterable[T]) -> Iterable[list[T]]:
    """As they are used: rows that are made while they are written do not hold up whatever else goes on."""
    remaining = iter(rows)
    while batch := list(islice(remaining, BATCH)):
        yield batch


async def insert_rows(session: AsyncSession, table: type[Table], rows: Iterable[Mapping[str, Any]]) -> None:
    """Inserts the rows, all with the same keys, a batch with each statement."""
    connection = await session.connection()  # past the ORM, which takes four times as long
    statement = insert(metadata.tables[str(table.__tablename__)])
    for batch in batches(rows):
        await connection.execute(statement, batch)


async def insert_missing(
    session: AsyncSession,
    table: type[Table],
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    unique: Sequence[str],
) -> int:
    """Inserts the rows whose unique key is free and returns how many; of two writers at once, one inserts."""
    rows = [values] if isinstance(values, Mapping) else list(values)
    if not rows:
        return 0
    statement = _dialect(session).insert(table).values(rows).on_conflict_do_nothing(index_elements=list(unique))
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount


async def upsert_rows(
    session: AsyncSession,
    table: type[Table],
    rows: Sequence[Mapping[str, Any]],
    *,
    unique: Sequence[str],
    columns: Sequence[str],
) -> None:
    """Inserts rows, all with the same keys, or gives these columns of those that are there their values."""
    target = metadata.tables[str(table.__tablename__)]
    statement = _dialect(session).insert(target)
    statement = statement.on_conflict_do_update(
        index_elements=list(unique), set_={name: statement.excluded[name] for name in columns}
    )
    connection = await session.connection()
    for batch in batches(rows):
        await connection.execute(statement, batch)


async def add_counts(
    session: AsyncSession, table: type[Table], rows: Sequence[Mapping[str, Any]], *, unique: Sequence[str]
) -> None:
    """Adds each row's `count` to the row of the same unique key, which is made when it is missing."""
    if not rows:
        return
    statement = _dialect(session).insert(table).values(list(rows))
    counted = metadata.tables[str(table.__tablename__)].c.count + statement.excluded.count
    await session.execute(statement.on_conflict_do_update(index_elements=list(unique), set_={"count": counted}))


def _dialect(session: AsyncSession) -> Any:
    """The module whose `insert` knows ON CONFLICT in the database's own way."""
    return sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
