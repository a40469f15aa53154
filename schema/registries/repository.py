"""All SQL of registries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.credentials.models import ApiKey
from schema.images.models import Image
from schema.kernel.errors import conflict, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.ports import KeyProvider
from schema.kernel.rows import as_time
from schema.kernel.search import contains, pattern
from schema.kernel.secrets import seal, seal_context, unseal
from schema.kernel.tenancy import tenant
from schema.registries.models import (
    Registry,
    RegistryProvider,
    RegistryStatus,
    RegistrySync,
    ScanMethod,
    SyncStatus,
)
from schema.sensors.models import SensorJob, SensorJobState

REGISTRIES = Listing(
    Registry,
    columns={
        "id": col(Registry.id),
        "name": col(Registry.name),
        "provider": col(Registry.provider),
        "url": col(Registry.url),
        "host": col(Registry.host),
        "insecure": col(Registry.insecure),
        "has_credentials": col(Registry.sealed_password).is_not(None),
        "namespace": col(Registry.options)["namespace"].as_string(),
        "project": col(Registry.options)["project"].as_string(),
        "region": col(Registry.options)["region"].as_string(),
        "scan_method": col(Registry.scan_method),
        "scanners": col(Registry.scanners),
        "tag_include": col(Registry.tag_include),
        "tag_exclude": col(Registry.tag_exclude),
        "schedule": col(Registry.schedule),
        "cron": col(Registry.cron),
        "time_zone": col(Registry.time_zone),
        "next_run_at": as_time(Registry.next_run_at),
        "status": col(Registry.status),
        "status_message": col(Registry.status_message),
        "health": col(Registry.health),
        "last_sync_at": as_time(Registry.last_sync_at),
        "created_at": as_time(Registry.created_at),
        "updated_at": as_time(Registry.updated_at),
    },
    filters={
        "providers": col(Registry.provider).in_(any_of("providers")),
        "statuses": col(Registry.status).in_(any_of("statuses")),
        "scan_method": col(Registry.scan_method) == parameter("scan_method"),
        "search": or_(contains(col(Registry.name), "search"), contains(col(Registry.host), "search")),
    },
    sorts={"createdAt": col(Registry.created_at), "name": col(Registry.name)},
    default=SortOrder(column="createdAt", descending=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """How to reach a registry. The password is never printed."""

    host: str
    insecure: bool
    username: str | None
    password: str | None = field(repr=False)
    provider: RegistryProvider = RegistryProvider.CUSTOM
    options: Mapping[str, str] = field(default_factory=dict)


# --- Reading


async def list_registries(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    search: str | None = None,
    providers: Sequence[RegistryProvider] | None = None,
    statuses: Sequence[RegistryStatus] | None = None,
    scan_method: ScanMethod | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """`search` looks at name and host."""
    given = {
        "providers": providers,
        "statuses": statuses,
        "scan_method": scan_method,
        "search": pattern(search),
    }
    return await fetch_page(session, REGISTRIES, organization_id, request, filters=given, wanted=wanted)


async def get_registry(session: AsyncSession, organization_id: str, registry_id: str) -> Any:
    statement = REGISTRIES.one(col(Registry.id) == registry_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Registry")
    return row


async def load_registry(
    session: AsyncSession, organization_id: str, registry_id: str, *, for_update: bool = False
) -> Registry:
    """The whole row, held until the transaction ends if it is to be changed. NOT_FOUND."""
    statement = select(Registry).where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
    registry = (await session.execute(statement.with_for_update() if for_update else statement)).scalar_one_or_none()
    if registry is None:
        raise not_found("Registry")
    return registry


async def find_registry(
    session: AsyncSession, organization_id: str, *, registry_id: str | None, host: str
) -> str | None:
    """The registry asked for (NOT_FOUND unless it is the organization's and serves that host), or the host's, if any."""
    statement = select(col(Registry.id)).where(tenant(Registry, organization_id), col(Registry.host) == host)
    if registry_id is not None:
        statement = statement.where(col(Registry.id) == registry_id)
    found = (await session.execute(statement.order_by(col(Registry.id)).limit(1))).scalar_one_or_none()
    if found is None and registry_id is not None:
        raise not_found("Registry")
    return found


async def count_registries(session: AsyncSession, organization_id: str) -> int:
    return (await session.execute(select(func.count()).where(tenant(Registry, organization_id)))).scalar_one()


async def require_free_name(session: AsyncSession, organization_id: str, name: str, *, but: str | None = None) -> None:
    """CONFLICT when another registry than `but` has the name."""
    taken = select(col(Registry.id)).where(tenant(Registry, organization_id), col(Registry.name) == name)
    found = (await session.execute(taken)).scalar_one_or_none()
    if found not in {None, but}:
        raise conflict(f"A registry named {name} already exists")


SYNCS = Listing(
    RegistrySync,
    columns={
        "id": col(RegistrySync.id),
        "registry_id": col(RegistrySync.registry_id),
        "status": col(RegistrySync.status),
        "repositories_found": col(RegistrySync.repositories_found),
        "repositories_done": col(RegistrySync.repositories_done),
        "tags_found": col(RegistrySync.tags_found),
        "tags_new": col(RegistrySync.tags_new),
        "tags_moved": col(RegistrySync.tags_moved),
        "tags_gone": col(RegistrySync.tags_gone),
        "message": col(RegistrySync.message),
        "requested_by": col(RegistrySync.requested_by),
        "created_at": as_time(RegistrySync.created_at),
        "started_at": as_time(RegistrySync.started_at),
        "ended_at": as_time(RegistrySync.ended_at),
    },
    scope=[col(RegistrySync.registry_id) == parameter("registry_id")],
    sorts={"createdAt": col(RegistrySync.created_at)},
    default=SortOrder(column="createdAt", descending=True),
)


async def list_syncs(
    session: AsyncSession, organization_id: str, registry_id: str, request: PageRequest, *, wanted: Wanted = None
) -> Page[Any]:
    return await fetch_page(session, SYNCS, organization_id, request, scope={"registry_id": registry_id}, wanted=wanted)


async def get_sync(session: AsyncSession, organization_id: str, registry_id: str, sync_id: str) -> Any:
    given = {ORGANIZATION: organization_id, "registry_id": registry_id}
    row = (await session.execute(SYNCS.one(col(RegistrySync.id) == sync_id), given)).one_or_none()
    if row is None:
        raise not_found("Synchronization")
    return row


# --- Writing


async def insert_registry(session: AsyncSession, values: dict[str, Any]) -> None:
    await session.execute(insert(Registry).values(**values))


async def change_registry(
    session: AsyncSession, organization_id: str, registry_id: str, values: dict[str, Any]
) -> None:
    mine = (tenant(Registry, organization_id), col(Registry.id) == registry_id)
    await session.execute(update(Registry).where(*mine).values(**values))


async def add_registry(
    session: AsyncSession,
    organization_id: str,
    *,
    name: str,
    provider: RegistryProvider,
    host: str,
    insecure: bool,
    username: str | None,
    password: str | None,
    keys: KeyProvider,
    now: datetime,
) -> str:
    """As it is, for whoever has checked it. CONFLICT when the name is taken."""
    await require_free_name(session, organization_id, name)
    registry_id = new_id(IdPrefix.REGISTRY)
    await insert_registry(
        session,
        {
            "id": registry_id,
            "organization_id": organization_id,
            "name": name,
            "provider": provider,
            "url": f"{'http' if insecure else 'https'}://{host}",
            "host": host,
            "insecure": insecure,
            "username": username,
            "sealed_password": await seal_password(keys, organization_id, registry_id, password),
            "created_at": now,
            "updated_at": now,
        },
    )
    return registry_id


async def release_images(session: AsyncSession, organization_id: str, registry_id: str) -> None:
    """Its images are no registry's from now on."""
    theirs = (tenant(Image, organization_id), col(Image.registry_id) == registry_id)
    await session.execute(update(Image).where(*theirs).values(registry_id=None))


async def bound_keys(session: AsyncSession, organization_id: str, registry_id: str) -> Sequence[str]:
    """The ids of the API keys for its sensors that were not revoked."""
    statement = select(col(ApiKey.id)).where(
        tenant(ApiKey, organization_id), col(ApiKey.registry_id) == registry_id, col(ApiKey.revoked_at).is_(None)
    )
    return (await session.execute(statement)).scalars().all()


async def revoke_bound_keys(session: AsyncSession, organization_id: str, registry_id: str, *, now: datetime) -> None:
    """They end for good; a revoked key needs no registry to refer to."""
    bound = (tenant(ApiKey, organization_id), col(ApiKey.registry_id) == registry_id)
    await session.execute(
        update(ApiKey).where(*bound).values(registry_id=None, revoked_at=func.coalesce(col(ApiKey.revoked_at), now))
    )


async def active_syncs(session: AsyncSession, organization_id: str, registry_id: str) -> Sequence[str]:
    statement = select(col(RegistrySync.id)).where(
        tenant(RegistrySync, organization_id),
        col(RegistrySync.registry_id) == registry_id,
        col(RegistrySync.status).in_((SyncStatus.QUEUED, SyncStatus.RUNNING)),
    )
    return (await session.execute(statement)).scalars().all()


async def scans_for_sensors(session: AsyncSession, organization_id: str, registry_id: str) -> Sequence[str]:
    """The ids of the scans that wait for its sensors, or that one of them works on."""
    statement = select(col(SensorJob.scan_id)).where(
        tenant(SensorJob, organization_id),
        col(SensorJob.registry_id) == registry_id,
        col(SensorJob.state).in_((SensorJobState.WAITING, SensorJobState.CLAIMED)),
    )
    return (await session.execute(statement)).scalars().all()


async def delete_registry_row(session: AsyncSession, organization_id: str, registry_id: str) -> None:
    """With its synchronizations and events."""
    mine = (tenant(Registry, organization_id), col(Registry.id) == registry_id)
    await session.execute(delete(Registry).where(*mine))


# --- Credentials


async def open_registry(
    session: AsyncSession, organization_id: str, registry_id: str, keys: KeyProvider
) -> RegistryAccess:
    """The registry with its credentials opened, for the worker that pulls."""
    registry = await load_registry(session, organization_id, registry_id)
    sealed = registry.sealed_password
    password = None if sealed is None else await unseal(keys, sealed, context=_context(organization_id, registry_id))
    return RegistryAccess(
        host=registry.host,
        insecure=registry.insecure,
        username=registry.username,
        password=password,
        provider=registry.provider,
        options=registry.options,
    )


async def seal_password(
    keys: KeyProvider, organization_id: str, registry_id: str, password: str | None
) -> dict[str, str] | None:
    return None if password is None else await seal(keys, password, context=_context(organization_id, registry_id))


def _context(organization_id: str, registry_id: str) -> bytes:
    return seal_context(
        organization_id=organization_id, table="registries", column="sealed_password", row_id=registry_id
    )
