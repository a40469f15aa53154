"""All SQL that keeps the catalogue in step with a registry. Statements grow with batches, not with tags."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import CursorResult, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image, Manifest, Tag, TagDigest
from schema.images.repository import change_image
from schema.kernel.columns import metadata
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import BATCH, batches, insert_missing, insert_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTag:
    id: str
    name: str
    digest: str | None  # of what was scanned
    source_digest: str | None
    is_absent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenTag:
    """A tag as its registry has it now. Of an index, `manifests` are its platforms' (digest, platform, bytes)."""

    name: str
    digest: str
    manifests: tuple[tuple[str, str, int], ...] = ()


@dataclass(slots=True, kw_only=True)
class TagChanges:
    """What a batch of seen tags changes."""

    new: list[SeenTag] = field(default_factory=list)
    moved: list[tuple[KnownTag, SeenTag]] = field(default_factory=list)  # point to something else
    told: list[tuple[KnownTag, SeenTag]] = field(default_factory=list)  # their registry had not been asked before
    returned: list[KnownTag] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new or self.moved or self.told or self.returned)


async def find_image(session: AsyncSession, organization_id: str, name: str) -> tuple[str, str | None, bool] | None:
    """(id, registry's id, whether it was absent) of the image of that name."""
    statement = select(col(Image.id), col(Image.registry_id), col(Image.absent_since)).where(
        tenant(Image, organization_id), col(Image.name) == name
    )
    row = (await session.execute(statement)).one_or_none()
    return (row.id, row.registry_id, row.absent_since is not None) if row is not None else None


async def load_known(
    session: AsyncSession, organization_id: str, image_id: str, names: Collection[str]
) -> dict[str, KnownTag]:
    """The image's tags of these names, at most a batch of them."""
    statement = select(
        col(Tag.id), col(Tag.name), col(Tag.digest), col(Tag.source_digest), col(Tag.absent_since)
    ).where(tenant(Tag, organization_id), col(Tag.image_id) == image_id, col(Tag.name).in_(names))
    return {
        row.name: KnownTag(
            id=row.id,
            name=row.name,
            digest=row.digest,
            source_digest=row.source_digest,
            is_absent=row.absent_since is not None,
        )
        for row in (await session.execute(statement)).all()
    }


def compare(known: Mapping[str, KnownTag], seen: Iterable[SeenTag], listed: Iterable[str]) -> TagChanges:
    """`listed` are names the registry has, those that were not resolved included. Pure."""
    changes = TagChanges()
    for tag in seen:
        before = known.get(tag.name)
        if before is None:
            changes.new.append(tag)
        elif before.source_digest is None:
            changes.told.append((before, tag))
        elif before.source_digest != tag.digest:
            changes.moved.append((before, tag))
    changes.returned = [known[name] for name in listed if name in known and known[name].is_absent]
    return changes


async def apply(
    session: AsyncSession, organization_id: str, image_id: str, changes: TagChanges, *, now: datetime
) -> list[str]:
    """Writes what changed. Returns the ids of tags that are seen for the first time or point to something else."""
    moved, told, new_ids = list(changes.moved), list(changes.told), {}
    if changes.new:
        rows = [
            {
                "id": new_id(IdPrefix.TAG),
                "organization_id": organization_id,
                "image_id": image_id,
                "name": tag.name,
                "source_digest": tag.digest,
                "created_at": now,
                "updated_at": now,
            }
            for tag in changes.new
        ]
        made = await insert_missing(session, Tag, rows, unique=("organization_id", "image_id", "name"))
        new_ids = {str(row["name"]): str(row["id"]) for row in rows}
        if made != len(rows):  # somebody asked for a scan of one in this moment
            there = await load_known(session, organization_id, image_id, new_ids.keys())
            for tag in changes.new:
                if there[tag.name].id != new_ids[tag.name]:
                    told.append((there[tag.name], tag))
                    del new_ids[tag.name]
    pointed = [*moved, *told]
    if pointed:
        await _point(session, organization_id, [(before.id, tag.digest) for before, tag in pointed], now=now)
    if moved:
        await session.execute(
            update(TagDigest)
            .where(
                tenant(TagDigest, organization_id),
                col(TagDigest.tag_id).in_([before.id for before, _ in moved]),
                col(TagDigest.until).is_(None),
            )
            .values(until=now)
        )
    history = [(new_ids[tag.name], tag.digest) for tag in changes.new if tag.name in new_ids]
    history += [(before.id, tag.digest) for before, tag in pointed]
    await insert_rows(
        session,
        TagDigest,
        (
            {
                "id": new_id(IdPrefix.TAG_DIGEST),
                "organization_id": organization_id,
                "tag_id": tag_id,
                "digest": digest,
                "since": now,
                "until": None,
            }
            for tag_id, digest in history
        ),
    )
    if changes.returned:
        await session.execute(
            update(Tag)
            .where(tenant_rows(Tag, organization_id, [tag.id for tag in changes.returned]))
            .values(absent_since=None, updated_at=now)
        )
    await _file_manifests(session, organization_id, image_id, [*changes.new, *(tag for _, tag in pointed)])
    unscanned = [before.id for before, _ in told if before.digest is None]
    return [*new_ids.values(), *(before.id for before, _ in moved), *unscanned]


