"""Insert-unless-there, spelled once for both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CursorResult
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.columns import Table


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
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table).values(rows).on_conflict_do_nothing(index_elements=list(unique))
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount
