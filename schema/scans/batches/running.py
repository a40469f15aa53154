"""Starting and stopping batches: the rules around the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.jobs.models import JobKind
from schema.jobs.repository import queue_job, request_cancel
from schema.kernel.errors import ErrorCode, HarborGuardError, conflict, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import ActorKind, Principal, system_principal
from schema.scans.batches import repository
from schema.scans.batches.rules import is_wanted
from schema.scans.models import Engine, ScanBatch
from schema.scans.trigger import cancel_scan

_LOOK = 500  # tags


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRequest:
    """Which tags to scan. Without `scanners` each image has those of its registry, or all."""

    images: str = "*"
    tag_include: str = "*"
    tag_exclude: str = ""
    registry_id: str | None = None
    scanners: Sequence[Engine] = ()
    force: bool = False
    unscanned_since: datetime | None = None


async def has_due_tags(session: AsyncSession, organization_id: str, request: BatchRequest) -> bool:
    """Whether a batch would find anything, as far as a first look tells."""
    tags = await repository.next_tags(
        session,
        organization_id,
        registry_id=request.registry_id,
        unscanned_since=request.unscanned_since,
        after="",
        limit=_LOOK,
    )
    return len(tags) == _LOOK or any(is_wanted(request, tag.image, tag.name) for tag in tags)


async def queue_batch(
    session: AsyncSession,
    organization_id: str,
    request: BatchRequest,
    *,
    requested_by: str,
    now: datetime,
) -> str:
    """Stores the batch and the job that looks for its tags, in the caller's transaction. Returns its id."""
    batch_id = new_id(IdPrefix.SCAN_BATCH)
    await repository.insert_batch(
        session,
        {
            "id": batch_id,
            "organization_id": organization_id,
            "images": request.images,
            "tag_include": request.tag_include,
            "tag_exclude": request.tag_exclude,
            "registry_id": request.registry_id,
            "scanners": [engine.value for engine in dict.fromkeys(request.scanners)],
            "force": request.force,
            "unscanned_since": request.unscanned_since,
            "position": "",
            "requested_by": requested_by,
            "created_at": now,
        },
    )
    await queue_job(session, organization_id, kind=JobKind.BATCH, subject_id=batch_id, priority=0, now=now)
    return batch_id


def requester_of(batch: ScanBatch) -> Principal:
    """Who its scans are for: whoever asked for it."""
    kind, _, name = batch.requested_by.partition(":")
    return replace(system_principal(batch.organization_id, name), actor_kind=ActorKind(kind))


async def cancel_batch(
    session: AsyncSession, batch_id: str, principal: Principal, *, now: datetime, ip: str | None = None
) -> list[str]:
    """Looks for no more tags, ends scans that wait and asks the running ones to end. Returns the ids of all of these.

    NOT_FOUND, CONFLICT when there is nothing left to cancel.
    """
    organization_id = principal.organization_id
    batch = await repository.hold_batch(session, organization_id, batch_id)
    if batch is None:
        raise not_found("Batch")
    if batch.cancelled_at is not None:
        raise conflict("The batch has been cancelled already")
    cancelled = await repository.cancel_queued_scans(session, organization_id, batch_id, now=now)
    for scan_id in await repository.active_scans(session, organization_id, batch_id):
        try:
            await cancel_scan(session, scan_id, principal, now=now, ip=ip)
        except HarborGuardError as error:
            if error.code is not ErrorCode.CONFLICT:
                raise
            continue  # it has just ended
        cancelled.append(scan_id)
    if batch.selected_at is not None and not cancelled:
        raise conflict("Every scan of the batch has ended")
    await request_cancel(session, organization_id, batch_id, now=now)
    await repository.change_batch(session, organization_id, batch_id, cancelled_at=now)
    await record(
        session,
        organization_id=organization_id,
        actor=principal.actor_id,
        action="scan.batch_cancelled",
        target=f"batch:{batch_id}",
        ip=ip,
        details={"scans": len(cancelled)},
        now=now,
    )
    return cancelled
