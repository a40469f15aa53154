"""Reading the catalogue."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.images import repository
from schema.images.types import Image, Platform, TagDigest
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.vulnerabilities.enums import Grade


@strawberry.type
class ImagesQuery:
    @query_field("images:view", description="Images, latest first.")
    async def images(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[
            str | None, strawberry.argument(description="name, createdAt, riskScore; default createdAt:desc.")
        ] = None,
        after: AfterCursor = None,
        search: SearchText = None,
        registry: Annotated[str | None, strawberry.argument(description="A registry's id or host.")] = None,
        risk_score: Annotated[int | None, strawberry.argument(description="At least this risk score.")] = None,
        grade: Annotated[list[Grade] | None, strawberry.argument(description="Any of these.")] = None,
    ) -> Page[Image]:
        async with info.context.read() as session:
            return await repository.list_images(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                registry=registry,
                risk_score=risk_score,
                grades=grade,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("images:view", description="One image.")
    async def image(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`img-…`.")]
    ) -> Image:
        async with info.context.read() as session:
            return cast("Image", await repository.get_image(session, info.context.organization_id, id))

    @query_field("images:view", description="What a tag pointed to, the latest first. NOT_FOUND.")
    async def tag_history(
        self,
        info: Info,
        image_id: Annotated[strawberry.ID, strawberry.argument(description="`img-…`.")],
        tag_id: Annotated[strawberry.ID, strawberry.argument(description="`tag-…`.")],
        page: PageNumber = None,
        limit: PageLimit = None,
        after: AfterCursor = None,
    ) -> Page[TagDigest]:
        request = page_request(page=page, limit=limit, sort=None, after=after)
        async with info.context.read() as session:
            found, manifests = await repository.list_history(
                session, info.context.organization_id, image_id, tag_id, request
            )
        items = [
            TagDigest(
                id=row.id,
                digest=row.digest,
                since=row.since,
                until=row.until,
                platforms=[
                    Platform(platform=each.platform, digest=each.digest) for each in manifests.get(row.digest, ())
                ],
            )
            for row in found.items
        ]
        return Page(items=items, meta=found.meta)
