"""When registries are looked at and scanned by themselves, and what is done then.

A registry's next time stands in its row. Whoever finds that it has come moves it on, and only the one whose update finds
the row as it was read queues the work, in the same transaction: however many processes look, each time counts once, and
of times that were missed while nobody looked only one is made up for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zlib import crc32

from sqlalchemy import CursorResult, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.cron import Cron, find_zone
from schema.kernel.principal import ActorKind
from schema.kernel.tenancy import across_tenants, tenant
from schema.registries.models import Registry, RegistryStatus, RegistrySync, ScanMethod, Schedule, SyncStatus
from schema.registries.syncing import queue_sync
from schema.scans.batches.running import BatchRequest, has_due_tags, queue_batch

BY_SCHEDULE = f"{ActorKind.SYSTEM}:schedule"
_HOUR = timedelta(hours=1)
_PERIODS = {Schedule.DAILY: timedelta(days=1), Schedule.WEEKLY: timedelta(days=7)}
_AT_ONCE = 50  # registries of one look
_LOOKED = (SyncStatus.QUEUED, SyncStatus.RUNNING, SyncStatus.COMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """What was queued for a registry."""

    registry_id: str
    sync_id: str | None
    batch_id: str | None


def next_run(registry_id: str, schedule: Schedule, cron: str | None, zone: str, *, after: datetime) -> datetime | None:
    """The first time after `after`. None: never. ValueError for an expression or a zone that is none.

    Everything but cron is looked after once an hour, at a moment of the registry's own, so that not all come at once.
    """
    match schedule:
        case Schedule.MANUAL:
            return None
        case Schedule.CRON:
            return Cron.parse(cron or "").next_after(after, find_zone(zone))
        case _:
            moment = after.replace(minute=0, second=0, microsecond=0) + timedelta(
                seconds=crc32(registry_id.encode()) % _HOUR.seconds
            )
            return moment if moment > after else moment + _HOUR


async def due_registries(session: AsyncSession, *, now: datetime) -> Sequence[Registry]:
    everybody = across_tenants(Registry, because="the reconciler serves everybody")
    statement = select(Registry).where(everybody, col(Registry.next_run_at) <= now)
    return (await session.execute(statement.order_by(col(Registry.next_run_at)).limit(_AT_ONCE))).scalars().all()


async def fire(session: AsyncSession, registry: Registry, *, now: datetime) -> ScheduledRun | None:
    """Moves the registry on to its next time and queues what is due, in the caller's transaction. None: somebody else has."""
    values = _moved_on(registry, now)
    statement = (
        update(Registry)
        .where(
            tenant(Registry, registry.organization_id),
            col(Registry.id) == registry.id,
            col(Registry.next_run_at) == registry.next_run_at,
        )
        .values(**values)
    )
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    if result.rowcount != 1:
        return None
    return await run(session, registry, requested_by=BY_SCHEDULE, now=now)


def _moved_on(registry: Registry, now: datetime) -> dict[str, object]:
    try:
        at = next_run(registry.id, registry.schedule, registry.cron, registry.time_zone, after=now)
    except ValueError as error:  # a zone that has been abolished, for example: everybody else's time comes all the same
        return {"next_run_at": None, "status": RegistryStatus.ERROR, "status_message": str(error)}
    return {"next_run_at": at}


async def run(session: AsyncSession, registry: Registry, *, requested_by: str, now: datetime) -> ScheduledRun:
    """Queues what the registry's schedule stands for.

    daily, weekly: a look at the catalogue, and scans of the tags, for which there was none for so long. cron, and manual
    when somebody asks: a look, and then a scan of every tag. on_push: a look; what is new there is scanned with it. A
    registry that is a sensor's is looked at by the sensor.
    """
    organization_id = registry.organization_id
    period = _PERIODS.get(registry.schedule)
    since = now - period if period else None
    request = BatchRequest(
        registry_id=registry.id,
        tag_include=registry.tag_include,
        tag_exclude=registry.tag_exclude,
        unscanned_since=since,
    )
    scans_everything = registry.schedule in {Schedule.CRON, Schedule.MANUAL}
    sync_id = batch_id = None
    if registry.scan_method is ScanMethod.CLOUD and (since is None or not await _was_synced(session, registry, since)):
        sync_id = await queue_sync(
            session,
            organization_id,
            registry.id,
            requested_by=requested_by,
            scans_after=scans_everything,
            now=now,
        )
    is_later = sync_id is not None and scans_everything
    if (
        registry.schedule is not Schedule.ON_PUSH
        and not is_later
        and await has_due_tags(session, organization_id, request)
    ):
        batch_id = await queue_batch(session, organization_id, request, requested_by=requested_by, now=now)
    return ScheduledRun(registry_id=registry.id, sync_id=sync_id, batch_id=batch_id)


async def _was_synced(session: AsyncSession, registry: Registry, since: datetime) -> bool:
    """Or is being so."""
    mine = exists().where(
        tenant(RegistrySync, registry.organization_id),
        col(RegistrySync.registry_id) == registry.id,
        col(RegistrySync.created_at) > since,
        col(RegistrySync.status).in_(_LOOKED),
    )
    return bool((await session.execute(select(mine))).scalar_one())


async def chosen_registries(
    session: AsyncSession, organization_id: str, registry_ids: Sequence[str] | None
) -> Sequence[Registry]:
    """Those, or all that have a schedule. Ids that are not the organization's are missing."""
    wanted = col(Registry.schedule) != Schedule.MANUAL if registry_ids is None else col(Registry.id).in_(registry_ids)
    statement = select(Registry).where(tenant(Registry, organization_id), wanted).order_by(col(Registry.id))
    return (await session.execute(statement)).scalars().all()
