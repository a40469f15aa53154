"""Filling a feed: believed or refused, switched at once, resumed after a crash, by one process at a time."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories import importing, repository
from schema.advisories.importing import LEASE_SECONDS, Content, ImportSummary, fill_feed, filling
from schema.advisories.models import Advisory, AdvisoryFeed
from schema.advisories.records import AdvisoryRecord
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from tests.identity import HeldClock
from tests.processes import PATIENCE
from tests.schema.advisories.factories import advisory, entry

ROOT = Path(__file__).parents[3]
FEED = "osv:npm"


def record(number: int, *, fixed: str = "2.0.0", **more: object) -> AdvisoryRecord:
    return advisory(f"GHSA-{number}", entry("npm", "thing", ("introduced", "0"), ("fixed", fixed)), **more)


async def stream(records: Sequence[AdvisoryRecord | None]) -> AsyncIterator[AdvisoryRecord | None]:
    for each in records:
        yield each


async def fill(
    database: Database,
    *records: AdvisoryRecord | None,
    clock: HeldClock | None = None,
    accept_shrink: bool = False,
    as_of: datetime | None = None,
    complete: bool = True,
) -> ImportSummary:
    clock = clock or HeldClock()
    content = Content(source="all.zip", complete=complete, accept_shrink=accept_shrink, as_of=as_of)
    async with filling(database, FEED, clock=clock) as held:
        return await fill_feed(database, held, content, stream(records), clock=clock)


async def seen(database: Database) -> dict[str, str]:
    """What readers see: each record's fix."""
    async with database.snapshot() as session:
        candidates = await repository.candidates(session, [("npm", "thing")])
    return {found.id: affected.ranges[0].events[1][1] for pairs in candidates.values() for found, affected in pairs}


async def numbers(database: Database) -> dict[str, list[int]]:
    async with database.read() as session:
        rows = (await session.execute(select(col(Advisory.id), col(Advisory.number)))).all()
    found: dict[str, list[int]] = {}
    for identity, number in rows:
        found.setdefault(identity, []).append(number or 0)
    return found


async def state(database: Database) -> AdvisoryFeed:
    async with database.read() as session:
        (found,) = await repository.feeds(session)
    return found


async def test_what_a_complete_feed_no_longer_has_is_gone(database: Database) -> None:
    await fill(database, *map(record, range(4)))
    summary = await fill(database, record(0), record(1), record(2, fixed="3.0.0"))

    assert (summary.records, summary.changed, summary.removed) == (3, 1, 1)
    assert await seen(database) == {"GHSA-0": "2.0.0", "GHSA-1": "2.0.0", "GHSA-2": "3.0.0"}
    assert sorted(await numbers(database)) == ["GHSA-0", "GHSA-1", "GHSA-2"]
    found = await state(database)
    assert (found.records, found.generation, found.error) == (3, 2, None)


async def test_unchanged_records_are_not_written_again(database: Database) -> None:
    await fill(database, record(0), record(1))
    before = await numbers(database)

    summary = await fill(database, record(0, modified="2025-01-01T00:00:00Z"), record(1))

    assert summary.changed == 0
    assert await numbers(database) == before, "a later date alone is no change"
    assert (await state(database)).database_date == datetime(2025, 1, 1, tzinfo=UTC)


async def test_a_feed_that_shrinks_by_half_is_refused_unless_that_is_right(database: Database) -> None:
    await fill(database, *map(record, range(10)))

    with pytest.raises(HarborGuardError, match="shrunk from 10 records to 4"):
        await fill(database, *map(record, range(4)), record(0, fixed="9.0.0"))
    assert len(await seen(database)) == 10
    assert all(len(rows) == 1 for rows in (await numbers(database)).values()), "nothing of it stays"

    await fill(database, *map(record, range(4)), accept_shrink=True)
    assert len(await seen(database)) == 4


