"""Reading scans."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.scans import repository
from schema.scans.batches.repository import check_batch
from schema.scans.types import Scan, ScanStatusFilter


@strawberry.type
class ScansQuery:
    @query_field("scans:view", description="Scans, latest first. NOT_FOUND for a batch that is not there.")
    async def scans(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[
            str | None,
            strawberry.argument(description="scannedAt, status, compliance, riskScore; default scannedAt:desc."),
        ] = None,
        after: AfterCursor = None,
        search: SearchText = None,
        status: Annotated[list[ScanStatusFilter] | None, strawberry.argument(description="Any of these.")] = None,
        batch_id: Annotated[strawberry.ID | None, strawberry.argument(description="Those of this batch.")] = None,
    ) -> Page[Scan]:
        async with info.context.read() as session:
            if batch_id is not None:
                await check_batch(session, info.context.organization_id, batch_id)
            return await repository.list_scans(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                statuses=[wanted.status for wanted in status] if status else None,
                search=search,
                batch_id=batch_id,
                wanted=wanted(info, "items"),
            )

    @query_field("scans:view", description="One scan.")
    async def scan(self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`scn-…`.")]) -> Scan:
        async with info.context.read() as session:
            return cast("Scan", await repository.get_scan(session, info.context.organization_id, id))
