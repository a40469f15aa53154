"""Asking for a look at a registry's catalogue. The look itself is a job (workers/catalogue)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.jobs.models import JobKind
from schema.jobs.repository import queue_job
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import tenant
from schema.registries.models import Registry, RegistrySync, SyncStatus

ACTIVE_SYNCS = (SyncStatus.QUEUED, SyncStatus.RUNNING)


async def queue_sync(
    session: AsyncSession,
    organization_id: str,
    registry_id: str,
    *,
    requested_by: str,
    scans_after: bool = False,
    now: datetime,
) -> str:
    """The id of the registry's sync: the one that is queued or runs already, if there is one.

    `scans_after`: once it is complete, every tag that counts is scanned.
    """
    # Whoever else asks waits here, and then sees this one's row. (SQLite has one writer anyway.)
    mine = select(col(Registry.id)).where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
    await session.execute(mine.with_for_update())
    active = (
        select(col(RegistrySync.id))
        .where(
            tenant(RegistrySync, organization_id),
            col(RegistrySync.registry_id) == registry_id,
            col(RegistrySync.status).in_(ACTIVE_SYNCS),
        )
        .limit(1)
    )
    found = (await session.execute(active)).scalar_one_or_none()
    if found is not None:
        if scans_after:
            await session.execute(
                update(RegistrySync)
                .where(tenant(RegistrySync, organization_id), col(RegistrySync.id) == found)
                .values(scans_after=True)
            )
        return found
    sync_id = new_id(IdPrefix.SYNC)
    await session.execute(
        insert(RegistrySync).values(
            id=sync_id,
            organization_id=organization_id,
            registry_id=registry_id,
            status=SyncStatus.QUEUED,
            requested_by=requested_by,
            scans_after=scans_after,
            created_at=now,
        )
    )
    await queue_job(session, organization_id, kind=JobKind.SYNC, subject_id=sync_id, priority=0, now=now)
    return sync_id