async def test_a_feed_that_cannot_be_read_is_refused(database: Database) -> None:
    await fill(database, *map(record, range(19)), None)
    assert (await state(database)).rejected == 1

    with pytest.raises(HarborGuardError, match="2 of 20 records cannot be read"):
        await fill(database, *map(record, range(18)), None, None)
    with pytest.raises(HarborGuardError, match="no advisory"):
        await fill(database)
    async with database.read() as session:
        refused = [run.error for run in await repository.imports(session) if run.error]
    assert len(refused) == 2
    assert len(await seen(database)) == 19


async def test_withdrawn_records_are_kept_as_withdrawn(database: Database) -> None:
    await fill(database, record(0), record(1))
    await fill(database, record(0, withdrawn="2024-06-01T00:00:00Z"), record(1))

    async with database.snapshot() as session:
        candidates = await repository.candidates(session, [("npm", "thing")])
        (held,) = await repository.ecosystems(session)
    assert {found.id: found.withdrawn is not None for found, _ in candidates["npm", "thing"]} == {
        "GHSA-0": True,
        "GHSA-1": False,
    }
    assert held.advisories == 1


async def test_a_feed_without_dates_is_as_new_as_it_says(database: Database) -> None:
    day = datetime(2026, 4, 1, tzinfo=UTC)
    await fill(database, record(0), as_of=day)
    async with database.read() as session:
        (held,) = await repository.ecosystems(session)
    assert held.database_date == day
    assert (await state(database)).database_date == day


async def test_an_attempt_that_fails_leaves_everything_as_it_was(database: Database) -> None:
    await fill(database, record(0))

    async def broken() -> AsyncIterator[AdvisoryRecord | None]:
        yield record(0, fixed="9.0.0")
        for number in range(1, repository.RECORDS_PER_BATCH + 1):
            yield record(number)
        raise OSError("the disk is gone")

    clock = HeldClock()
    async with filling(database, FEED, clock=clock) as held:
        with pytest.raises(OSError, match="the disk is gone"):
            await fill_feed(database, held, Content(source="x", complete=True), broken(), clock=clock)

    assert await seen(database) == {"GHSA-0": "2.0.0"}
    assert await numbers(database) == {"GHSA-0": [1]}


async def test_one_process_at_a_time(database: Database) -> None:
    clock = HeldClock()
    async with filling(database, FEED, clock=clock):
        with pytest.raises(HarborGuardError, match="Another process"):
            async with filling(database, FEED, clock=clock):
                raise AssertionError("both have it")
        async with filling(database, "debian", clock=clock):
            """Another feed is another matter."""
    async with filling(database, FEED, clock=clock):
        """Given back."""


async def test_who_lost_the_feed_stores_nothing_more(database: Database) -> None:
    """A process that was asleep for longer than its lease wakes up beside the one that took over."""
    clock = HeldClock()
    asleep, woken = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[AdvisoryRecord | None]:
        yield record(0, fixed="1.0.0")
        asleep.set()
        await woken.wait()

    async def first() -> None:
        async with filling(database, FEED, clock=clock) as held:
            await fill_feed(database, held, Content(source="slow", complete=True), slow(), clock=clock)

    sleeping = asyncio.create_task(first())
    await asyncio.wait_for(asleep.wait(), PATIENCE)
    clock.advance(seconds=LEASE_SECONDS + 1)
    await fill(database, record(1, fixed="3.0.0"), clock=clock)
    woken.set()
    with pytest.raises(repository.FeedLostError):
        await sleeping
    assert await seen(database) == {"GHSA-1": "3.0.0"}


