"""Reading what registries told us."""

from __future__ import annotations

from typing import Annotated

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.registries.events import repository
from schema.registries.events.types import RegistryEvent


@strawberry.type
class RegistryEventsQuery:
    @query_field("registries:view", description="What a registry told us in the last 30 days, the latest first.")
    async def registry_events(
        self,
        info: Info,
        registry_id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")],
        page: PageNumber = None,
        limit: PageLimit = None,
        after: AfterCursor = None,
    ) -> Page[RegistryEvent]:
        context = info.context
        request = page_request(page=page, limit=limit, sort=None, after=after)
        async with context.read() as session:
            await repository.check_registry(session, context.organization_id, registry_id)
            return await repository.list_events(
                session, context.organization_id, registry_id, request, wanted=wanted(info, "items")
            )
