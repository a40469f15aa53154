"""A database that cannot be reached is a 503 a caller may retry, and never a defect of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from tests.servers import postgres_server

# What SQLite, with its single writer in the same process, cannot have.
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def answer(database: Database) -> ErrorCode | None:
    """The code with which a trivial read fails."""
    try:
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
    except HarborGuardError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://harborguard@/nothing?host=/no/such/directory",
        "postgresql+asyncpg://harborguard@127.0.0.1:1/nothing",
        "postgresql+asyncpg://harborguard@no-such-host.invalid/nothing",
    ],
)
async def test_t103_nobody_there_is_unavailable(url: str) -> None:
    database = Database(url)
    assert await answer(database) is ErrorCode.SERVICE_UNAVAILABLE
    await database.close()


async def test_t103_postgresql_goes_and_comes_back() -> None:
    with postgres_server() as server:
        database = Database(server.url)
        assert await answer(database) is None
        for end in (server.kill, server.stop):
            end()
            assert await answer(database) is ErrorCode.SERVICE_UNAVAILABLE
            starting = asyncio.create_task(asyncio.to_thread(server.start))
            # Also while it starts up and turns connections away.
            while not starting.done():
                assert await answer(database) in {None, ErrorCode.SERVICE_UNAVAILABLE}
                await asyncio.sleep(0)
            await starting
            assert await answer(database) is None, "the pool notices by itself"
        await database.close()


@on_postgresql
async def test_t103_a_connection_cut_in_a_transaction_leaves_nothing(database_url: str) -> None:
    database, other = Database(database_url), Database(database_url)

    async def cut() -> None:
        async with database.write() as session:
            await session.execute(text("CREATE TABLE cut (id int)"))
            pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with other.write() as killer:
                await killer.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            await session.execute(text("INSERT INTO cut VALUES (1)"))

    with pytest.raises(HarborGuardError) as refused:
        await cut()
    assert refused.value.code is ErrorCode.SERVICE_UNAVAILABLE
    async with database.read() as session:
        assert (await session.execute(text("SELECT to_regclass('cut')"))).scalar_one() is None
    for each in (database, other):
        await each.close()


async def test_what_code_in_a_transaction_raises_is_its_own(database: Database, tmp_path: Path) -> None:
    """A missing file is no missing database."""

    async def look() -> None:
        async with database.read() as session:
            await session.execute(text("SELECT 1"))
            (tmp_path / "missing").read_bytes()

    with pytest.raises(FileNotFoundError):
        await look()


@on_postgresql
async def test_a_deadlock_is_worth_another_try(database_url: str) -> None:
    database = Database(database_url)
    async with database.write() as session:
        await session.execute(text("CREATE TABLE pair (id int)"))
        await session.execute(text("INSERT INTO pair VALUES (1), (2)"))
    both = asyncio.Barrier(2)

    async def lock(first: int, second: int) -> ErrorCode | None:
        try:
            async with database.write() as session:
                await session.execute(text("UPDATE pair SET id = id WHERE id = :id"), {"id": first})
                await both.wait()
                await session.execute(text("UPDATE pair SET id = id WHERE id = :id"), {"id": second})
        except HarborGuardError as error:
            return error.code
        return None

    outcomes = await asyncio.gather(lock(1, 2), lock(2, 1))

    assert sorted(outcomes, key=str) == [None, ErrorCode.SERVICE_UNAVAILABLE]
    await database.close()
