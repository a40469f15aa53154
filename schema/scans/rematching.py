"""When advisories change, the latest scan of each tag is judged again, without its image; what differs is a new scan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Tag
from schema.images.repository import hold_image
from schema.jobs.models import JobKind
from schema.jobs.repository import queue_job_once
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import across_tenants, tenant
from schema.scans import repository
from schema.scans.models import EngineRunStatus, Scan, ScanPhase, ScanStatus

ACTOR = "system:advisories"
PRIORITY = -10  # behind whatever somebody waits for
PAGE = 50
_TAKEN_OVER = ("image_id", "tag_id", "reference", "digest", "platform", "scanners", "origin", "source_kind", "source")


def _outdated(key: str) -> ColumnElement[bool]:
    """Of scans that the native provider judged: with other advisories than those of `key`."""
    return and_(
        col(Scan.advisory_key).is_not(None),
        col(Scan.advisory_key) != key,
        col(Scan.status) == ScanStatus.COMPLETE,
        col(Scan.partial).is_(False),
    )


async def queue_rematches(session: AsyncSession, key: str, *, now: datetime) -> int:
    """A job for each organization that has a tag to judge again, once for each state of the advisories."""
    everybody = across_tenants(Scan, because="advisories are shared by every organization")
    statement = (
        select(col(Scan.organization_id))
        .join(Tag, col(Tag.last_scan_id) == col(Scan.id))
        .where(everybody, _outdated(key))
        .distinct()
    )
    queued = 0
    for organization_id in (await session.execute(statement)).scalars().all():
        subject = blake2b(f"{organization_id} {key}".encode(), digest_size=16).hexdigest()
        queued += await queue_job_once(
            session, organization_id, kind=JobKind.REMATCH, subject_id=f"rem-{subject}", priority=PRIORITY, now=now
        )
    return queued


async def outdated_scans(session: AsyncSession, organization_id: str, key: str, *, after: str) -> Sequence[Scan]:
    """A page of the latest scans of tags that were judged with other advisories, by id."""
    statement = (
        select(Scan)
        .join(Tag, col(Tag.last_scan_id) == col(Scan.id))
        .where(tenant(Scan, organization_id), tenant(Tag, organization_id), _outdated(key), col(Scan.id) > after)
        .order_by(col(Scan.id))
        .limit(PAGE)
    )
    return (await session.execute(statement)).scalars().all()


async def is_latest(session: AsyncSession, scan: Scan) -> bool:
    """Whether it is still its tag's latest; until the transaction ends it stays so."""
    await hold_image(session, scan.organization_id, scan.image_id)
    statement = select(col(Tag.last_scan_id)).where(tenant(Tag, scan.organization_id), col(Tag.id) == scan.tag_id)
    return (await session.execute(statement)).scalar_one_or_none() == scan.id


async def start_rematch(session: AsyncSession, scan: Scan, *, now: datetime) -> Scan:
    """A new scan of the same image, asked of the same engines, for results to be ingested in this transaction."""
    scan_id = new_id(IdPrefix.SCAN)
    await repository.insert_scan(
        session,
        {
            "id": scan_id,
            "organization_id": scan.organization_id,
            **{name: getattr(scan, name) for name in _TAKEN_OVER},
            "status": ScanStatus.IN_PROGRESS,
            "phase": ScanPhase.MATCHING,
            "requested_by": ACTOR,
            "created_at": now,
            "started_at": now,
            "ordered_at": now,
        },
        [
            {
                "id": new_id(IdPrefix.ENGINE_RUN),
                "organization_id": scan.organization_id,
                "scan_id": scan_id,
                "engine": engine,
                "status": EngineRunStatus.RUNNING,
            }
            for engine in scan.scanners
        ],
    )
    message = f"Advisories have changed since scan {scan.id}: its packages were judged again"
    await repository.write_log(session, scan.organization_id, scan_id, message, now=now)
    return await repository.load_scan(session, scan.organization_id, scan_id)
