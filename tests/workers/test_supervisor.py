"""A worker's life: woken through the queue, indifferent to what happens to the queue, gone without a trace."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis

from app.queue import FUNCTION, QUEUE_NAME, Redis
from schema.jobs.models import JobState
from schema.kernel.database import Database
from schema.scans.models import ScanStatus
from tests.app.site import on_sqlite
from tests.processes import paused_reader, until, until_gone
from tests.servers import Server, redis_server
from tests.workers.workshop import Workshop
from workers import supervisor
from workers.supervisor import running_worker


def worker(workshop: Workshop, *, reconcile_seconds: float) -> AbstractAsyncContextManager[None]:
    workshop.change_limits(reconcile_seconds=reconcile_seconds)
    return running_worker(workshop.runtime(), workshop.redis.connect, queue_name=QUEUE_NAME, function=FUNCTION)


@pytest.fixture
async def at_scale(database: Database, redis: Server, tmp_path: Path) -> AsyncIterator[Workshop]:
    """With a Redis server instead of its stand-in."""
    workshop = Workshop(database, tmp_path, Redis(redis.url))
    await workshop.open()
    yield workshop
    await workshop.connection.flushall()
    await workshop.close()


async def started(workshop: Workshop) -> None:
    """The worker's first look is over, and it looks for nothing more unless it is woken."""
    scan_id = await workshop.queue()
    await workshop.until_ended(scan_id)

    async def idle() -> bool:
        return not any("JobRunner._work" in repr(task) for task in asyncio.all_tasks())

    await until(idle)


async def is_woken(workshop: Workshop) -> None:
    async with worker(workshop, reconcile_seconds=600):
        await started(workshop)
        scan_id = await workshop.queue()
        await workshop.services.relay.drain()

        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE


@on_sqlite
async def test_the_queue_wakes_a_worker(workshop: Workshop) -> None:
    await is_woken(workshop)


@on_sqlite
async def test_a_queue_on_a_server_wakes_a_worker(at_scale: Workshop) -> None:
    await is_woken(at_scale)


async def test_t102_a_flushed_queue_loses_no_job(at_scale: Workshop) -> None:
    scans = [await at_scale.queue() for _ in range(3)]
    await at_scale.services.relay.drain()
    await at_scale.connection.flushall()

    async with worker(at_scale, reconcile_seconds=0.1):
        for scan_id in scans:
            assert (await at_scale.until_ended(scan_id)).status is ScanStatus.COMPLETE


@on_sqlite
async def test_t102_a_worker_works_and_recovers_without_redis(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "QUEUE_RETRY_SECONDS", 0.1)
    with redis_server() as server:
        workshop = Workshop(database, tmp_path, Redis(server.url))
        await workshop.open()
        server.kill()
        async with worker(workshop, reconcile_seconds=0.2):
            scan_id = await workshop.queue()
            assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE, "found without the queue"
        server.start()
        async with worker(workshop, reconcile_seconds=600):
            await started(workshop)
            server.kill()
            server.start()
            scan_id = await workshop.queue()
            await workshop.services.relay.drain()
            assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE, "woken by the queue again"
        await workshop.close()


@on_sqlite
async def test_t102_an_outage_in_the_middle_of_a_wake_up_does_not_end_the_listening(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """arq's own task is cut off then, and what it ends with must stay its own."""
    monkeypatch.setattr(supervisor, "QUEUE_RETRY_SECONDS", 0.05)
    iterate, run_job = supervisor.WakingWorker._poll_iteration, supervisor.WakingWorker.run_job
    cut_off = asyncio.Event()

    async def hang_once(self: supervisor.WakingWorker, *job: Any) -> None:
        if cut_off.is_set():
            await run_job(self, *job)
        else:
            cut_off.set()
            await asyncio.sleep(600)

    async def break_down(self: supervisor.WakingWorker) -> None:
        await iterate(self)
        if any(not task.done() for task in self.tasks.values()) and cut_off.is_set() and not outages:
            outages.append(1)
            raise ConnectionResetError

    async def outage() -> bool:
        return bool(outages)

    outages: list[int] = []
    monkeypatch.setattr(supervisor.WakingWorker, "run_job", hang_once)
    monkeypatch.setattr(supervisor.WakingWorker, "_poll_iteration", break_down)
    async with worker(workshop, reconcile_seconds=600):
        await started(workshop)
        await workshop.services.relay.drain()
        await until(outage)

        scan_id = await workshop.queue()
        await workshop.services.relay.drain()
        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE
    assert outages == [1]


@on_sqlite
async def test_rubbish_in_the_queue_is_passed_over(at_scale: Workshop) -> None:
    redis: ArqRedis = at_scale.connection
    await redis.zadd(QUEUE_NAME, {"no-such-job": 1, "pickled": 1})
    await redis.set("arq:job:pickled", b"\x80\x04cposix\nsystem\n")
    await redis.enqueue_job("no-such-function", 1)
    await redis.enqueue_job(FUNCTION)
    async with worker(at_scale, reconcile_seconds=600):
        await started(at_scale)
        scan_id = await at_scale.queue()
        await at_scale.services.relay.drain()

        assert (await at_scale.until_ended(scan_id)).status is ScanStatus.COMPLETE


async def test_t101_stopping_hands_back(workshop: Workshop) -> None:
    scan_id = await workshop.queue()
    pausing = asyncio.create_task(paused_reader(os.getpid(), "unpack"))
    async with worker(workshop, reconcile_seconds=0.1):
        child = await pausing
    await until_gone(child)

    assert (await workshop.job(scan_id)).state is JobState.QUEUED
    assert list(workshop.work_dir.iterdir()) == []
    async with worker(workshop, reconcile_seconds=0.1):
        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE


@on_sqlite
async def test_workers_share_the_work_and_do_nothing_twice(workshop: Workshop) -> None:
    layout = workshop.layout()
    scans = [await workshop.queue(layout) for _ in range(4)]
    async with worker(workshop, reconcile_seconds=0.1), worker(workshop, reconcile_seconds=0.1):
        for scan_id in scans:
            assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE

    assert [(await workshop.job(scan_id)).attempt for scan_id in scans] == [1] * 4


@on_sqlite
async def test_nothing_is_left_running(workshop: Workshop) -> None:
    before = asyncio.all_tasks()
    async with worker(workshop, reconcile_seconds=0.1):
        await started(workshop)
        assert {"reconciler", "queue"} <= {task.get_name() for task in asyncio.all_tasks()}

    # A connection that is being closed may take a moment; whatever works on jobs may not.
    left = [task for task in asyncio.all_tasks() - before if "workers" in repr(task)]
    assert left == []
