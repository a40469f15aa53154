"""Taking jobs and seeing each to its end: done, failed, cancelled, or handed back."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from schema.jobs import repository
from schema.jobs.models import JobKind, JobState
from schema.jobs.repository import Lease
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.registries import lifecycle as syncs
from schema.scans import lifecycle
from schema.scans.batches.repository import change_batch
from schema.scans.failures import FailureCode, ScanFailure
from workers.batches import perform_batch
from workers.catalogue import perform_sync
from workers.leases import CancelRequestedError, LeaseLostError, work_under_lease
from workers.rematch import perform_rematch
from workers.review import perform_review
from workers.runtime import WorkerRuntime
from workers.scan import perform_scan
from workers.watch import perform_watch
from workers.workspace import Workspace

log = structlog.get_logger(__name__)
PERFORM = {
    JobKind.SCAN: perform_scan,
    JobKind.SYNC: perform_sync,
    JobKind.BATCH: perform_batch,
    JobKind.REMATCH: perform_rematch,
    JobKind.REVIEW: perform_review,
    JobKind.WATCH: perform_watch,
}


class JobRunner:
    """Works on due jobs, at most `limits.concurrency` at a time, in tasks of its own: a wake-up returns at once."""

    def __init__(self, runtime: WorkerRuntime, workspace: Workspace) -> None:
        self._runtime = runtime
        self._workspace = workspace
        self._tasks: set[asyncio.Task[None]] = set()
        self._woken = False

    @property
    def has_free_slot(self) -> bool:
        return len(self._tasks) < self._runtime.limits.concurrency

    def wake(self) -> None:
        """Looks for due jobs, now if a slot is free, else as soon as one is."""
        self._woken = True
        if self.has_free_slot:
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Returns when nothing is being worked on."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Stops what runs and hands it back."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work(self) -> None:
        try:
            # Every task looks at least once: of many wake-ups in one moment none may stand for all slots.
            self._woken = True
            while self._woken:
                self._woken = False
                while (lease := await self._lease_next()) is not None:
                    await self.work_on(lease)
        except HarborGuardError as error:
            # The database is away: a lease that was taken expires, and the reconciler queues its job again.
            log.warning("runner.postponed", error=error.message)

    async def _lease_next(self) -> Lease | None:
        services = self._runtime.services
        async with services.database.write() as session:
            return await repository.lease_next(
                session,
                owner=self._runtime.owner,
                now=services.clock(),
                seconds=self._runtime.limits.lease_seconds,
                limit=self._runtime.limits.organization_limit,
            )

    async def work_on(self, lease: Lease) -> None:
        """Sees one job to its end, whatever that is."""
        with structlog.contextvars.bound_contextvars(job=lease.job_id, subject=lease.subject_id):
            try:
                perform = PERFORM[lease.kind]
                with self._workspace.scratch() as scratch:
                    await work_under_lease(perform(lease, self._runtime, scratch), lease, self._runtime)
            except LeaseLostError:
                log.warning("job.lease_lost", attempt=lease.attempt)
            except CancelRequestedError:
                await self._end(lease, JobState.CANCELLED)
            except ScanFailure as failure:
                await self._end(lease, JobState.FAILED, failure)
            except asyncio.CancelledError:
                await asyncio.shield(self._hand_back(lease, attempted=False))
                raise
            except HarborGuardError as error:
                if error.code is ErrorCode.SERVICE_UNAVAILABLE:
                    raise
                log.exception("job.unexpected_error", attempt=lease.attempt)
                await self._retry(lease)
            except Exception:
                log.exception("job.unexpected_error", attempt=lease.attempt)
                await self._retry(lease)

    async def _retry(self, lease: Lease) -> None:
        if lease.attempt < lease.max_attempts:
            await self._hand_back(lease, attempted=True)
        else:
            reason = f"The {lease.kind} ran into a defect of ours on every attempt; the server's log has the details"
            await self._end(lease, JobState.FAILED, ScanFailure(FailureCode.INTERNAL, reason))

    async def _end(self, lease: Lease, state: JobState, failure: ScanFailure | None = None) -> None:
        services = self._runtime.services
        now = services.clock()
        async with services.database.write() as session:
            if not await repository.finish(session, lease, state, now=now):
                return  # somebody else's job by now
            await _end_subject(session, lease, failure, now=now)
        await services.signals.send(lease.subject_id)

    async def _hand_back(self, lease: Lease, *, attempted: bool) -> None:
        services = self._runtime.services
        async with services.database.write() as session:
            await repository.hand_back(session, lease, attempted=attempted, now=services.clock())
        await services.relay.drain_quietly()


async def _end_subject(session: AsyncSession, lease: Lease, failure: ScanFailure | None, *, now: datetime) -> None:
    """Tells what the job was about. Without a failure it was cancelled."""
    organization_id, subject_id = lease.organization_id, lease.subject_id
    match lease.kind:
        case JobKind.SCAN if failure is not None:
            await lifecycle.end_failed(session, organization_id, subject_id, failure, now=now)
        case JobKind.SCAN:
            await lifecycle.end_cancelled(session, organization_id, subject_id, now=now)
        case JobKind.SYNC if failure is not None:
            await syncs.end_failed(session, organization_id, subject_id, failure.message, now=now)
        case JobKind.SYNC:
            await syncs.end_cancelled(session, organization_id, subject_id, now=now)
        case JobKind.BATCH if failure is not None:
            await change_batch(session, organization_id, subject_id, message=failure.message)
        case _:
            pass  # a batch is marked by whoever cancels it; judging again is nobody's
