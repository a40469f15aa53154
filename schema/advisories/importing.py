"""Filling the advisory store from a stream of OSV documents, in batches that each stand or fall alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from schema.advisories.records import AdvisoryRecord
from schema.advisories.repository import RECORDS_PER_BATCH, finish_import, start_import, store_batch
from schema.kernel.database import Database
from schema.kernel.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    records: int
    rejected: int
    database_date: datetime | None


async def import_advisories(
    database: Database, source: str, records: AsyncIterator[AdvisoryRecord | None], *, clock: Clock
) -> ImportSummary:
    """Stores every record; None stands for a document that was rejected. Running it again replaces, never doubles."""
    async with database.write() as session:
        import_id = await start_import(session, source, now=clock())
    stored, rejected, newest = 0, 0, None
    batch: list[AdvisoryRecord] = []

    async def flush() -> None:
        async with database.write() as session:
            await store_batch(session, import_id, batch)
        batch.clear()

    async for record in records:
        if record is None:
            rejected += 1
            continue
        stored += 1
        newest = record.modified if newest is None else max(newest, record.modified)
        batch.append(record)
        if len(batch) >= RECORDS_PER_BATCH:
            await flush()
    if batch:
        await flush()
    async with database.write() as session:
        await finish_import(session, import_id, records=stored, rejected=rejected, database_date=newest, now=clock())
    return ImportSummary(records=stored, rejected=rejected, database_date=newest)
