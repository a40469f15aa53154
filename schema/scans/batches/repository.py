"""All SQL of batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image, Tag
from schema.jobs.repository import cancel_queued
from schema.kernel.errors import not_found
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION
from schema.kernel.rows import as_time
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches
from schema.scans.batches.rules import BatchStatus
from schema.scans.models import ACTIVE, EngineRun, EngineRunStatus, Scan, ScanBatch, ScanPhase, ScanStatus, SourceKind


def _count(*statuses: ScanStatus) -> ColumnElement[int]:
    """Of the scans of the row's batch."""
    mine = and_(col(Scan.organization_id) == col(ScanBatch.organization_id), col(Scan.batch_id) == col(ScanBatch.id))
    wanted = [col(Scan.status).in_(statuses)] if statuses else []
    return select(func.count()).select_from(Scan).where(mine, *wanted).scalar_subquery()


BATCHES = Listing(
    ScanBatch,
    columns={
        "id": col(ScanBatch.id),
        "images": col(ScanBatch.images),
        "tag_include": col(ScanBatch.tag_include),
        "tag_exclude": col(ScanBatch.tag_exclude),
        "registry_id": col(ScanBatch.registry_id),
        "scanners": col(ScanBatch.scanners),
        "force": col(ScanBatch.force),
        "status": case(
            (col(ScanBatch.cancelled_at).is_not(None), BatchStatus.CANCELLED.value),
            (col(ScanBatch.message).is_not(None), BatchStatus.FAILED.value),
            (col(ScanBatch.selected_at).is_(None), BatchStatus.SELECTING.value),
            (_count(*ACTIVE) > 0, BatchStatus.IN_PROGRESS.value),
            else_=BatchStatus.COMPLETE.value,
        ).label("status"),
        "message": col(ScanBatch.message),
        "scan_count": _count().label("scan_count"),
        "queued_count": _count(ScanStatus.QUEUED).label("queued_count"),
        "in_progress_count": _count(ScanStatus.IN_PROGRESS).label("in_progress_count"),
        "complete_count": _count(ScanStatus.COMPLETE).label("complete_count"),
        "failed_count": _count(ScanStatus.FAILED).label("failed_count"),
        "cancelled_count": _count(ScanStatus.CANCELLED).label("cancelled_count"),
        "requested_by": col(ScanBatch.requested_by),
        "created_at": as_time(ScanBatch.created_at),
        "selected_at": as_time(ScanBatch.selected_at),
        "cancelled_at": as_time(ScanBatch.cancelled_at),
    },
    sorts={"createdAt": col(ScanBatch.created_at)},
    default=SortOrder(column="createdAt", descending=True),
)


@dataclass(frozen=True, slots=True)
class FoundTag:
    id: str
    name: str
    image: str


async def list_batches(
    session: AsyncSession, organization_id: str, request: PageRequest, *, wanted: Wanted = None
) -> Page[Any]:
    return await fetch_page(session, BATCHES, organization_id, request, wanted=wanted)


async def get_batch(session: AsyncSession, organization_id: str, batch_id: str) -> Any:
    """The batch as it is shown."""
    statement = BATCHES.one(col(ScanBatch.id) == batch_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Batch")
    return row


async def check_batch(session: AsyncSession, organization_id: str, batch_id: str) -> None:
    """NOT_FOUND unless it is the organization's."""
    mine = (tenant(ScanBatch, organization_id), col(ScanBatch.id) == batch_id)
    if (await session.execute(select(col(ScanBatch.id)).where(*mine))).scalar_one_or_none() is None:
        raise not_found("Batch")


async def insert_batch(session: AsyncSession, values: dict[str, Any]) -> None:
    await session.execute(insert(ScanBatch).values(**values))


async def hold_batch(session: AsyncSession, organization_id: str, batch_id: str) -> ScanBatch | None:
    """The batch, kept from whoever else wants to change it: its worker and whoever cancels it take turns."""
    mine = (tenant(ScanBatch, organization_id), col(ScanBatch.id) == batch_id)
    return (await session.execute(select(ScanBatch).where(*mine).with_for_update())).scalar_one_or_none()


async def change_batch(session: AsyncSession, organization_id: str, batch_id: str, **values: Any) -> None:
    mine = (tenant(ScanBatch, organization_id), col(ScanBatch.id) == batch_id)
    await session.execute(update(ScanBatch).where(*mine).values(**values))


async def next_tags(
    session: AsyncSession,
    organization_id: str,
    *,
    registry_id: str | None,
    unscanned_since: datetime | None,
    after: str,
    limit: int,
) -> Sequence[FoundTag]:
    """Tags in the order of their ids; which of them globs choose is for the caller.

    An image of no registry counts if it has ever been pulled: an upload cannot be had again.
    """
    scans_of_tag = and_(
        tenant(Scan, organization_id), col(Scan.image_id) == col(Tag.image_id), col(Scan.tag_id) == col(Tag.id)
    )
    pulled = exists().where(scans_of_tag, col(Scan.source_kind) == SourceKind.REGISTRY)
    conditions: list[ColumnElement[bool]] = [
        col(Image.registry_id) == registry_id
        if registry_id is not None
        else or_(col(Image.registry_id).is_not(None), pulled)
    ]
    if unscanned_since is not None:
        conditions.append(~exists().where(scans_of_tag, col(Scan.created_at) >= unscanned_since))
    statement = (
        select(col(Tag.id), col(Tag.name), col(Image.name))
        .join(Image, col(Image.id) == col(Tag.image_id))
        .where(
            tenant(Tag, organization_id),
            tenant(Image, organization_id),
            col(Tag.absent_since).is_(None),
            col(Tag.id) > after,
            *conditions,
        )
        .order_by(col(Tag.id))
        .limit(limit)
    )
    return [FoundTag(*row) for row in (await session.execute(statement)).all()]


async def cancel_queued_scans(
    session: AsyncSession, organization_id: str, batch_id: str, *, now: datetime
) -> list[str]:
    """Ends every scan of the batch that no worker has taken. Returns their ids. Statements grow with batches of 500."""
    mine = (tenant(Scan, organization_id), col(Scan.batch_id) == batch_id)
    waiting = select(col(Scan.id)).where(*mine, col(Scan.status) == ScanStatus.QUEUED)
    cancelled = await cancel_queued(session, organization_id, waiting, now=now)
    for ids in batches(cancelled):
        await session.execute(
            update(EngineRun)
            .where(tenant(EngineRun, organization_id), col(EngineRun.scan_id).in_(ids))
            .values(status=EngineRunStatus.SKIPPED, message="The scan was cancelled")
        )
        await session.execute(
            update(Scan)
            .where(tenant_rows(Scan, organization_id, ids))
            .values(status=ScanStatus.CANCELLED, phase=ScanPhase.DONE, scanned_at=now, ordered_at=now)
        )
    return cancelled


async def active_scans(session: AsyncSession, organization_id: str, batch_id: str) -> list[str]:
    mine = (tenant(Scan, organization_id), col(Scan.batch_id) == batch_id)
    active = select(col(Scan.id)).where(*mine, col(Scan.status).in_(ACTIVE))
    return list((await session.execute(active)).scalars())
