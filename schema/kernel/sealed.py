"""Where sealed secrets are stored, and wrapping their data keys anew while the product runs.

A batch is read, wrapped outside of any transaction, and written; a row that was changed meanwhile is left to the next
pass. What is done has the new key's id, so a pass that was cut off goes on where it stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, bindparam, func, literal, select, true, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.columns import TenantTable, metadata
from schema.kernel.database import Database
from schema.kernel.ports import KeyProvider
from schema.kernel.secrets import rewrap, seal_context
from schema.kernel.tenancy import across_tenants

_AT_ONCE = 16  # questions to a key service
_WHY = "the key of every secret is changed, whoever it belongs to"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedColumn:
    """A column of sealed secrets. `row_id` makes the name of a row's place of its primary key, as it was sealed with."""

    table: type[TenantTable]
    column: str
    row_id: Callable[[Sequence[str]], str] = lambda key: key[0]

    @property
    def name(self) -> str:
        return f"{self.table.__tablename__}.{self.column}"

    @property
    def stored(self) -> Column[Any]:
        return metadata.tables[str(self.table.__tablename__)].c[self.column]

    @property
    def key_columns(self) -> list[Column[Any]]:
        """The primary key, without the organization."""
        return [each for each in self.stored.table.primary_key.columns if each.name != "organization_id"]

    def sealed_with_others(self, key_id: str | None) -> ColumnElement[bool]:
        """Rows to wrap anew: under any key but this, or all of them."""
        owned = across_tenants(self.table, because=_WHY) & self.stored.is_not(None)
        return owned & (true() if key_id is None else self.stored["keyId"].as_string() != key_id)

    def place(self, organization_id: str, key: Sequence[str]) -> bytes:
        return seal_context(
            organization_id=organization_id,
            table=str(self.table.__tablename__),
            column=self.column,
            row_id=self.row_id(key),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of some rows. `damaged` names the places whose secrets could not be unwrapped."""

    done: int
    damaged: tuple[str, ...]
    last: tuple[str, ...] | None  # continue after this row; None: there are no more


async def count_sealed(session: AsyncSession, place: SealedColumn, *, but: str | None) -> int:
    """Secrets under other keys than `but`, or all."""
    statement = select(func.count()).select_from(place.stored.table).where(place.sealed_with_others(but))
    return (await session.execute(statement)).scalar_one()


async def rewrap_batch(
    database: Database,
    place: SealedColumn,
    keys: KeyProvider,
    *,
    after: tuple[str, ...] | None,
    size: int,
    every: bool = False,
) -> Batch:
    """Wraps the next `size` secrets' data keys with the newest key. `every`: also those it has wrapped already."""
    table, organization = place.stored.table, place.stored.table.c.organization_id
    order = [organization, *place.key_columns]
    statement = (
        select(*order, place.stored)
        .where(place.sealed_with_others(None if every else keys.key_id))
        .order_by(*order)
        .limit(size)
    )
    if after is not None:
        statement = statement.where(tuple_(*order) > tuple_(*(literal(value) for value in after)))
    async with database.read() as session:
        rows = (await session.execute(statement)).all()
    limit = asyncio.Semaphore(_AT_ONCE)

    async def wrapped(row: Sequence[Any]) -> dict[str, Any] | str:
        organization_id, *key = row[:-1]
        async with limit:
            try:
                sealed = await rewrap(keys, row[-1], context=place.place(organization_id, key))
            except ValueError as error:
                return f"{place.name} {' '.join(key)}: {error}"
        named = {f"key_{index}": value for index, value in enumerate((organization_id, *key))}
        return named | {"before": row[-1]["key"], "sealed": sealed}

    outcomes = await asyncio.gather(*(wrapped(row) for row in rows))
    changes = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    if changes:
        change = (
            update(table)
            .where(
                across_tenants(place.table, because=_WHY),
                *(column == bindparam(f"key_{index}") for index, column in enumerate(order)),
                place.stored["key"].as_string() == bindparam("before"),
            )
            .values({place.column: bindparam("sealed", type_=place.stored.type)})
        )
        async with database.write() as session:
            connection = await session.connection()
            await connection.execute(change, changes)
    return Batch(
        done=len(changes),
        damaged=tuple(outcome for outcome in outcomes if isinstance(outcome, str)),
        last=tuple(rows[-1][:-1]) if len(rows) == size else None,
    )
