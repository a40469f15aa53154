"""Queue and signals, on a Redis server and on its stand-in alike, and without either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import orjson
import pytest
from arq.connections import ArqRedis
from redis.exceptions import RedisError

from app.queue import FUNCTION, QUEUE_NAME, ArqQueue, Redis, RedisSignals, read_job, write_job
from tests.processes import PATIENCE
from tests.servers import Server, redis_server

NOBODY = "unix:///no/such/directory/redis.sock"


@pytest.fixture(params=["stand-in", "server"])
async def connection(request: pytest.FixtureRequest) -> AsyncIterator[ArqRedis]:
    url = ""
    if request.param == "server":
        server: Server = request.getfixturevalue("redis")
        url = server.url
    connection = Redis(url).connect()
    yield connection
    await connection.flushall()
    await connection.aclose(close_connection_pool=True)


@pytest.fixture
async def away() -> AsyncIterator[ArqRedis]:
    connection = Redis(NOBODY).connect()
    yield connection
    await connection.aclose(close_connection_pool=True)


async def test_a_wake_up_lies_in_the_queue_as_json(connection: ArqRedis) -> None:
    await ArqQueue(connection).wake("job-1")

    [(name, _)] = await connection.zrange(QUEUE_NAME, 0, -1, withscores=True)
    stored = await connection.get(b"arq:job:" + name)
    assert stored is not None
    assert orjson.loads(stored)["a"] == ["job-1"], "readable by anything, and code for nothing"
    assert orjson.loads(stored)["f"] == FUNCTION


def test_what_json_cannot_say_is_written_as_words() -> None:
    written = write_job({"at": datetime(2026, 1, 1, tzinfo=UTC), "error": ValueError("no")})

    assert read_job(written)["error"] == "no"


async def test_all_connections_of_a_process_meet_at_the_stand_in() -> None:
    stand_in, other = Redis(""), Redis("")
    first, second, stranger = stand_in.connect(), stand_in.connect(), other.connect()
    await first.set("a", "1")

    assert await second.get("a") == b"1"
    assert await stranger.get("a") is None
    for each in (first, second, stranger):
        await each.aclose(close_connection_pool=True)


async def test_a_signal_wakes_whoever_listens(connection: ArqRedis) -> None:
    signals = RedisSignals(connection)
    async with signals.listen("scn-1") as waiter, signals.listen("scn-2") as other:
        waiting = asyncio.create_task(waiter.wait(PATIENCE))
        deaf = asyncio.create_task(other.wait(PATIENCE))
        await signals.send("scn-1")
        async with asyncio.timeout(PATIENCE / 2):
            await waiting
        assert not deaf.done(), "it is about another subject"
        deaf.cancel()
        await asyncio.gather(deaf, return_exceptions=True)


async def test_a_signal_between_listening_and_waiting_is_not_lost(connection: ArqRedis) -> None:
    signals = RedisSignals(connection)
    async with signals.listen("scn-1") as waiter:
        await signals.send("scn-1")
        async with asyncio.timeout(PATIENCE / 2):
            await waiter.wait(PATIENCE)


async def test_waiting_ends_without_a_signal(connection: ArqRedis) -> None:
    signals = RedisSignals(connection)
    async with signals.listen("scn-1") as waiter, asyncio.timeout(PATIENCE):
        await waiter.wait(0.01)


async def test_t102_without_redis_a_wake_up_says_so(away: ArqRedis) -> None:
    with pytest.raises((RedisError, OSError)):
        await ArqQueue(away).wake("job-1")


async def test_t102_without_redis_signals_are_lost_and_nothing_else(away: ArqRedis) -> None:
    signals = RedisSignals(away)
    await signals.send("scn-1")
    async with asyncio.timeout(PATIENCE), signals.listen("scn-1") as waiter:
        await waiter.wait(0.01)


async def test_t102_a_listener_hears_again_after_an_outage() -> None:
    with redis_server() as server:
        connection = Redis(server.url).connect()
        signals = RedisSignals(connection)
        async with signals.listen("scn-1") as waiter:
            server.kill()
            await waiter.wait(0.01)
            server.start()
            heard = asyncio.Event()

            async def listen() -> None:
                # The first rounds may go into connecting again.
                while not heard.is_set():
                    started = asyncio.get_running_loop().time()
                    await waiter.wait(1)
                    if asyncio.get_running_loop().time() - started < 0.9:
                        heard.set()

            task = asyncio.create_task(listen())
            async with asyncio.timeout(PATIENCE):
                while not heard.is_set():
                    await signals.send("scn-1")
                    await asyncio.sleep(0.05)
            await task
        await connection.aclose(close_connection_pool=True)
