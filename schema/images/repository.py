"""All SQL of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import String, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Digest, Image, Manifest, Tag, TagDigest, Upload
from schema.kernel.errors import not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches, insert_missing
from schema.vulnerabilities.scores import Grade
from schema.vulnerabilities.verdict import verdict_columns

IMAGES = Listing(
    Image,
    columns=verdict_columns(Image)
    | {
        "id": col(Image.id),
        "name": col(Image.name),
        "registry_id": col(Image.registry_id),
        "tag_count": col(Image.tag_count),
        "latest_tag": col(Image.latest_tag),
        "latest_digest": col(Image.latest_digest),
        "last_scanned_at": as_time(Image.last_scanned_at),
        "absent_since": as_time(Image.absent_since),
        "created_at": as_time(Image.created_at),
    },
    filters={
        "registry": or_(
            col(Image.registry_id) == parameter("registry"),
            # Compared rather than matched: a host may hold what LIKE takes for a wildcard.
            func.substr(col(Image.name), 1, func.length(parameter("registry", String)) + 1)
            == parameter("registry", String) + "/",
        ),
        "risk_score": col(Image.risk_key) >= parameter("risk_score"),
        "grades": col(Image.grade).in_(any_of("grades")),
        "search": contains(col(Image.name), "search"),
    },
    sorts={"name": col(Image.name), "createdAt": col(Image.created_at), "riskScore": col(Image.risk_key)},
    default=SortOrder(column="createdAt", descending=True),
)
TAGS = Listing(
    Tag,
    columns=verdict_columns(Tag)
    | {
        "id": col(Tag.id),
        "name": col(Tag.name),
        "digest": col(Tag.digest),
        "source_digest": col(Tag.source_digest),
        "absent_since": as_time(Tag.absent_since),
        "last_scan_id": col(Tag.last_scan_id),
        "last_scanned_at": as_time(Tag.last_scanned_at),
        "created_at": as_time(Tag.created_at),
        "updated_at": as_time(Tag.updated_at),
    },
    scope=[col(Tag.image_id) == parameter("image_id")],
    sorts={"name": col(Tag.name), "updatedAt": col(Tag.updated_at), "riskScore": col(Tag.risk_key)},
    default=SortOrder(column="updatedAt", descending=True),
)
HISTORY = Listing(
    TagDigest,
    columns={
        "id": col(TagDigest.id),
        "digest": col(TagDigest.digest),
        "since": as_time(TagDigest.since),
        "until": as_time(TagDigest.until),
    },
    scope=[col(TagDigest.tag_id) == parameter("tag_id")],
    sorts={"since": col(TagDigest.since)},
    default=SortOrder(column="since", descending=True),
)


async def list_images(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    registry: str | None = None,
    risk_score: int | None = None,
    grades: Sequence[Grade] | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """`registry` is a registry's id or host, `risk_score` the least."""
    given = {
        "registry": registry or None,
        "risk_score": risk_score,
        "grades": grades,
        "search": pattern(search),
    }
    return await fetch_page(session, IMAGES, organization_id, request, filters=given, wanted=wanted)


