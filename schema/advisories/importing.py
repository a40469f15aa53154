"""Filling a feed of the advisory store from a stream of records, so that readers see all of it or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from schema.advisories import repository
from schema.advisories.catalog import LOCAL
from schema.advisories.records import AdvisoryRecord
from schema.advisories.repository import RECORDS_PER_BATCH, Counted, Filled, Filling
from schema.advisories.rules import refusal
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError, bad_request, conflict
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.ports import Clock

LEASE_SECONDS = 60.0  # a process that fills a feed and is silent for this long has lost it to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """`records` were read, `changed` of them stored; `removed` the feed no longer has."""

    records: int
    rejected: int
    changed: int
    removed: int
    database_date: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a stream of records is. A complete one is checked, and what it lacks is gone; any other only adds."""

    source: str  # for people: a file's name, an address without credentials
    complete: bool = False
    accept_shrink: bool = False
    as_of: datetime | None = None  # of a feed that bears no dates
    validators: Mapping[str, Any] = field(default_factory=dict)


async def import_advisories(
    database: Database,
    source: str,
    records: AsyncIterator[AdvisoryRecord | None],
    *,
    clock: Clock,
    feed: str = LOCAL,
) -> ImportSummary:
    """Adds records to a feed; None stands for a document that was rejected. Again, it replaces and never doubles."""
    async with filling(database, feed, clock=clock) as held:
        return await fill_feed(database, held, Content(source=source), records, clock=clock)


@asynccontextmanager
async def filling(database: Database, feed: str, *, clock: Clock) -> AsyncIterator[Filling]:
    """The feed for as long as the block lasts, for this process alone. CONFLICT while another one has it."""
    owner = new_id(IdPrefix.ADVISORY_IMPORT)
    async with database.write() as session:
        held = await repository.take_feed(session, feed, owner=owner, now=clock(), seconds=LEASE_SECONDS)
    if held is None:
        raise conflict(
            f"Another process is filling {feed}; try again when it has ended, or a minute after it was killed"
        )
    keeping = asyncio.create_task(_keep(database, held, clock))
    try:
        yield held
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        with suppress(HarborGuardError):  # the database is away: the lease ends by itself
            async with database.write() as session:
                await repository.release_feed(session, held)


async def _keep(database: Database, held: Filling, clock: Clock) -> None:
    """While a download or a large document takes its time. Ends when the feed is lost: the next transaction will tell."""
    while True:
        await asyncio.sleep(LEASE_SECONDS / 3)
        with suppress(HarborGuardError):
            async with database.write() as session:
                await repository.hold_feed(session, held, now=clock(), seconds=LEASE_SECONDS)


async def fill_feed(
    database: Database,
    held: Filling,
    content: Content,
    records: AsyncIterator[AdvisoryRecord | None],
    *,
    clock: Clock,
) -> ImportSummary:
    """Stages the records and switches the feed to them; None stands for a document that was rejected.

    A feed that is refused, and one whose reading fails, leaves the store as it was. One that was killed does so, too: what
    it had staged waits unseen and is taken up by the next attempt. Raises HarborGuardError, or what `records` raises.
    """
    await _collect(database, held.feed, held.generation)
    async with database.write() as session:
        import_id = await repository.start_import(session, held, content.source, now=clock())
    staging = _Staging(database, held, import_id, clock)
    try:
        await staging.read(records)
        if content.complete:
            reason = refusal(
                records=len(staging.seen),
                rejected=staging.rejected,
                stored=held.records,
                accept_shrink=content.accept_shrink,
            )
            if reason:
                raise bad_request(f"{held.feed} was refused: {reason}. What is stored stays")
        return await staging.switch(content)
    except (HarborGuardError, OSError, ValueError) as error:
        await staging.take_back(error)
        raise


class _Staging:
    """One attempt to fill a feed."""

    def __init__(self, database: Database, held: Filling, import_id: str, clock: Clock) -> None:
        self._database = database
        self._held = held
        self._import_id = import_id
        self._clock = clock
        self.seen: set[int] = set()
        self.rejected = 0
        self._changed = 0
        self._removed = 0
        self._newest: datetime | None = None

    @asynccontextmanager
    async def _storing(self) -> AsyncIterator[Any]:
        async with self._database.write() as session:
            await repository.hold_feed(session, self._held, now=self._clock(), seconds=LEASE_SECONDS)
            yield session

    async def read(self, records: AsyncIterator[AdvisoryRecord | None]) -> None:
        batch: list[AdvisoryRecord] = []
        async for record in records:
            if record is None:
                self.rejected += 1
                continue
            batch.append(record)
            self._newest = max(self._newest or record.modified, record.modified)
            if len(batch) >= RECORDS_PER_BATCH:
                await self._stage(batch)
                batch = []
        if batch:
            await self._stage(batch)

    async def _stage(self, batch: list[AdvisoryRecord]) -> None:
        async with self._storing() as session:
            self._changed += await repository.stage_batch(session, self._held, self._import_id, batch, self.seen)

    async def switch(self, content: Content) -> ImportSummary:
        counted: dict[str, Counted] = {}
        stored, after = 0, 0
        while True:
            async with self._database.read() as session:
                rows = await repository.open_rows(session, self._held, after=after)
            if not rows:
                break
            after = rows[-1].number
            if content.complete and any(row.number not in self.seen for row in rows):
                async with self._storing() as session:
                    self._removed += await repository.drop_unseen(session, self._held, rows, self.seen)
                rows = [row for row in rows if row.number in self.seen]
            stored += len(rows)
            async with self._database.read() as session:
                for found in await repository.count_page(session, rows):
                    counted[found.ecosystem] = _sum(counted.get(found.ecosystem), found)
        if content.as_of:
            counted = {name: Counted(name, each.advisories, content.as_of) for name, each in counted.items()}
        newest = content.as_of or self._newest
        dates = [each.database_date for each in counted.values()] if not content.complete else []
        filled = Filled(
            read=len(self.seen),
            stored=stored,
            rejected=self.rejected,
            newest_read=newest,
            database_date=max(dates, default=newest),
            ecosystems=[counted[name] for name in sorted(counted)],
            validators=content.validators,
        )
        async with self._database.write() as session:
            await repository.switch_feed(session, self._held, self._import_id, filled, now=self._clock())
        await _collect(self._database, self._held.feed, self._held.next_generation)
        return ImportSummary(
            records=len(self.seen),
            rejected=self.rejected,
            changed=self._changed,
            removed=self._removed,
            database_date=newest,
        )

    async def take_back(self, error: Exception) -> None:
        """Best effort: what stays behind is unseen, and the next attempt deals with it."""
        with suppress(HarborGuardError):
            async with self._database.write() as session:
                reason = str(error) or type(error).__name__
                await repository.end_import(
                    session, self._import_id, rejected=self.rejected, error=reason, now=self._clock()
                )
            pages = 1
            while pages:
                async with self._storing() as session:
                    pages = await repository.unstage_page(session, self._held)


def _sum(left: Counted | None, right: Counted) -> Counted:
    if left is None:
        return right
    newest = max(left.database_date, right.database_date)
    return Counted(left.ecosystem, left.advisories + right.advisories, newest)


async def _collect(database: Database, feed: str, generation: int) -> None:
    """Deletes what no reader sees: of the generation before, also when an earlier process died before it could."""
    pages = 1
    while pages:
        async with database.write() as session:
            pages = await repository.collect_page(session, feed, generation)
