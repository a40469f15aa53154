"""Reading events."""

from __future__ import annotations

from typing import Annotated

import strawberry

from schema.events import repository
from schema.events.models import EventType
from schema.events.types import Event
from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SortArgument
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request


@strawberry.type
class EventsQuery:
    @query_field(
        "vulnerabilities:view", description="What has happened that somebody may want to be told, newest first."
    )
    async def events(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SortArgument = None,
        after: AfterCursor = None,
        type: Annotated[list[EventType] | None, strawberry.argument(description="Any of these.")] = None,
    ) -> Page[Event]:
        async with info.context.read() as session:
            return await repository.list_events(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                types=type,
                wanted=wanted(info, "items"),
            )
