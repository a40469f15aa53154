"""Statements of SQLite in one trip: what SQLAlchemy gets of them is what it gets of its own cursor."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, UniqueConstraint, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from schema.kernel.sqlite import OneTripConnection, connect

WORDS = Table(
    "words", MetaData(), Column("id", Integer, primary_key=True), Column("word", String), UniqueConstraint("word")
)


@pytest.fixture(params=["one trip", "SQLAlchemy's own"])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'words.db'}", pool_size=1, max_overflow=0)
    if request.param == "one trip":
        event.listen(engine.sync_engine, "do_connect", connect)
    async with engine.begin() as connection:
        await connection.run_sync(WORDS.metadata.create_all)
        raw = await connection.get_raw_connection()
        assert isinstance(raw.dbapi_connection, OneTripConnection) == (request.param == "one trip")
    yield engine
    await engine.dispose()


async def words(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(select(WORDS).order_by(WORDS.c.id))]


async def test_rows_counts_and_returned_values(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        one = await connection.execute(insert(WORDS).values(word="dock"))
        assert one.inserted_primary_key == (1,)
        many = await connection.execute(insert(WORDS), [{"word": "crane"}, {"word": "quay"}])
        assert many.rowcount == 2
        back = await connection.execute(insert(WORDS).returning(WORDS.c.id), [{"word": "pier"}, {"word": "ship"}])
        assert [row.id for row in back] == [4, 5]
        changed = await connection.execute(update(WORDS).where(WORDS.c.id > 3).values(word=WORDS.c.word + "s"))
        assert changed.rowcount == 2

    assert await words(engine) == [(1, "dock"), (2, "crane"), (3, "quay"), (4, "piers"), (5, "ships")]
    async with engine.connect() as connection:
        result = await connection.execute(select(WORDS).order_by(WORDS.c.id))
        assert list(result.keys()) == ["id", "word"]
        assert [row.word for row in result.fetchmany(2)] == ["dock", "crane"]
        assert len(result.fetchall()) == 3
        assert (await connection.execute(select(WORDS).where(WORDS.c.id == 9))).one_or_none() is None


async def test_rows_can_be_streamed(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(WORDS), [{"word": str(number)} for number in range(2_500)])
    async with engine.connect() as connection:
        streamed = await connection.stream(select(WORDS.c.id))
        assert [row.id async for row in streamed] == list(range(1, 2_501))


async def test_what_fails_leaves_a_connection_that_works(engine: AsyncEngine) -> None:
    for statement, error in ((text("SELECT * FROM nowhere"), OperationalError), (insert(WORDS), IntegrityError)):
        async with engine.connect() as connection:
            await connection.execute(insert(WORDS).values(word="dock"))
            with pytest.raises(error):
                await connection.execute(statement, [{"word": "dock"}] if error is IntegrityError else None)
    assert await words(engine) == [], "rolled back"


@pytest.mark.parametrize("engine", ["one trip"], indirect=True)  # SQLAlchemy's own may stay locked for a while
async def test_who_is_cancelled_leaves_a_database_that_works(engine: AsyncEngine) -> None:
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"

    async def work() -> None:
        async with engine.begin() as connection:
            await connection.execute(insert(WORDS).values(word="dock"))
            await connection.execute(text(slow))

    working = asyncio.create_task(work())
    await asyncio.sleep(0.02)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    async with engine.begin() as connection:
        await connection.execute(insert(WORDS).values(word="quay"))
    assert [word for _, word in await words(engine)] == ["quay"]