async def get_image(session: AsyncSession, organization_id: str, image_id: str) -> Any:
    statement = IMAGES.one(col(Image.id) == image_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Image")
    return row


async def list_tags(
    session: AsyncSession, organization_id: str, image_id: str, request: PageRequest, *, wanted: Wanted = None
) -> Page[Any]:
    return await fetch_page(session, TAGS, organization_id, request, scope={"image_id": image_id}, wanted=wanted)


async def list_history(
    session: AsyncSession, organization_id: str, image_id: str, tag_id: str, request: PageRequest
) -> tuple[Page[Any], Mapping[str, Sequence[Any]]]:
    """What a tag of that image pointed to, and of each digest that is an index its manifests. NOT_FOUND."""
    mine = (tenant(Tag, organization_id), col(Tag.image_id) == image_id, col(Tag.id) == tag_id)
    if (await session.execute(select(col(Tag.id)).where(*mine))).scalar_one_or_none() is None:
        raise not_found("Tag")
    page = await fetch_page(session, HISTORY, organization_id, request, scope={"tag_id": tag_id})
    digests = {row.digest for row in page.items}
    statement = (
        select(col(Manifest.index_digest), col(Manifest.platform), col(Manifest.digest))
        .where(
            tenant(Manifest, organization_id),
            col(Manifest.image_id) == image_id,
            col(Manifest.index_digest).in_(digests),
        )
        .order_by(col(Manifest.platform), col(Manifest.digest))
    )
    manifests: dict[str, list[Any]] = {}
    for row in (await session.execute(statement)).all() if digests else ():
        manifests.setdefault(row.index_digest, []).append(row)
    return page, manifests


async def file_image(
    session: AsyncSession, organization_id: str, name: str, *, registry_id: str | None, now: datetime
) -> str:
    """The id of the image of that name, made when it is new."""
    await insert_missing(
        session,
        Image,
        {
            "id": new_id(IdPrefix.IMAGE),
            "organization_id": organization_id,
            "name": name,
            "registry_id": registry_id,
            "created_at": now,
        },
        unique=("organization_id", "name"),
    )
    statement = select(col(Image.id)).where(tenant(Image, organization_id), col(Image.name) == name)
    return (await session.execute(statement)).scalar_one()


async def file_tag(session: AsyncSession, organization_id: str, image_id: str, name: str, *, now: datetime) -> str:
    """The id of the tag of that name, made when it is new. Its digest is known once a scan has resolved it."""
    made = await insert_missing(
        session,
        Tag,
        {
            "id": new_id(IdPrefix.TAG),
            "organization_id": organization_id,
            "image_id": image_id,
            "name": name,
            "created_at": now,
            "updated_at": now,
        },
        unique=("organization_id", "image_id", "name"),
    )
    if made:
        await count_tags(session, organization_id, image_id)
    statement = select(col(Tag.id)).where(
        tenant(Tag, organization_id), col(Tag.image_id) == image_id, col(Tag.name) == name
    )
    return (await session.execute(statement)).scalar_one()


async def count_tags(session: AsyncSession, organization_id: str, image_id: str) -> None:
    """Stores how many tags the image has, without those that its registry has no more."""
    tags = select(func.count()).where(
        tenant(Tag, organization_id), col(Tag.image_id) == image_id, col(Tag.absent_since).is_(None)
    )
    await change_image(session, organization_id, image_id, tag_count=tags.scalar_subquery())


async def file_digest(
    session: AsyncSession,
    organization_id: str,
    image_id: str,
    *,
    digest: str | None,
    platform: str | None,
    size_bytes: int,
    operating_system: str | None,
    config: Mapping[str, Any],
    now: datetime,
) -> None:
    """Of an image nobody fetched, which has no size, nothing is filed: whoever fetches it will know more."""
    if not size_bytes:
        return
    await insert_missing(
        session,
        Digest,
        {
            "id": new_id(IdPrefix.DIGEST),
            "organization_id": organization_id,
            "image_id": image_id,
            "digest": digest,
            "platform": platform,
            "size_bytes": size_bytes,
            "operating_system": operating_system,
            "config": dict(config),
            "created_at": now,
        },
        unique=("organization_id", "image_id", "digest"),
    )


async def hold_image(session: AsyncSession, organization_id: str, image_id: str) -> None:
    """Until the transaction ends nobody else files anything of this image."""
    await hold_images(session, organization_id, [image_id])


async def hold_images(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> None:
    """The same for several: in one order for everybody, so that two wait for each other instead of for ever."""
    for batch in batches(sorted(set(image_ids))):
        statement = select(col(Image.id)).where(tenant_rows(Image, organization_id, batch))
        await session.execute(statement.order_by(col(Image.id)).with_for_update())


async def change_image(session: AsyncSession, organization_id: str, image_id: str, **values: Any) -> None:
    await session.execute(
        update(Image).where(tenant(Image, organization_id), col(Image.id) == image_id).values(**values)
    )


async def change_tag(session: AsyncSession, organization_id: str, tag_id: str, **values: Any) -> None:
    await session.execute(update(Tag).where(tenant(Tag, organization_id), col(Tag.id) == tag_id).values(**values))


async def insert_upload(session: AsyncSession, values: Mapping[str, Any]) -> None:
    await session.execute(insert(Upload).values(**values))


async def get_upload(session: AsyncSession, organization_id: str, upload_id: str) -> Upload:
    statement = select(Upload).where(tenant(Upload, organization_id), col(Upload.id) == upload_id)
    upload = (await session.execute(statement)).scalar_one_or_none()
    if upload is None:
        raise not_found("Upload")
    return upload
