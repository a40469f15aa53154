"""The CVE watch: stored packages are judged by what is known now, and the organization is told what is new."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.watch.looking import look
from workers.leases import LeaseLostError
from workers.rematch import judge_outdated
from workers.runtime import WorkerRuntime


async def perform_watch(lease: Lease, runtime: WorkerRuntime, _scratch: Path) -> None:
    """What is judged and told already stays; a worker that dies leaves the rest to the next."""
    services = runtime.services

    async def hold(session: AsyncSession) -> None:
        renewal = await jobs.renew(session, lease, now=services.clock(), seconds=runtime.limits.lease_seconds)
        if not renewal.held:
            raise LeaseLostError

    await judge_outdated(lease, runtime)
    await look(services.database, lease.organization_id, hold=hold, clock=services.clock)
    async with services.database.write() as session:
        if not await jobs.finish(session, lease, JobState.DONE, now=services.clock()):
            raise LeaseLostError
