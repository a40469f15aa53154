"""Looking at sensors."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.sensors import repository
from schema.sensors.types import Sensor


@strawberry.type
class SensorsQuery:
    @query_field("registries:view", description="Sensors, newest first.")
    async def sensors(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[
            str | None, strawberry.argument(description="createdAt, name, lastHeartbeatAt; default createdAt:desc.")
        ] = None,
        after: AfterCursor = None,
        search: SearchText = None,
        registry: Annotated[
            str | None, strawberry.argument(description="Only those of the registry of this id.")
        ] = None,
    ) -> Page[Sensor]:
        context = info.context
        async with context.read() as session:
            return await repository.list_sensors(
                session,
                context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                now=context.now(),
                registry_id=registry,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("registries:view", description="One sensor.")
    async def sensor(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`sen-…`.")]
    ) -> Sensor:
        context = info.context
        async with context.read() as session:
            row = await repository.get_sensor(session, context.organization_id, id, now=context.now())
        return cast("Sensor", row)
