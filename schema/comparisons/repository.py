"""Which scan somebody means who names a scan, a tag or an image."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.documents.repository import latest_scan
from schema.images.models import Tag
from schema.images.repository import get_image
from schema.kernel.errors import not_found
from schema.kernel.ids import IdPrefix
from schema.kernel.tenancy import tenant


async def scan_meant(session: AsyncSession, organization_id: str, subject_id: str) -> str:
    """The id of a scan: the one named, or the latest complete one of a tag or an image, as the id's prefix says.

    Raises NOT_FOUND, and CONFLICT for a tag or an image without a complete scan.
    """
    match subject_id.partition("-")[0]:
        case IdPrefix.SCAN:
            return subject_id
        case IdPrefix.IMAGE:
            await get_image(session, organization_id, subject_id)
            return await latest_scan(session, organization_id, subject_id)
        case IdPrefix.TAG:
            statement = select(col(Tag.image_id), col(Tag.name)).where(
                tenant(Tag, organization_id), col(Tag.id) == subject_id
            )
            tag = (await session.execute(statement)).one_or_none()
            if tag is None:
                raise not_found("Tag")
            return await latest_scan(session, organization_id, tag.image_id, tag=tag.name)
    raise not_found("Scan, tag or image")
