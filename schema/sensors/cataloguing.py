"""Filing what a sensor saw in its registry, which nobody else may be able to reach."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image, Tag
from schema.images.reference import ImageReference
from schema.kernel.context import RequestContext
from schema.kernel.errors import HarborGuardError
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches, insert_missing
from schema.registries.models import Registry
from schema.sensors.connecting import hear, own_sensor, registry_of
from schema.sensors.messages import Catalog


async def take_catalog(context: RequestContext, session: AsyncSession, message: Mapping[str, Any]) -> int:
    """Files images and tags that are new, and returns how many tags. What cannot be a name is passed over; nothing is
    taken away, because a sensor that could not list a repository says the same as one that found it empty.
    """
    catalog, now = Catalog.read(message), context.now()
    organization_id, registry_id = context.organization_id, registry_of(context.principal)
    sensor = await own_sensor(session, context.principal, catalog.agent_id)
    await hear(session, sensor, now=now)
    host = select(col(Registry.host)).where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
    found = _named((await session.execute(host)).scalar_one(), catalog.repositories)
    images = (
        {
            "id": new_id(IdPrefix.IMAGE),
            "organization_id": organization_id,
            "name": name,
            "registry_id": registry_id,
            "created_at": now,
        }
        for name in found
    )
    for batch in batches(images):
        await insert_missing(session, Image, batch, unique=("organization_id", "name"))
    ids = await _image_ids(session, organization_id, found)
    tags = (
        {
            "id": new_id(IdPrefix.TAG),
            "organization_id": organization_id,
            "image_id": ids[name],
            "name": tag,
            "created_at": now,
            "updated_at": now,
        }
        for name, named in found.items()
        for tag in named
    )
    made = 0
    for batch in batches(tags):
        made += await insert_missing(session, Tag, batch, unique=("organization_id", "image_id", "name"))
    if made:
        await _count_tags(session, organization_id, ids.values())
    return made


def _named(host: str, repositories: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Tags by the name of the image, without what is none."""
    found: dict[str, tuple[str, ...]] = {}
    for repository, tags in repositories.items():
        bare = repository.removeprefix(f"{host}/")
        try:
            name = ImageReference.parse(f"{host}/{bare}").name
        except HarborGuardError:
            continue
        found[name] = tuple(tag for tag in tags if _is_tag(name, tag))
    return found


def _is_tag(name: str, tag: str) -> bool:
    try:
        return ImageReference.parse(f"{name}:{tag}").tag == tag
    except HarborGuardError:
        return False


async def _image_ids(session: AsyncSession, organization_id: str, names: Iterable[str]) -> dict[str, str]:
    ids: dict[str, str] = {}
    for batch in batches(names):
        statement = select(col(Image.name), col(Image.id)).where(
            tenant(Image, organization_id), col(Image.name).in_(batch)
        )
        ids |= {row[0]: row[1] for row in (await session.execute(statement)).all()}
    return ids


async def _count_tags(session: AsyncSession, organization_id: str, image_ids: Iterable[str]) -> None:
    tags = (
        select(func.count())
        .where(tenant(Tag, organization_id), col(Tag.image_id) == col(Image.id), col(Tag.absent_since).is_(None))
        .correlate(Image)
        .scalar_subquery()
    )
    for batch in batches(image_ids):
        await session.execute(update(Image).where(tenant_rows(Image, organization_id, batch)).values(tag_count=tags))
