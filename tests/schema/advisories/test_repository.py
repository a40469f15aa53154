"""The advisory store: importing replaces, looking up finds, withdrawn records are silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from schema.advisories import repository
from schema.advisories.catalog import LOCAL, SAMPLE
from schema.advisories.importing import import_advisories
from schema.advisories.matching import match_packages
from schema.advisories.models import Advisory, AdvisoryPackage
from schema.advisories.records import AdvisoryRecord
from schema.kernel.database import Database
from tests.identity import HeldClock, Identity
from tests.schema.advisories.factories import advisory, entry, package

MODIFIED = datetime(2024, 5, 1, tzinfo=UTC)
LOG4J = advisory(
    "GHSA-1",
    entry("Maven", "log4j:log4j-core", ("introduced", "2.0"), ("fixed", "2.15")),
    aliases=["CVE-2021-44228"],
    summary="Remote code execution",
    details="At length.",
    references=[{"type": "WEB", "url": "https://logging.apache.org"}],
)
OPENSSL = advisory(
    "DSA-1",
    entry("Debian:12", "openssl", ("introduced", "0"), ("fixed", "3.0.9")),
    entry("Debian:11", "openssl", ("introduced", "0"), ("fixed", "1.1.1")),
)


async def put(database: Database, *records: AdvisoryRecord | None, source: str = "test", feed: str = LOCAL) -> None:
    async def stream() -> AsyncIterator[AdvisoryRecord | None]:
        for record in records:
            yield record

    await import_advisories(database, source, stream(), clock=HeldClock(), feed=feed)


async def found(database: Database, *keys: tuple[str, str]) -> dict[tuple[str, str], list[str]]:
    async with database.read() as session:
        candidates = await repository.candidates(session, keys)
    return {key: [record.id for record, _ in pairs] for key, pairs in candidates.items()}


async def held(database: Database) -> dict[str, int]:
    async with database.read() as session:
        return {row.ecosystem: row.advisories for row in await repository.ecosystems(session)}


async def test_what_is_stored_is_found_as_it_was(database: Database) -> None:
    await put(database, LOG4J)

    async with database.read() as session:
        candidates = await repository.candidates(session, [("Maven", "log4j:log4j-core")])

    [(record, affected)] = candidates["Maven", "log4j:log4j-core"]
    assert affected == LOG4J.affected[0]
    for name in ("id", "aliases", "summary", "severity", "cvss_score", "modified", "withdrawn"):
        assert getattr(record, name) == getattr(LOG4J, name), name
    assert record.feed == LOCAL


async def test_only_what_was_asked_for_is_found(database: Database) -> None:
    await put(database, LOG4J, OPENSSL)

    assert await found(database, ("Debian:12", "openssl"), ("Maven", "openssl"), ("npm", "left-pad")) == {
        ("Debian:12", "openssl"): ["DSA-1"]
    }
    assert await found(database) == {}


async def test_importing_again_replaces(database: Database) -> None:
    await put(database, LOG4J, OPENSSL)
    moved = advisory("DSA-1", entry("Debian:12", "libssl3", ("introduced", "0")), summary="Moved")
    await put(database, moved, LOG4J)

    assert await found(database, ("Debian:12", "openssl"), ("Debian:12", "libssl3"), ("Debian:11", "openssl")) == {
        ("Debian:12", "libssl3"): ["DSA-1"]
    }
    async with database.read() as session:
        assert (await session.execute(select(func.count()).select_from(Advisory))).scalar_one() == 2
        assert (await session.execute(select(func.count()).select_from(AdvisoryPackage))).scalar_one() == 2
    assert await held(database) == {"Debian:12": 1, "Maven": 1}


async def test_the_last_of_a_record_wins_within_an_import(database: Database) -> None:
    await put(database, OPENSSL, advisory("DSA-1", entry("Debian:13", "openssl", ("introduced", "0"))))

    assert await held(database) == {"Debian:13": 1}


async def test_a_withdrawn_record_is_silent(database: Database) -> None:
    withdrawn = advisory("GHSA-2", entry("npm", "left-pad", ("introduced", "0")), withdrawn="2024-06-01T00:00:00Z")
    await put(database, withdrawn, LOG4J)

    async with database.read() as session:
        candidates = await repository.candidates(session, [("npm", "left-pad")])
    assert match_packages([package("npm", "left-pad", "1.0.0")], candidates) == []
    assert await held(database) == {"Maven": 1}, "nor does it make its ecosystem look covered"


async def test_ecosystems_are_counted_by_record(database: Database) -> None:
    twice = advisory(
        "GHSA-3",
        entry("npm", "a", ("introduced", "0")),
        entry("npm", "b", ("introduced", "0")),
        modified="2024-07-01T00:00:00Z",
    )
    await put(database, twice, advisory("GHSA-4", entry("npm", "c", ("introduced", "0"))))

    async with database.read() as session:
        [row] = await repository.ecosystems(session)
    assert (row.ecosystem, row.advisories) == ("npm", 2)
    assert row.database_date == datetime(2024, 7, 1, tzinfo=UTC)


async def test_an_import_is_on_record(database: Database) -> None:
    await put(database, LOG4J, None, None, source="all.zip")
    await put(database, source="empty.zip")

    async with database.read() as session:
        latest = {run.source: run for run in await repository.imports(session)}
    assert (latest["all.zip"].records, latest["all.zip"].rejected) == (1, 2)
    assert latest["all.zip"].database_date == MODIFIED
    assert latest["all.zip"].finished_at is not None
    assert (latest["empty.zip"].records, latest["empty.zip"].database_date) == (0, None)
    assert await held(database) == {"Maven": 1}, "an empty import takes nothing away"


async def test_an_import_that_is_cut_off_shows_and_stores_nothing_anybody_sees(database: Database) -> None:
    async def stream() -> AsyncIterator[AdvisoryRecord | None]:
        for number in range(repository.RECORDS_PER_BATCH):
            yield advisory(f"GHSA-{number}", entry("npm", f"package-{number}", ("introduced", "0")))
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await import_advisories(database, "cut.zip", stream(), clock=HeldClock())

    async with database.read() as session:
        [run] = await repository.imports(session)
    assert run.error == "ConnectionResetError"
    assert await found(database, ("npm", "package-0")) == {}


async def test_many_names_are_asked_for_in_chunks(identity: Identity) -> None:
    database = identity.database
    await put(database, *(advisory(f"GHSA-{n}", entry("npm", f"p{n}", ("introduced", "0"))) for n in range(20)))
    keys = [("npm", f"p{number}") for number in range(repository.NAMES_PER_QUERY * 2)]

    with identity.counted_statements() as sql:
        answer = await found(database, *keys)

    assert len(answer) == 20
    assert sum("advisory_packages" in statement for statement in sql) == 2


async def test_time_zones_survive_the_store(database: Database) -> None:
    await put(
        database, advisory("GHSA-5", entry("npm", "a", ("introduced", "0")), modified="2024-05-01T02:00:00+02:00")
    )

    async with database.read() as session:
        [row] = await repository.ecosystems(session)
    assert row.database_date == MODIFIED
    assert row.database_date.utcoffset() == timedelta(0)


async def test_an_ecosystem_of_the_sample_alone_is_marked(database: Database) -> None:
    await put(database, LOG4J, OPENSSL, feed=SAMPLE)
    await put(database, advisory("DSA-2", entry("Debian:12", "zlib", ("introduced", "0"))), source="full")

    async with database.read() as session:
        marked = {row.ecosystem: row.sample for row in await repository.ecosystems(session)}
    assert marked == {"Maven": True, "Debian:11": True, "Debian:12": False}
