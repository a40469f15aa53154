"""All SQL of sensors and their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.columns import UtcDateTime
from schema.kernel.database import BOOKKEEPING
from schema.kernel.errors import not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, parameter
from schema.kernel.rows import as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing
from schema.registries.models import Registry, RegistryStatus, ScanMethod
from schema.sensors.messages import Registration
from schema.sensors.models import Sensor, SensorJob, SensorJobState
from schema.sensors.rules import LEASE, OFFLINE_AFTER, OFFLINE_AFTER_REGISTERING, SEEN_EVERY, SensorStatus

ENDED = (SensorJobState.COMPLETED, SensorJobState.FAILED, SensorJobState.CANCELLED)
_MAX_OF_REGISTRY = 200
_RECONCILER = "the reconciler serves everybody"
_IS_OFFLINE = and_(
    col(Sensor.last_seen_at) <= parameter("silent_since", UtcDateTime),
    col(Sensor.registered_at) <= parameter("registered_since", UtcDateTime),
)
SENSORS = Listing(
    Sensor,
    columns={
        "id": col(Sensor.id),
        "name": col(Sensor.name),
        "status": case(
            (_IS_OFFLINE, SensorStatus.OFFLINE.value),
            (col(Sensor.active_scans) > 0, SensorStatus.SCANNING.value),
            else_=SensorStatus.ONLINE.value,
        ).label("status"),
        "registry_id": col(Sensor.registry_id),
        "api_key_id": col(Sensor.api_key_id),
        "hostname": col(Sensor.hostname),
        "os": col(Sensor.os),
        "arch": col(Sensor.arch),
        "version": col(Sensor.version),
        "capabilities": col(Sensor.capabilities),
        "scanner_versions": col(Sensor.scanner_versions),
        "active_scans": col(Sensor.active_scans),
        "uptime_seconds": col(Sensor.uptime_seconds),
        "registered_at": as_time(Sensor.registered_at),
        "last_seen_at": as_time(Sensor.last_seen_at),
        "created_at": as_time(Sensor.created_at),
    },
    filters={
        "registry_id": col(Sensor.registry_id) == parameter("registry_id"),
        "search": or_(contains(col(Sensor.name), "search"), contains(col(Sensor.hostname), "search")),
    },
    sorts={
        "createdAt": col(Sensor.created_at),
        "name": col(Sensor.name),
        "lastHeartbeatAt": col(Sensor.last_seen_at),
    },
    default=SortOrder(column="createdAt", descending=True),
)


def _moments(now: datetime) -> dict[str, datetime]:
    return {"silent_since": now - OFFLINE_AFTER, "registered_since": now - OFFLINE_AFTER_REGISTERING}


async def list_sensors(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    now: datetime,
    registry_id: str | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """`search` looks in the name and the host's name."""
    given = {"registry_id": registry_id, "search": pattern(search)}
    return await fetch_page(
        session, SENSORS, organization_id, request, scope=_moments(now), filters=given, wanted=wanted
    )


async def get_sensor(session: AsyncSession, organization_id: str, sensor_id: str, *, now: datetime) -> Any:
    """The sensor as it is shown."""
    given = {ORGANIZATION: organization_id, **_moments(now)}
    row = (await session.execute(SENSORS.one(col(Sensor.id) == sensor_id), given)).one_or_none()
    if row is None:
        raise not_found("Sensor")
    return row


async def sensors_of(session: AsyncSession, organization_id: str, registry_id: str, *, now: datetime) -> Sequence[Any]:
    """As they are shown, the one that was seen last first."""
    statement = SENSORS.one(col(Sensor.registry_id) == registry_id)
    statement = statement.order_by(col(Sensor.last_seen_at).desc(), col(Sensor.id)).limit(_MAX_OF_REGISTRY)
    rows: Sequence[Any] = (await session.execute(statement, {ORGANIZATION: organization_id, **_moments(now)})).all()
    return rows


async def delete_sensor_row(session: AsyncSession, organization_id: str, sensor_id: str) -> None:
    """NOT_FOUND unless it is the organization's."""
    statement = delete(Sensor).where(tenant(Sensor, organization_id), col(Sensor.id) == sensor_id)
    if (await session.execute(statement.returning(col(Sensor.id)))).scalar_one_or_none() is None:
        raise not_found("Sensor")


# --- Sensors.


