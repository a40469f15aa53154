"""Looking for the tags of a batch and queueing their scans, a few with each transaction.

Each also notes how far it is and renews the lease: a worker that dies leaves whole transactions behind, and the next one
goes on after the last tag that was looked at.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.scans.batches import repository
from schema.scans.batches.rules import is_wanted
from schema.scans.batches.running import requester_of
from schema.scans.models import Engine
from schema.scans.unasked import scan_tags
from workers.leases import LeaseLostError
from workers.runtime import WorkerRuntime

_LOOKED_AT = 500  # tags of a transaction, of which
_SCANNED = 50  # are queued


async def perform_batch(lease: Lease, runtime: WorkerRuntime, _scratch: Path) -> None:
    """Raises LeaseLostError when the job is no longer ours."""
    while not await _go_on(lease, runtime):
        await runtime.services.relay.drain_quietly()
    await runtime.services.relay.drain_quietly()


async def _go_on(lease: Lease, runtime: WorkerRuntime) -> bool:
    """One transaction. Whether it was the last one."""
    services = runtime.services
    organization_id, now = lease.organization_id, services.clock()
    async with services.database.write() as session:
        batch = await repository.hold_batch(session, organization_id, lease.subject_id)
        if batch is None or batch.cancelled_at is not None:
            return await _end(session, lease, runtime, JobState.CANCELLED)
        renewal = await jobs.renew(session, lease, now=now, seconds=runtime.limits.lease_seconds)
        if not renewal.held:
            raise LeaseLostError
        tags = await repository.next_tags(
            session,
            organization_id,
            registry_id=batch.registry_id,
            unscanned_since=batch.unscanned_since,
            after=batch.position,
            limit=_LOOKED_AT,
        )
        wanted = [tag.id for tag in tags if is_wanted(batch, tag.image, tag.name)]
        chosen, rest = wanted[:_SCANNED], wanted[_SCANNED:]
        await scan_tags(
            session,
            organization_id,
            chosen,
            requester_of(batch),
            now=now,
            batch_id=batch.id,
            engines=tuple(Engine(name) for name in batch.scanners),
            force=batch.force,
        )
        if rest:
            await repository.change_batch(session, organization_id, batch.id, position=chosen[-1])
        elif len(tags) == _LOOKED_AT:
            await repository.change_batch(session, organization_id, batch.id, position=tags[-1].id)
        else:
            await repository.change_batch(session, organization_id, batch.id, selected_at=now)
            return await _end(session, lease, runtime, JobState.DONE)
    return False


async def _end(session: AsyncSession, lease: Lease, runtime: WorkerRuntime, state: JobState) -> bool:
    if not await jobs.finish(session, lease, state, now=runtime.services.clock()):
        raise LeaseLostError
    return True
