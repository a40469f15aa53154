"""What becomes of a sync, step by step: its row, and what its registry says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.tenancy import tenant
from schema.registries.models import Registry, RegistryStatus, RegistrySync, SyncStatus
from schema.scans.batches.running import BatchRequest, queue_batch

HEALTH_OF = 10  # syncs
MAX_MESSAGE = 2000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncStart:
    """A sync as its worker finds it: where it stands, and the registry as it is set up now."""

    sync: RegistrySync
    registry: Registry


async def begin_sync(session: AsyncSession, organization_id: str, sync_id: str, *, now: datetime) -> SyncStart | None:
    """None when the registry has been removed meanwhile, and its syncs with it."""
    statement = (
        select(RegistrySync, Registry)
        .join(Registry, col(Registry.id) == col(RegistrySync.registry_id))
        .where(
            tenant(RegistrySync, organization_id), tenant(Registry, organization_id), col(RegistrySync.id) == sync_id
        )
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    sync, registry = row
    started = {} if sync.started_at else {"started_at": now}
    await change_sync(session, organization_id, sync_id, status=SyncStatus.RUNNING, **started)
    await _change_registry(session, organization_id, registry.id, status=RegistryStatus.SYNCING, status_message=None)
    return SyncStart(sync=sync, registry=registry)


async def change_sync(session: AsyncSession, organization_id: str, sync_id: str, **values: Any) -> None:
    await session.execute(
        update(RegistrySync)
        .where(tenant(RegistrySync, organization_id), col(RegistrySync.id) == sync_id)
        .values(**values)
    )


async def count(session: AsyncSession, organization_id: str, sync_id: str, added: Mapping[str, int]) -> None:
    """Adds to counters of the sync."""
    counters = {name: getattr(RegistrySync, name) + number for name, number in added.items() if number}
    if counters:
        await change_sync(session, organization_id, sync_id, **counters)


async def end_complete(
    session: AsyncSession, organization_id: str, sync_id: str, *, left_out: str | None, now: datetime
) -> None:
    """`left_out` says what could not be looked at. Queues the scans that wait for it."""
    await _end(session, organization_id, sync_id, SyncStatus.COMPLETE, left_out, now=now)
    statement = (
        select(Registry, col(RegistrySync.requested_by))
        .join(RegistrySync, col(RegistrySync.registry_id) == col(Registry.id))
        .where(
            tenant(RegistrySync, organization_id),
            tenant(Registry, organization_id),
            col(RegistrySync.id) == sync_id,
            col(RegistrySync.scans_after),
        )
    )
    for registry, requested_by in (await session.execute(statement)).all():
        request = BatchRequest(
            registry_id=registry.id, tag_include=registry.tag_include, tag_exclude=registry.tag_exclude
        )
        await queue_batch(session, organization_id, request, requested_by=requested_by, now=now)


async def end_failed(session: AsyncSession, organization_id: str, sync_id: str, message: str, *, now: datetime) -> None:
    await _end(session, organization_id, sync_id, SyncStatus.FAILED, message, now=now)


async def end_cancelled(session: AsyncSession, organization_id: str, sync_id: str, *, now: datetime) -> None:
    await _end(session, organization_id, sync_id, SyncStatus.CANCELLED, None, now=now)


async def _end(
    session: AsyncSession,
    organization_id: str,
    sync_id: str,
    status: SyncStatus,
    message: str | None,
    *,
    now: datetime,
) -> None:
    message = message[:MAX_MESSAGE] if message else None
    await change_sync(session, organization_id, sync_id, status=status, message=message, ended_at=now)
    found = (
        await session.execute(
            select(col(RegistrySync.registry_id), col(Registry.last_sync_at))
            .join(Registry, col(Registry.id) == col(RegistrySync.registry_id))
            .where(
                tenant(RegistrySync, organization_id),
                tenant(Registry, organization_id),
                col(RegistrySync.id) == sync_id,
            )
        )
    ).one_or_none()
    if found is None:
        return  # removed meanwhile
    values: dict[str, Any] = {"status_message": message}
    match status:
        case SyncStatus.COMPLETE:
            values |= {"status": RegistryStatus.CONNECTED, "last_sync_at": now}
        case SyncStatus.FAILED:
            values["status"] = RegistryStatus.ERROR
        case _:
            values["status"] = RegistryStatus.CONNECTED if found.last_sync_at else RegistryStatus.DISCONNECTED
    values["health"] = await _health(session, organization_id, found.registry_id)
    await _change_registry(session, organization_id, found.registry_id, **values)


async def _health(session: AsyncSession, organization_id: str, registry_id: str) -> int | None:
    """How many of the registry's latest syncs that came to an end succeeded, 0-100."""
    latest = (
        select(col(RegistrySync.status).label("status"))
        .where(
            tenant(RegistrySync, organization_id),
            col(RegistrySync.registry_id) == registry_id,
            col(RegistrySync.status).in_((SyncStatus.COMPLETE, SyncStatus.FAILED)),
        )
        .order_by(col(RegistrySync.created_at).desc(), col(RegistrySync.id).desc())
        .limit(HEALTH_OF)
        .subquery()
    )
    succeeded = func.count().filter(latest.c.status == SyncStatus.COMPLETE)
    ended, good = (await session.execute(select(func.count(), succeeded).select_from(latest))).one()
    return round(100 * good / ended) if ended else None


async def _change_registry(session: AsyncSession, organization_id: str, registry_id: str, **values: Any) -> None:
    await session.execute(
        update(Registry).where(tenant(Registry, organization_id), col(Registry.id) == registry_id).values(**values)
    )