async def _point(
    session: AsyncSession, organization_id: str, tags: Sequence[tuple[str, str]], *, now: datetime
) -> None:
    table = metadata.tables[str(Tag.__tablename__)]
    connection = await session.connection()
    await connection.execute(
        update(table)
        .where(tenant(Tag, organization_id), table.c.id == bindparam("row_id"))
        .values(source_digest=bindparam("points_to"), updated_at=now),
        [{"row_id": tag_id, "points_to": digest} for tag_id, digest in tags],
    )


async def _file_manifests(session: AsyncSession, organization_id: str, image_id: str, tags: Iterable[SeenTag]) -> None:
    rows = {
        (tag.digest, digest): {
            "id": new_id(IdPrefix.MANIFEST),
            "organization_id": organization_id,
            "image_id": image_id,
            "index_digest": tag.digest,
            "digest": digest,
            "platform": platform,
            "size_bytes": size,
        }
        for tag in tags
        for digest, platform, size in tag.manifests
    }
    for batch in batches(rows.values()):
        await insert_missing(session, Manifest, batch, unique=("organization_id", "image_id", "index_digest", "digest"))


async def gone_tags(
    session: AsyncSession, organization_id: str, image_id: str, listed: Collection[str]
) -> AsyncIterator[list[str]]:
    """The ids, batch by batch, of tags the registry once had and does not list any more."""
    after = ""
    while True:
        statement = (
            select(col(Tag.id), col(Tag.name))
            .where(
                tenant(Tag, organization_id),
                col(Tag.image_id) == image_id,
                col(Tag.source_digest).is_not(None),
                col(Tag.absent_since).is_(None),
                col(Tag.id) > after,
            )
            .order_by(col(Tag.id))
            .limit(BATCH)
        )
        rows = (await session.execute(statement)).all()
        if gone := [row.id for row in rows if row.name not in listed]:
            yield gone
        if len(rows) < BATCH:
            return
        after = rows[-1].id


async def miss_tags(session: AsyncSession, organization_id: str, tag_ids: Sequence[str], *, now: datetime) -> None:
    await session.execute(
        update(Tag).where(tenant_rows(Tag, organization_id, tag_ids)).values(absent_since=now, updated_at=now)
    )


async def gone_images(
    session: AsyncSession, organization_id: str, registry_id: str, listed: Collection[str]
) -> AsyncIterator[list[str]]:
    """The ids, batch by batch, of images that were seen in the registry and are not listed any more.

    An image of the registry's host that somebody scanned beside its catalogue was never seen in it, so it is not missed.
    """
    after = ""
    seen = select(col(Tag.id)).where(
        tenant(Tag, organization_id), col(Tag.image_id) == col(Image.id), col(Tag.source_digest).is_not(None)
    )
    while True:
        statement = (
            select(col(Image.id), col(Image.name))
            .where(
                tenant(Image, organization_id),
                col(Image.registry_id) == registry_id,
                col(Image.absent_since).is_(None),
                col(Image.id) > after,
                seen.exists(),
            )
            .order_by(col(Image.id))
            .limit(BATCH)
        )
        rows = (await session.execute(statement)).all()
        if gone := [row.id for row in rows if row.name not in listed]:
            yield gone
        if len(rows) < BATCH:
            return
        after = rows[-1].id


async def miss_images(session: AsyncSession, organization_id: str, image_ids: Sequence[str], *, now: datetime) -> int:
    """Marks the images and their tags. Returns how many tags that were."""
    await session.execute(
        update(Image).where(tenant_rows(Image, organization_id, image_ids)).values(absent_since=now, tag_count=0)
    )
    result = await session.execute(
        update(Tag)
        .where(
            tenant(Tag, organization_id),
            col(Tag.image_id).in_(image_ids),
            col(Tag.absent_since).is_(None),
            col(Tag.source_digest).is_not(None),
        )
        .values(absent_since=now, updated_at=now)
    )
    assert isinstance(result, CursorResult)
    return result.rowcount


async def find_again(session: AsyncSession, organization_id: str, image_id: str, *, registry_id: str) -> None:
    """The image is in the registry: again, or known to be for the first time. One that has a registry keeps it."""
    keeps = func.coalesce(col(Image.registry_id), registry_id)
    await change_image(session, organization_id, image_id, absent_since=None, registry_id=keeps)
