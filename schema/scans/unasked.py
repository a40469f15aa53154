"""Scans that nobody asks for one by one: of a schedule, of a push, of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image, Tag
from schema.kernel.principal import Principal
from schema.kernel.tenancy import tenant
from schema.registries.models import Registry
from schema.scans.models import ACTIVE, Engine, Scan
from schema.scans.trigger import ScanRequest, queue_scan


async def scan_tags(
    session: AsyncSession,
    organization_id: str,
    tag_ids: Sequence[str],
    principal: Principal,
    *,
    now: datetime,
    batch_id: str | None = None,
    engines: Sequence[Engine] = (),
    force: bool = False,
) -> list[str]:
    """Queues a scan for each tag that has none waiting or running, in the caller's transaction. Returns their ids.

    Without `engines` they are those the image's registry names, or all.
    """
    active = select(col(Scan.id)).where(
        tenant(Scan, organization_id), col(Scan.tag_id) == col(Tag.id), col(Scan.status).in_(ACTIVE)
    )
    queued = []
    for tag_id in tag_ids:
        # Locked one by one: whoever else wants to scan the same tag waits, and then sees the scan that is queued here.
        hold = select(col(Tag.id)).where(tenant(Tag, organization_id), col(Tag.id) == tag_id).with_for_update()
        if (await session.execute(hold)).scalar_one_or_none() is None:
            continue
        statement: Select[*tuple[Any, ...]] = (
            select(
                col(Image.name).label("image"),
                col(Tag.name).label("tag"),
                col(Image.registry_id).label("registry_id"),
                col(Registry.scanners).label("scanners"),
            )
            .join(Image, col(Image.id) == col(Tag.image_id))
            .outerjoin(Registry, and_(tenant(Registry, organization_id), col(Registry.id) == col(Image.registry_id)))
            .where(
                tenant(Tag, organization_id),
                tenant(Image, organization_id),
                col(Tag.id) == tag_id,
                col(Tag.absent_since).is_(None),
                ~active.exists(),
            )
        )
        row = (await session.execute(statement)).one_or_none()
        if row is None:
            continue
        request = ScanRequest(
            image=f"{row.image}:{row.tag}",
            scanners=tuple(engines) or tuple(Engine(name) for name in row.scanners or ()) or tuple(Engine),
            registry_id=row.registry_id,
            force=force,
            batch_id=batch_id,
        )
        queued.append(await queue_scan(session, request, principal, now=now))
    return queued
