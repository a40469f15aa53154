"""What a crash, a flushed queue or a lost message left behind is found."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from schema.audit.models import AuditEvent
from schema.jobs.models import JobState
from schema.kernel.clock import utc_now
from schema.kernel.outbox import OutboxMessage
from schema.scans.failures import FailureCode
from schema.scans.models import ScanPhase, ScanStatus
from tests.app.site import on_sqlite
from tests.processes import PATIENCE, until
from tests.workers.workshop import Workshop
from workers.reconciler import reconcile, reconcile_forever


async def orphan(workshop: Workshop, *, attempt: int = 1) -> str:
    """A scan whose worker is gone."""
    scan_id = await workshop.queue()
    await workshop.lease("gone")
    expired = utc_now() - timedelta(seconds=1)
    await workshop.change_job(scan_id, lease_expires_at=expired, attempt=attempt)
    return scan_id


async def test_t100_the_job_of_a_dead_worker_is_done_by_another(workshop: Workshop) -> None:
    scan_id = await orphan(workshop)
    async with workshop.runner() as runner:
        await reconcile(workshop.runtime(), runner)

        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE
    assert (await workshop.job(scan_id)).attempt == 2


async def test_t100_a_job_that_kills_its_workers_fails_with_the_reason(workshop: Workshop) -> None:
    scan_id = await orphan(workshop, attempt=3)
    async with workshop.runner() as runner, workshop.services.signals.listen(scan_id) as waiter:
        listening = asyncio.create_task(waiter.wait(PATIENCE))
        await reconcile(workshop.runtime(), runner)
        await listening

    scan = await workshop.scan(scan_id)
    assert (scan.status, scan.phase, scan.failure_code) == (
        ScanStatus.FAILED,
        ScanPhase.DONE,
        FailureCode.INTERRUPTED,
    )
    assert scan.failure_reason is not None
    assert (await workshop.job(scan_id)).state is JobState.FAILED
    assert [row.action for row in await workshop.rows(AuditEvent)] == ["scan.triggered", "scan.failed"]


@on_sqlite
async def test_t102_a_job_nobody_was_woken_for_is_found(workshop: Workshop) -> None:
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        await reconcile(workshop.runtime(), runner)

        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE
    assert await workshop.rows(OutboxMessage) == [], "and its message was delivered, too"


@on_sqlite
async def test_a_live_worker_keeps_its_job(workshop: Workshop) -> None:
    scan_id = await workshop.queue()
    await workshop.lease("alive")
    async with workshop.runner() as runner:
        await reconcile(workshop.runtime(), runner)
        await runner.idle()

    assert (await workshop.job(scan_id)).lease_owner == "alive"


@on_sqlite
async def test_nothing_ends_the_reconciler(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a defect could, orphans would wait for a restart that nobody knows is needed."""
    calls = 0

    async def broken(*_: object, **__: object) -> None:
        nonlocal calls
        calls += 1
        raise LookupError("a defect")

    workshop.change_limits(reconcile_seconds=0.01)
    scan_id = await orphan(workshop)
    async with workshop.runner() as runner:
        with monkeypatch.context() as patched:
            patched.setattr("workers.reconciler.forget_expired", broken)
            task = asyncio.create_task(reconcile_forever(workshop.runtime(), runner))

            async def failed_twice() -> bool:
                return calls > 1

            await until(failed_twice)
        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
