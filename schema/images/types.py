"""The catalogue as the schema shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry

from schema.documents.formats import DocumentFormat
from schema.documents.repository import load_latest
from schema.documents.types import (
    Document,
    FormatArgument,
    PerEngine,
    SbomArgument,
    SbomFormat,
    TagArgument,
    admit,
    write,
)
from schema.execution.lookahead import wanted
from schema.images import repository
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber
from schema.kernel.operations import Info
from schema.kernel.pagination import Page, page_request
from schema.kernel.rows import part_of_source, resolved_field
from schema.kernel.scalars import Long
from schema.vulnerabilities.enums import Grade
from schema.vulnerabilities.types import SeverityCounts


@strawberry.type(description="A tag: a name that points to a digest, and the verdict of its latest scan.")
class Tag:
    id: strawberry.ID = strawberry.field(description="`tag-…`.")
    name: str = strawberry.field(description="Like `1.4.7`.")
    digest: str | None = strawberry.field(description="What it pointed to when it was last scanned.")
    source_digest: str | None = strawberry.field(
        description="What its registry says it points to, an index where there are several platforms; null: it was not asked."
    )
    absent_since: datetime | None = strawberry.field(
        description="When its registry was found without it; null: it is there, or the registry was not asked."
    )
    last_scan_id: strawberry.ID | None = strawberry.field(description="Its latest complete scan.")
    grade: Grade | None = strawberry.field(description="Grade of that scan.")
    risk_score: int | None = strawberry.field(description="0-100.")
    vulnerabilities: SeverityCounts = part_of_source(description="Open findings by severity.")
    last_scanned_at: datetime | None = strawberry.field(description="When it was last scanned.")
    created_at: datetime = strawberry.field(description="When we first heard of it.")
    updated_at: datetime = strawberry.field(description="When it last changed here.")


@strawberry.type(description="One platform's manifest in an index.")
class Platform:
    platform: str = strawberry.field(description="Like `linux/arm64`.")
    digest: str = strawberry.field(description="Digest of its manifest.")


@strawberry.type(description="What a tag pointed to, from when to when, as its registry said.")
class TagDigest:
    id: strawberry.ID = strawberry.field(description="`tdg-…`.")
    digest: str = strawberry.field(description="Of the manifest, or of an index.")
    since: datetime = strawberry.field(description="When it was first seen.")
    until: datetime | None = strawberry.field(description="When something else was; null: it still points there.")
    platforms: list[Platform] = strawberry.field(description="Of an index; empty for a manifest.")


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
    vulnerabilities: SeverityCounts = part_of_source(description="Open findings of the latest scan by severity.")
    last_scanned_at: datetime | None = strawberry.field(description="When it was last scanned.")
    absent_since: datetime | None = strawberry.field(description="When its registry was found without it.")
    created_at: datetime = strawberry.field(description="When we first heard of it.")

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
    ) -> Page[Tag]:
        async with info.context.read() as session:
            return await repository.list_tags(
                session,
                info.context.organization_id,
                self.id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                wanted=wanted(info, "items"),
            )

    @resolved_field(
        description=(
            "Its latest complete scan in a standard's format. CONFLICT when there is none yet; needs `scans:view`, and "
            "every format but spdx `vulnerabilities:view`."
        )
    )
    async def document(
        self, info: Info, format: FormatArgument, tag: TagArgument = None, *, per_engine: PerEngine = False
    ) -> Document:
        admit(info.context, format)
        async with info.context.read() as session:
            contents = await load_latest(session, info.context.organization_id, self.id, tag=tag)
        return await write(contents, format, per_engine=per_engine)

    @resolved_field(description="The bill of materials: `document` of a format made for that. CONFLICT as there.")
    async def sbom(self, info: Info, format: SbomArgument = SbomFormat.CYCLONEDX, tag: TagArgument = None) -> Document:
        wanted_format = DocumentFormat(format.value)
        admit(info.context, wanted_format)
        async with info.context.read() as session:
            contents = await load_latest(session, info.context.organization_id, self.id, tag=tag)
        return await write(contents, wanted_format)


@strawberry.type(description="An image archive that was sent to be scanned.")
class Upload:
    id: strawberry.ID = strawberry.field(description="`upl-…`; pass it as `uploadId` when triggering a scan.")
    image: str = strawberry.field(description="The reference it is filed under.")
    size_bytes: Long = strawberry.field(description="Bytes received.")
    sha256: str = strawberry.field(description="SHA-256 of the archive, in hex: compare it with yours.")
    created_at: datetime = strawberry.field(description="When it was received.")