async def test_readers_see_the_old_or_the_new_data(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at after every single transaction of an import that changes, adds and removes."""
    monkeypatch.setattr(importing, "RECORDS_PER_BATCH", 3)
    monkeypatch.setattr(repository, "ROWS_PER_PAGE", 3)
    old, new = [record(number) for number in range(12)], [record(number, fixed="3.0.0") for number in range(6, 15)]
    await fill(database, *old)
    before, after = await seen(database), {each.id: "3.0.0" for each in new}
    looks: list[dict[str, str]] = []
    write = database.write

    @asynccontextmanager
    async def watched() -> AsyncIterator[AsyncSession]:
        async with write() as session:
            yield session
        looks.append(await seen(database))

    monkeypatch.setattr(database, "write", watched)
    await fill(database, *new)

    assert len(looks) > 10
    turned = [look == after for look in looks]
    assert all(look in (before, after) for look in looks)
    assert turned == sorted(turned), "and never the old again"
    assert turned[-1]
    assert not turned[0]


async def test_a_snapshot_outlives_a_switch(database: Database) -> None:
    await fill(database, *map(record, range(3)))
    async with database.snapshot() as session:
        first = await repository.candidates(session, [("npm", "thing")])
        await fill(database, *(record(number, fixed="3.0.0") for number in range(3)))
        second = await repository.candidates(session, [("npm", "thing")])
    assert second == first
    assert set((await seen(database)).values()) == {"3.0.0"}


_CHILD = """
import asyncio, sys
from schema.advisories.importing import Content, fill_feed, filling
from schema.kernel.database import Database
from tests.identity import HeldClock
from tests.schema.advisories.test_importing import FEED, record

async def endless():
    for number in range(5, 1205):
        yield record(number, fixed="3.0.0")
    print("staged", flush=True)
    await asyncio.sleep(3600)

async def main():
    database, clock = Database(sys.argv[1]), HeldClock()
    async with filling(database, FEED, clock=clock) as held:
        await fill_feed(database, held, Content(source="killed", complete=True), endless(), clock=clock)

asyncio.run(main())
"""


async def test_an_import_that_was_killed_goes_on(database: Database, database_url: str) -> None:
    """Killed with two batches staged: nobody sees them, and the next attempt does not store them again."""
    await fill(database, *map(record, range(10)))
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", _CHILD, database_url, cwd=ROOT, stdout=PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"staged\n"
    child.send_signal(signal.SIGKILL)
    await child.wait()
    staged = await numbers(database)
    assert len(staged) == 1005
    assert await seen(database) == {f"GHSA-{number}": "2.0.0" for number in range(10)}

    clock = HeldClock()
    with pytest.raises(HarborGuardError, match="Another process"):
        await fill(database, record(0), clock=clock)
    clock.advance(seconds=LEASE_SECONDS + 1)
    summary = await fill(database, *(record(number, fixed="3.0.0") for number in range(5, 1205)), clock=clock)

    assert (summary.records, summary.changed, summary.removed) == (1200, 200, 5)
    assert await seen(database) == {f"GHSA-{number}": "3.0.0" for number in range(5, 1205)}
    resumed = await numbers(database)
    assert all(resumed[identity] == [rows[-1]] for identity, rows in staged.items() if identity in resumed)


async def test_what_a_killed_attempt_staged_of_records_that_are_gone_goes_too(database: Database) -> None:
    await fill(database, record(0), record(1))
    clock = HeldClock()
    async with filling(database, FEED, clock=clock) as held, database.write() as session:
        import_id = await repository.start_import(session, held, "killed", now=clock())
        await repository.stage_batch(session, held, import_id, [record(0, fixed="9.0.0"), record(7)], set())

    await fill(database, record(0), record(1))

    assert await seen(database) == {"GHSA-0": "2.0.0", "GHSA-1": "2.0.0"}
    assert sorted(await numbers(database)) == ["GHSA-0", "GHSA-1"]


_ROUND = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["1.0.0", "2.0.0"])), min_size=1, max_size=8)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_ROUND, st.booleans()), min_size=1, max_size=5))
async def test_the_store_follows_the_feed(database: Database, rounds: list[tuple[list[tuple[int, str]], bool]]) -> None:
    """Whatever a feed has, and whichever attempts ended half-way, readers see the last complete one."""
    async with database.write() as session:
        await session.execute(delete(Advisory))
    expected: dict[str, str] | None = None
    for records, cut in rounds:
        listed = [record(number, fixed=fixed) for number, fixed in records]
        if cut:
            clock = HeldClock()
            async with filling(database, FEED, clock=clock) as held, database.write() as session:
                import_id = await repository.start_import(session, held, "cut", now=clock())
                await repository.stage_batch(session, held, import_id, listed, set())
        else:
            await fill(database, *listed, accept_shrink=True)
            expected = {f"GHSA-{number}": fixed for number, fixed in records}
        if expected is not None:
            assert await seen(database) == expected
