"""The outbox delivers at least once: through outages, crashes in between, and messages it does not know."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import func, insert, select

from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from schema.kernel.outbox import BATCH, JOB_QUEUED, OutboxMessage, OutboxRelay, post
from tests.identity import START


class Queue:
    """A JobQueue that can be away."""

    def __init__(self) -> None:
        self.woken: list[str] = []
        self.error: Exception | None = None
        self.fails_after: int | None = None

    async def wake(self, job_id: str) -> None:
        if self.error is not None and (self.fails_after is None or len(self.woken) >= self.fails_after):
            raise self.error
        self.woken.append(job_id)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def relay(database: Database, queue: Queue) -> OutboxRelay:
    return OutboxRelay(database, queue)


async def put(database: Database, *jobs: str) -> None:
    async with database.write() as session:
        for job in jobs:
            await post(session, JOB_QUEUED, {"jobId": job}, now=START)


async def left(database: Database) -> int:
    async with database.read() as session:
        return (await session.execute(select(func.count()).select_from(OutboxMessage))).scalar_one()


async def test_what_was_posted_is_delivered_once(database: Database, relay: OutboxRelay, queue: Queue) -> None:
    await put(database, "job-1", "job-2")

    assert await relay.drain() == 2
    assert await relay.drain() == 0

    assert sorted(queue.woken) == ["job-1", "job-2"]
    assert await left(database) == 0


async def test_a_message_lives_and_dies_with_its_transaction(database: Database, relay: OutboxRelay) -> None:
    async def change_one_s_mind() -> None:
        async with database.write() as session:
            await post(session, JOB_QUEUED, {"jobId": "job-1"}, now=START)
            raise ConnectionResetError

    with pytest.raises(HarborGuardError):
        await change_one_s_mind()

    assert await relay.drain() == 0


async def test_more_than_a_batch_is_delivered(database: Database, relay: OutboxRelay, queue: Queue) -> None:
    jobs = [f"job-{number:04}" for number in range(BATCH * 2 + 1)]
    await put(database, *jobs)

    assert await relay.drain() == len(jobs)

    assert sorted(queue.woken) == jobs


@pytest.mark.parametrize("error", [RedisConnectionError("away"), ConnectionRefusedError()])
async def test_t102_a_queue_that_is_away_postpones(
    database: Database, relay: OutboxRelay, queue: Queue, error: Exception
) -> None:
    await put(database, "job-1")
    queue.error = error

    await relay.drain_quietly()
    with pytest.raises(type(error)):
        await relay.drain()
    assert await left(database) == 1

    queue.error = None
    assert await relay.drain() == 1
    assert queue.woken == ["job-1"]


async def test_an_outage_half_way_delivers_again_rather_than_never(
    database: Database, relay: OutboxRelay, queue: Queue
) -> None:
    await put(database, "job-1", "job-2")
    queue.error, queue.fails_after = ConnectionResetError(), 1
    await relay.drain_quietly()
    queue.error = None

    await relay.drain()

    assert len(queue.woken) == 3, "the first of the two was delivered twice"
    assert set(queue.woken) == {"job-1", "job-2"}
    assert await left(database) == 0


async def test_processes_at_once_lose_nothing(database: Database, queue: Queue) -> None:
    jobs = [f"job-{number:03}" for number in range(150)]
    await put(database, *jobs)

    await asyncio.gather(*(OutboxRelay(database, queue).drain() for _ in range(3)))

    assert set(queue.woken) == set(jobs)
    assert await left(database) == 0


async def test_a_topic_without_receiver_cannot_be_posted(database: Database) -> None:
    async with database.write() as session:
        with pytest.raises(LookupError, match=r"job\.forgotten"):
            await post(session, "job.forgotten", {}, now=START)


async def test_a_topic_of_a_newer_version_stays_and_holds_up_nothing(
    database: Database, relay: OutboxRelay, queue: Queue
) -> None:
    """As in a rolling upgrade, where an older process shares the database."""
    newer = [
        {"id": f"out-{number:04}", "topic": "report.due", "payload": {"reportId": "1"}, "created_at": START}
        for number in range(BATCH + 1)
    ]
    async with database.write() as session:
        await session.execute(insert(OutboxMessage), newer)
    await put(database, "job-1")

    assert await relay.drain() == 1

    assert queue.woken == ["job-1"]
    assert await left(database) == len(newer)
