"""Keeping a job while working on it, and stopping at once when it is taken away or cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from schema.jobs import repository
from schema.jobs.repository import Lease
from schema.kernel.errors import HarborGuardError
from workers.runtime import WorkerRuntime

CANCEL_AGAIN_SECONDS = 0.1
LOOK_SECONDS = 0.8  # of the two in which a cancelled scan has stopped, for the case that its signal is lost


class LeaseLostError(Exception):
    """Another worker holds the job now: nothing this one computed may be stored."""


class CancelRequestedError(Exception):
    """Somebody cancelled the job; its engines are stopped by the time this is raised."""


async def work_under_lease(work: Coroutine[Any, Any, None], lease: Lease, runtime: WorkerRuntime) -> None:
    """Runs `work` while renewing the lease; raises what it raises, LeaseLostError or CancelRequestedError."""
    working = asyncio.create_task(work)
    keeping = asyncio.create_task(_keep(lease, runtime))
    try:
        await asyncio.wait({working, keeping}, return_when=asyncio.FIRST_COMPLETED)
        if keeping.done() and not working.done():
            await _stop(working)
            keeping.result()
        await working
    finally:
        await _stop(working)
        await _stop(keeping)


async def _stop(task: asyncio.Task[None]) -> None:
    """Cancels until the task has ended: Python 3.11's wait_for loses a cancellation that meets a result (gh-86296).

    Cancelled itself, it first finishes that: a task left behind would go on with a database that is being closed.
    """
    cancelled = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=CANCEL_AGAIN_SECONDS)
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()  # seen here, or raised above: never reported as forgotten
    if cancelled is not None:
        raise cancelled


async def _keep(lease: Lease, runtime: WorkerRuntime) -> None:
    """Ends by raising: the lease was lost, or a cancellation was requested."""
    services, limits = runtime.services, runtime.limits
    loop = asyncio.get_running_loop()
    expires = loop.time() + limits.lease_seconds
    next_renewal = loop.time() + limits.heartbeat_seconds
    async with services.signals.listen(repository.stopping(lease.subject_id)) as waiter:
        while True:
            # A signal only makes it sooner: what was asked before this listened, or of a worker that died, had none.
            await waiter.wait(max(0.0, min(LOOK_SECONDS, next_renewal - loop.time())))
            try:
                if loop.time() < next_renewal:
                    async with services.database.read() as session:
                        cancel = await repository.cancel_requested(session, lease)
                else:
                    next_renewal = loop.time() + limits.heartbeat_seconds
                    async with services.database.write() as session:
                        renewal = await repository.renew(
                            session, lease, now=services.clock(), seconds=limits.lease_seconds
                        )
                    if not renewal.held:
                        raise LeaseLostError
                    cancel = renewal.cancel_requested
                    expires = loop.time() + limits.lease_seconds
            except HarborGuardError:
                # The database is away. The lease runs on until it expires; after that another worker may hold the job.
                if loop.time() >= expires:
                    raise LeaseLostError from None
                cancel = False
            if cancel:
                raise CancelRequestedError
