"""Reading batches."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.scans.batches import repository
from schema.scans.batches.types import ScanBatch


@strawberry.type
class ScanBatchesQuery:
    @query_field("scans:view", description="Batches of scans, latest first.")
    async def scan_batches(
        self, info: Info, page: PageNumber = None, limit: PageLimit = None, after: AfterCursor = None
    ) -> Page[ScanBatch]:
        async with info.context.read() as session:
            return await repository.list_batches(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=None, after=after),
                wanted=wanted(info, "items"),
            )

    @query_field("scans:view", description="One batch of scans.")
    async def scan_batch(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`bat-…`.")]
    ) -> ScanBatch:
        async with info.context.read() as session:
            return cast("ScanBatch", await repository.get_batch(session, info.context.organization_id, id))
