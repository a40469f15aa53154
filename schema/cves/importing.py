"""Bringing what is known of CVEs up to a feed: only what has changed is written, and no vulnerability is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from schema.advisories import repository as feeds
from schema.advisories.catalog import Feed
from schema.advisories.importing import LEASE_SECONDS, Content, ImportSummary
from schema.advisories.repository import Filled, Filling
from schema.advisories.rules import refusal
from schema.cves import repository
from schema.cves.knowledge import NOTHING, Knowledge, read_knowledge
from schema.kernel.clock import iso_utc
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError, bad_request
from schema.kernel.ports import Clock
from schema.kernel.upsert import batches

AHEAD = timedelta(days=1)  # so far a feed's date may lie in the future, for clocks differ


async def fill_cves(
    database: Database, held: Filling, feed: Feed, content: Content, paths: Sequence[Path], *, clock: Clock
) -> ImportSummary:
    """Reads all of a feed, and stores what has changed, some hundred rows a transaction.

    Each CVE stands for itself, so readers may see some of a change before the rest. One that was killed left the feed's date
    as it was: the next goes on, because what is stored already differs no more. A feed that is refused changes nothing.
    Raises HarborGuardError.
    """
    async with database.write() as session:
        import_id = await feeds.start_import(session, held, content.source, now=clock())
    try:
        knowledge = await asyncio.to_thread(read_knowledge, feed.form, paths[0])
        await _check(database, held, knowledge, content, clock)
        changed, removed = await _store(database, held, knowledge, clock)
    except (HarborGuardError, OSError) as error:
        with suppress(HarborGuardError):
            async with database.write() as session:
                await feeds.end_import(session, import_id, rejected=0, error=str(error), now=clock())
        raise
    filled = Filled(
        read=len(knowledge.values),
        rejected=knowledge.rejected,
        newest_read=knowledge.released,
        stored=len(knowledge.values),
        database_date=knowledge.released,
        ecosystems=(),
        validators=content.validators,
    )
    async with database.write() as session:
        await feeds.switch_feed(session, held, import_id, filled, now=clock())
    return ImportSummary(
        records=len(knowledge.values),
        rejected=knowledge.rejected,
        changed=changed,
        removed=removed,
        database_date=knowledge.released,
    )


async def _check(database: Database, held: Filling, knowledge: Knowledge, content: Content, clock: Clock) -> None:
    async with database.read() as session:
        stored = await repository.released_at(session, held.feed)
    reason = refusal(
        records=len(knowledge.values),
        rejected=knowledge.rejected,
        stored=held.records,
        accept_shrink=content.accept_shrink,
    )
    if knowledge.released > clock() + AHEAD:
        reason = f"it is dated {iso_utc(knowledge.released)}, which is in the future"
    elif stored is not None and knowledge.released < stored:
        reason = f"it is of {iso_utc(knowledge.released)}, older than what is stored, of {iso_utc(stored)}"
    if reason:
        raise bad_request(f"{held.feed} was refused: {reason}. What is stored stays")


async def _store(database: Database, held: Filling, knowledge: Knowledge, clock: Clock) -> tuple[int, int]:
    """(how many were new or have changed, how many the feed has no longer)."""
    nothing = tuple(NOTHING[name] for name in knowledge.columns)
    async with database.read() as session:
        stored = await repository.told(session, knowledge.columns, nothing)
    removed = dict.fromkeys(stored.keys() - knowledge.values.keys(), nothing)
    changed = {cve: values for cve, values in knowledge.values.items() if stored.get(cve) != values}
    rows: list[dict[str, Any]] = [
        {"id": cve, **dict(zip(knowledge.columns, values, strict=True))}
        for cve, values in sorted({**changed, **removed}.items())
    ]
    for batch in batches(rows):
        async with database.write() as session:
            await feeds.hold_feed(session, held, now=clock(), seconds=LEASE_SECONDS)
            await repository.tell(session, knowledge.columns, batch)
    return len(changed), len(removed)
