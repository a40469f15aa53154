"""Work goes on while the lease is kept, and stops at once when it is lost or nobody wants it any more."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from schema.jobs import repository
from schema.kernel.clock import utc_now
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.scans.failures import FailureCode, ScanFailure
from tests.app.site import on_sqlite
from tests.processes import PATIENCE, until
from tests.workers.workshop import Workshop
from workers.leases import CancelRequestedError, LeaseLostError, work_under_lease


class Work:
    """Something that takes for ever, and notes what becomes of it."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.stopped = False

    async def __call__(self) -> None:
        self.started.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            self.stopped = True
            raise


async def start(workshop: Workshop, work: Work) -> tuple[str, asyncio.Task[None]]:
    scan_id = await workshop.queue()
    lease = await workshop.lease()
    task = asyncio.create_task(work_under_lease(work(), lease, workshop.runtime()))
    await work.started.wait()
    return scan_id, task


async def ending(task: asyncio.Task[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await task


async def test_work_that_ends_ends_the_keeping(workshop: Workshop) -> None:
    await workshop.queue()
    lease = await workshop.lease()
    before = len(asyncio.all_tasks())

    await work_under_lease(asyncio.sleep(0), lease, workshop.runtime())

    assert len(asyncio.all_tasks()) == before


@on_sqlite
async def test_what_the_work_raises_comes_through(workshop: Workshop) -> None:
    async def fail() -> None:
        raise ScanFailure(FailureCode.IMAGE_INVALID, "broken")

    await workshop.queue()
    with pytest.raises(ScanFailure, match="broken"):
        await work_under_lease(fail(), await workshop.lease(), workshop.runtime())


async def test_the_lease_is_renewed_while_the_work_goes_on(workshop: Workshop) -> None:
    workshop.change_limits(lease_seconds=1000, heartbeat_seconds=0.05)
    work = Work()
    scan_id, task = await start(workshop, work)
    first = (await workshop.job(scan_id)).lease_expires_at
    assert first is not None

    async def renewed() -> bool:
        expires = (await workshop.job(scan_id)).lease_expires_at
        return expires is not None and expires > first

    await until(renewed)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_lost_lease_stops_the_work(workshop: Workshop) -> None:
    workshop.change_limits(heartbeat_seconds=0.05)
    work = Work()
    scan_id, task = await start(workshop, work)

    await workshop.change_job(scan_id, lease_owner="somebody-else")

    with pytest.raises(LeaseLostError):
        await ending(task)
    assert work.stopped


async def test_a_cancellation_stops_the_work_long_before_the_next_heartbeat(workshop: Workshop) -> None:
    work = Work()
    scan_id, task = await start(workshop, work)

    await workshop.cancel(scan_id)

    with pytest.raises(CancelRequestedError):
        await ending(task)
    assert work.stopped


@on_sqlite
async def test_a_cancellation_nobody_signalled_is_seen_at_the_start(workshop: Workshop) -> None:
    """Asked while the job was on its way from queue to worker, or of a worker that died since."""
    scan_id = await workshop.queue()
    lease = await workshop.lease()
    await workshop.change_job(scan_id, cancel_requested=True)
    work = Work()

    with pytest.raises(CancelRequestedError):
        await ending(asyncio.create_task(work_under_lease(work(), lease, workshop.runtime())))


@on_sqlite
async def test_a_cancellation_whose_signal_was_lost_is_seen_at_the_heartbeat(workshop: Workshop) -> None:
    workshop.change_limits(heartbeat_seconds=0.2)
    work = Work()
    scan_id, task = await start(workshop, work)

    await workshop.change_job(scan_id, cancel_requested=True)

    with pytest.raises(CancelRequestedError):
        await ending(task)


@on_sqlite
async def test_a_signal_about_anything_else_changes_nothing(workshop: Workshop) -> None:
    work = Work()
    scan_id, task = await start(workshop, work)
    for _ in range(5):
        await workshop.services.signals.send(scan_id)
        await asyncio.sleep(0.01)

    assert not task.done()
    await workshop.cancel(scan_id)
    with pytest.raises(CancelRequestedError):
        await ending(task)


class Outage:
    """Every transaction fails, as it does while the database is away."""

    def __init__(self, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
        @asynccontextmanager
        async def away() -> Any:
            self.asked += 1
            raise HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "away")
            yield

        self.asked = 0
        monkeypatch.setattr(workshop.database, "write", away)


@on_sqlite
async def test_t103_a_database_that_is_away_is_waited_for(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.change_limits(heartbeat_seconds=0.05)
    work = Work()
    scan_id, task = await start(workshop, work)
    with monkeypatch.context() as patched:
        outage = Outage(workshop, patched)

        async def asked() -> bool:
            return outage.asked > 2

        await until(asked)
        assert not task.done()
    before = utc_now()

    async def renewed() -> bool:
        expires = (await workshop.job(scan_id)).lease_expires_at
        return expires is not None and (expires - before).total_seconds() > workshop.limits.lease_seconds

    await until(renewed)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@on_sqlite
async def test_t103_a_lease_that_ran_out_during_an_outage_counts_as_lost(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then another worker, one that reaches the database, may have the job."""
    workshop.change_limits(lease_seconds=0.4, heartbeat_seconds=0.05)
    work = Work()
    _, task = await start(workshop, work)
    Outage(workshop, monkeypatch)

    with pytest.raises(LeaseLostError):
        await ending(task)
    assert work.stopped


@on_sqlite
async def test_stopping_is_not_forgotten_while_lost_work_ends(workshop: Workshop) -> None:
    workshop.change_limits(heartbeat_seconds=0.05)
    ending_slowly, may_end = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ending_slowly.set()
            await may_end.wait()

    scan_id = await workshop.queue()
    task = asyncio.create_task(work_under_lease(stubborn(), await workshop.lease(), workshop.runtime()))
    await workshop.change_job(scan_id, lease_owner="somebody-else")
    await ending_slowly.wait()

    task.cancel()
    may_end.set()

    with pytest.raises(asyncio.CancelledError):
        await ending(task)


@on_sqlite
async def test_work_that_ends_in_the_moment_its_lease_is_lost_does_not_count(workshop: Workshop) -> None:
    """It cannot have stored anything: that takes the lease."""
    await workshop.queue()
    lease = await workshop.lease()
    workshop.change_limits(heartbeat_seconds=0.05)

    async def finish_anyway() -> None:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            return

    async with workshop.database.write() as session:
        await repository.hand_back(session, lease, attempted=True, now=utc_now())
    with pytest.raises(LeaseLostError):
        await work_under_lease(finish_anyway(), lease, workshop.runtime())
