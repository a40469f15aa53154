"""The catalogue as the schema shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry

from schema.images import repository
from schema.images.models import Upload as UploadRow
from schema.kernel.operations import Info, resolved_field
from schema.kernel.pages import AfterCursor, PageLimit, PageMeta, PageNumber
from schema.kernel.pagination import Page, page_request
from schema.kernel.scalars import Long
from schema.vulnerabilities.enums import Grade
from schema.vulnerabilities.types import SeverityCounts


@strawberry.type(description="A tag: a name that points to a digest, and the verdict of its latest scan.")
class Tag:
    id: strawberry.ID = strawberry.field(description="`tag-…`.")
    name: str = strawberry.field(description="Like `1.4.7`.")
    digest: str | None = strawberry.field(description="What it pointed to when it was last scanned.")
    last_scan_id: strawberry.ID | None = strawberry.field(description="Its latest complete scan.")
    grade: Grade | None = strawberry.field(description="Grade of that scan.")
    risk_score: int | None = strawberry.field(description="0-100.")
    vulnerabilities: SeverityCounts = strawberry.field(description="Open findings by severity.")
    last_scanned_at: datetime | None = strawberry.field(description="When it was last scanned.")
    created_at: datetime = strawberry.field(description="When we first heard of it.")
    updated_at: datetime = strawberry.field(description="When it last changed here.")

    @classmethod
    def from_row(cls, row: Any) -> Tag:
        return cls(
            id=strawberry.ID(row.id),
            name=row.name,
            digest=row.digest,
            last_scan_id=None if row.last_scan_id is None else strawberry.ID(row.last_scan_id),
            grade=row.grade,
            risk_score=row.risk_score,
            vulnerabilities=SeverityCounts.from_row(row),
            last_scanned_at=row.last_scanned_at,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )


@strawberry.type(description="A page of tags.")
class TagPage:
    items: list[Tag] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")


@strawberry.type(description="A repository: one name in one registry, whatever its tags are.")
class Image:
    id: strawberry.ID = strawberry.field(description="`img-…`.")
    name: str = strawberry.field(description="Like `ghcr.io/acme/api`.")
    registry_id: strawberry.ID | None = strawberry.field(description="The registry it is pulled from, if it is set up.")
    tag_count: int = strawberry.field(description="Tags we know.")
    latest_tag: str | None = strawberry.field(description="The tag scanned last.")
    latest_digest: str | None = strawberry.field(description="The digest scanned last.")
    risk_score: int | None = strawberry.field(description="0-100, of the latest scan.")
    grade: Grade | None = strawberry.field(description="Grade of the latest scan.")
    vulnerabilities: SeverityCounts = strawberry.field(description="Open findings of the latest scan by severity.")
    last_scanned_at: datetime | None = strawberry.field(description="When it was last scanned.")
    created_at: datetime = strawberry.field(description="When we first heard of it.")

    @classmethod
    def from_row(cls, row: Any) -> Image:
        return cls(
            id=strawberry.ID(row.id),
            name=row.name,
            registry_id=None if row.registry_id is None else strawberry.ID(row.registry_id),
            tag_count=row.tag_count,
            latest_tag=row.latest_tag,
            latest_digest=row.latest_digest,
            risk_score=row.risk_score,
            grade=row.grade,
            vulnerabilities=SeverityCounts.from_row(row),
            last_scanned_at=row.last_scanned_at,
            created_at=row.created_at,
        )

    @resolved_field(description="Its tags, the one that changed last first.")
    async def tags(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[
            str | None, strawberry.argument(description="name, updatedAt, riskScore; default updatedAt:desc.")
        ] = None,
        after: AfterCursor = None,
    ) -> TagPage:
        async with info.context.read() as session:
            found: Page[Any] = await repository.list_tags(
                session,
                info.context.organization_id,
                self.id,
                page_request(page=page, limit=limit, sort=sort, after=after),
            )
        return TagPage(items=[Tag.from_row(row) for row in found.items], meta=PageMeta.of(found.meta))


@strawberry.type(description="A page of images.")
class ImagePage:
    items: list[Image] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")


@strawberry.type(description="An image archive that was sent to be scanned.")
class Upload:
    id: strawberry.ID = strawberry.field(description="`upl-…`; pass it as `uploadId` when triggering a scan.")
    image: str = strawberry.field(description="The reference it is filed under.")
    size_bytes: Long = strawberry.field(description="Bytes received.")
    sha256: str = strawberry.field(description="SHA-256 of the archive, in hex: compare it with yours.")
    created_at: datetime = strawberry.field(description="When it was received.")

    @classmethod
    def from_row(cls, row: UploadRow) -> Upload:
        return cls(
            id=strawberry.ID(row.id),
            image=row.image,
            size_bytes=Long(row.size_bytes),
            sha256=row.sha256,
            created_at=row.created_at,
        )