async def find_own(session: AsyncSession, organization_id: str, api_key_id: str, sensor_id: str) -> Sensor | None:
    """The sensor of that id, if it speaks with that key."""
    statement = select(Sensor).where(
        tenant(Sensor, organization_id), col(Sensor.id) == sensor_id, col(Sensor.api_key_id) == api_key_id
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def file_sensor(
    session: AsyncSession,
    organization_id: str,
    api_key_id: str,
    registry_id: str,
    given: Registration,
    *,
    now: datetime,
) -> tuple[str, bool]:
    """The id of the sensor of that key and identity, and whether it is new."""
    said = asdict(given) | {"capabilities": list(given.capabilities), "registry_id": registry_id}
    values = {
        "id": new_id(IdPrefix.SENSOR),
        "organization_id": organization_id,
        "api_key_id": api_key_id,
        "active_scans": 0,
        "uptime_seconds": 0,
        "registered_at": now,
        "last_seen_at": now,
        "created_at": now,
        **said,
    }
    is_new = await insert_missing(session, Sensor, values, unique=("api_key_id", "identity")) > 0
    mine = (
        tenant(Sensor, organization_id),
        col(Sensor.api_key_id) == api_key_id,
        col(Sensor.identity) == given.identity,
    )
    if not is_new:
        await session.execute(
            update(Sensor)
            .where(*mine)
            .values(registered_at=now, last_seen_at=now, lost_at=None, active_scans=0, uptime_seconds=0, **said)
        )
    return (await session.execute(select(col(Sensor.id)).where(*mine))).scalar_one(), is_new


async def mark_seen(
    session: AsyncSession, sensor: Sensor, *, now: datetime, active_scans: int | None = None, uptime: int | None = None
) -> None:
    """Writes that a sensor was heard of, at most every few seconds unless it says more."""
    values: dict[str, Any] = {"last_seen_at": now, "lost_at": None}
    said = {"active_scans": active_scans, "uptime_seconds": uptime}
    values |= {name: value for name, value in said.items() if value is not None}
    statement = update(Sensor).where(tenant(Sensor, sensor.organization_id), col(Sensor.id) == sensor.id)
    if active_scans is None:
        statement = statement.where(col(Sensor.last_seen_at) <= now - SEEN_EVERY)
    await session.execute(statement.values(**values).execution_options(**{BOOKKEEPING: True}))


async def lose_silent(session: AsyncSession, *, now: datetime) -> Sequence[Any]:
    """Marks sensors as lost that are offline. Returns (id, organization, name, registry) of those that were not yet."""
    statement = (
        update(Sensor)
        .where(
            across_tenants(Sensor, because=_RECONCILER),
            col(Sensor.lost_at).is_(None),
            col(Sensor.last_seen_at) <= now - OFFLINE_AFTER,
            col(Sensor.registered_at) <= now - OFFLINE_AFTER_REGISTERING,
        )
        .values(lost_at=now, active_scans=0)
        .returning(col(Sensor.id), col(Sensor.organization_id), col(Sensor.name), col(Sensor.registry_id))
    )
    return (await session.execute(statement)).all()


# --- Their registry.


async def is_scanned_by_sensors(session: AsyncSession, organization_id: str, registry_id: str) -> bool:
    statement = select(col(Registry.scan_method)).where(
        tenant(Registry, organization_id), col(Registry.id) == registry_id
    )
    return (await session.execute(statement)).scalar_one_or_none() is ScanMethod.SENSOR


async def connect_registry(session: AsyncSession, organization_id: str, registry_id: str) -> None:
    """A sensor of it is there."""
    await session.execute(
        update(Registry)
        .where(
            *_scanned_by_sensors(organization_id, registry_id),
            col(Registry.status).in_((RegistryStatus.DISCONNECTED, RegistryStatus.ERROR)),
        )
        .values(status=RegistryStatus.CONNECTED, status_message=None)
    )


async def disconnect_registry(session: AsyncSession, organization_id: str, registry_id: str) -> None:
    """It is in error if none of its sensors is there any more."""
    present = select(col(Sensor.id)).where(
        tenant(Sensor, organization_id), col(Sensor.registry_id) == registry_id, col(Sensor.lost_at).is_(None)
    )
    await session.execute(
        update(Registry)
        .where(*_scanned_by_sensors(organization_id, registry_id), ~exists(present))
        .values(status=RegistryStatus.ERROR, status_message="No sensor of this registry is online")
    )


def _scanned_by_sensors(organization_id: str, registry_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        tenant(Registry, organization_id),
        col(Registry.id) == registry_id,
        col(Registry.scan_method) == ScanMethod.SENSOR,
    )


# --- Jobs.


async def queue_sensor_job(
    session: AsyncSession, organization_id: str, *, scan_id: str, registry_id: str, priority: int, now: datetime
) -> None:
    await session.execute(
        insert(SensorJob).values(
            scan_id=scan_id,
            organization_id=organization_id,
            registry_id=registry_id,
            state=SensorJobState.WAITING,
            priority=priority,
            created_at=now,
        )
    )


def _of_registry(organization_id: str, registry_id: str, state: SensorJobState) -> tuple[ColumnElement[bool], ...]:
    return (
        tenant(SensorJob, organization_id),
        col(SensorJob.registry_id) == registry_id,
        col(SensorJob.state) == state,
    )


async def has_waiting(session: AsyncSession, organization_id: str, registry_id: str) -> bool:
    statement = select(col(SensorJob.scan_id)).where(
        *_of_registry(organization_id, registry_id, SensorJobState.WAITING)
    )
    return (await session.execute(statement.limit(1))).first() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    scan_id: str
    attempt: int
    created_at: datetime


async def claim_next(session: AsyncSession, sensor: Sensor, registry_id: str, *, now: datetime) -> Claim | None:
    """Takes the registry's next waiting job, so that two sensors never get the same one."""
    due = (
        select(col(SensorJob.scan_id))
        .where(*_of_registry(sensor.organization_id, registry_id, SensorJobState.WAITING))
        .order_by(col(SensorJob.priority).desc(), col(SensorJob.created_at), col(SensorJob.scan_id))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(SensorJob)
        .where(
            *_of_registry(sensor.organization_id, registry_id, SensorJobState.WAITING), col(SensorJob.scan_id) == due
        )
        .values(
            state=SensorJobState.CLAIMED,
            sensor_id=sensor.id,
            lease_expires_at=now + LEASE,
            attempt=col(SensorJob.attempt) + 1,
        )
        .returning(col(SensorJob.scan_id), col(SensorJob.attempt), col(SensorJob.created_at))
    )
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else Claim(scan_id=row.scan_id, attempt=row.attempt, created_at=row.created_at)


def _held(sensor: Sensor) -> tuple[ColumnElement[bool], ...]:
    return (
        tenant(SensorJob, sensor.organization_id),
        col(SensorJob.sensor_id) == sensor.id,
        col(SensorJob.state) == SensorJobState.CLAIMED,
    )


async def renew_jobs(session: AsyncSession, sensor: Sensor, *, now: datetime) -> None:
    statement = update(SensorJob).where(*_held(sensor), col(SensorJob.cancel_requested).is_(False))
    await session.execute(statement.values(lease_expires_at=now + LEASE))


async def unwanted_jobs(session: AsyncSession, sensor: Sensor) -> Sequence[str]:
    """Of the jobs it has in hand, those that were cancelled."""
    statement = select(col(SensorJob.scan_id)).where(*_held(sensor), col(SensorJob.cancel_requested).is_(True))
    return (await session.execute(statement.order_by(col(SensorJob.scan_id)))).scalars().all()


async def return_jobs(session: AsyncSession, organization_id: str, sensor_id: str, *, now: datetime) -> None:
    """Has what the sensor has in hand looked after at once: it will not come back to it."""
    await session.execute(
        update(SensorJob)
        .where(
            tenant(SensorJob, organization_id),
            col(SensorJob.sensor_id) == sensor_id,
            col(SensorJob.state) == SensorJobState.CLAIMED,
        )
        .values(lease_expires_at=now)
    )


async def hold_job(session: AsyncSession, organization_id: str, scan_id: str) -> SensorJob | None:
    """The job of a scan; until the transaction ends nobody else changes it."""
    statement = select(SensorJob).where(tenant(SensorJob, organization_id), col(SensorJob.scan_id) == scan_id)
    return (await session.execute(statement.with_for_update())).scalar_one_or_none()


async def change_job(session: AsyncSession, job: SensorJob, **values: Any) -> None:
    statement = update(SensorJob).where(tenant(SensorJob, job.organization_id), col(SensorJob.scan_id) == job.scan_id)
    await session.execute(statement.values(**values))


async def end_job(
    session: AsyncSession, job: SensorJob, state: SensorJobState, *, now: datetime, message: str | None = None
) -> None:
    await change_job(session, job, state=state, lease_expires_at=None, ended_at=now, message=message)


async def expired_jobs(session: AsyncSession, *, now: datetime) -> Sequence[SensorJob]:
    """Whose sensor has been silent for too long. Two processes never look at the same one."""
    statement = (
        select(SensorJob)
        .where(
            across_tenants(SensorJob, because=_RECONCILER),
            col(SensorJob.state) == SensorJobState.CLAIMED,
            col(SensorJob.lease_expires_at) <= now,
        )
        .order_by(col(SensorJob.scan_id))
        .limit(500)
        .with_for_update(skip_locked=True)
    )
    return (await session.execute(statement)).scalars().all()


async def said_of(session: AsyncSession, organization_id: str, scan_id: str) -> str | None:
    """What the sensor of a scan reported of how it ended, if it did."""
    statement = select(col(SensorJob.message)).where(
        tenant(SensorJob, organization_id), col(SensorJob.scan_id) == scan_id
    )
    return (await session.execute(statement)).scalar_one_or_none()
