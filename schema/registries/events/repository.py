"""All SQL of what registries tell us."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image, Tag
from schema.kernel.errors import not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import parameter
from schema.kernel.rows import as_time
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing
from schema.registries.models import Registry, RegistryEvent

RETENTION = timedelta(days=30)
EVENTS = Listing(
    RegistryEvent,
    columns={
        "id": col(RegistryEvent.id),
        "images": col(RegistryEvent.images),
        "outcome": col(RegistryEvent.outcome),
        "received_at": as_time(RegistryEvent.received_at),
    },
    scope=[col(RegistryEvent.registry_id) == parameter("registry_id")],
    sorts={"receivedAt": col(RegistryEvent.received_at)},
    default=SortOrder(column="receivedAt", descending=True),
)


async def list_events(
    session: AsyncSession, organization_id: str, registry_id: str, request: PageRequest, *, wanted: Wanted = None
) -> Page[Any]:
    return await fetch_page(
        session, EVENTS, organization_id, request, scope={"registry_id": registry_id}, wanted=wanted
    )


async def check_registry(session: AsyncSession, organization_id: str, registry_id: str) -> Registry:
    """NOT_FOUND unless it is the organization's."""
    statement = select(Registry).where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
    registry = (await session.execute(statement)).scalar_one_or_none()
    if registry is None:
        raise not_found("Registry")
    return registry


async def find_addressed(session: AsyncSession, registry_id: str) -> Registry | None:
    """The registry that a webhook's address names, before anybody has proven anything."""
    statement = select(Registry).where(
        across_tenants(Registry, because="the address names the registry, and the registry its organization"),
        col(Registry.id) == registry_id,
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def keep_secret(
    session: AsyncSession, organization_id: str, registry_id: str, sealed: dict[str, str] | None, *, now: datetime
) -> None:
    await session.execute(
        update(Registry)
        .where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
        .values(sealed_webhook_secret=sealed, updated_at=now)
    )


async def keep_event(
    session: AsyncSession, registry: Registry, fingerprint: str, images: Sequence[str], *, now: datetime
) -> str | None:
    """The event's id, None when it was received before."""
    event_id = new_id(IdPrefix.REGISTRY_EVENT)
    values = {
        "id": event_id,
        "organization_id": registry.organization_id,
        "registry_id": registry.id,
        "fingerprint": fingerprint,
        "images": list(images),
        "outcome": "",
        "received_at": now,
    }
    made = await insert_missing(session, RegistryEvent, values, unique=("registry_id", "fingerprint"))
    return event_id if made else None


async def tell_outcome(session: AsyncSession, organization_id: str, event_id: str, outcome: str) -> None:
    await session.execute(
        update(RegistryEvent)
        .where(tenant(RegistryEvent, organization_id), col(RegistryEvent.id) == event_id)
        .values(outcome=outcome)
    )


async def find_deleted(
    session: AsyncSession, organization_id: str, name: str, *, registry_id: str, tag: str | None, digest: str | None
) -> tuple[str | None, list[str]]:
    """(the image's id, ids of its tags that a deletion means): of that name, or, without one, pointing to the digest."""
    meant = col(Tag.name) == tag if tag is not None else col(Tag.source_digest) == digest
    statement = (
        select(col(Image.id), col(Tag.id))
        .join(Tag, col(Tag.image_id) == col(Image.id))
        .where(
            tenant(Image, organization_id),
            tenant(Tag, organization_id),
            col(Image.name) == name,
            col(Image.registry_id) == registry_id,
            col(Tag.absent_since).is_(None),
            meant,
        )
    )
    rows = (await session.execute(statement)).all()
    return (rows[0][0] if rows else None), [row[1] for row in rows]


async def forget_old(session: AsyncSession, *, now: datetime) -> None:
    """Housekeeping of the reconciler."""
    await session.execute(
        delete(RegistryEvent).where(
            across_tenants(RegistryEvent, because="events are kept as long for everybody"),
            col(RegistryEvent.received_at) < now - RETENTION,
        )
    )
