"""Reading registries."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.registries import repository
from schema.registries.enums import RegistryProvider, RegistryStatus, ScanMethod
from schema.registries.types import Registry


@strawberry.type
class RegistriesQuery:
    @query_field("registries:view", description="Registries, newest first.")
    async def registries(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[str | None, strawberry.argument(description="createdAt, name; default createdAt:desc.")] = None,
        after: AfterCursor = None,
        search: SearchText = None,
        provider: Annotated[list[RegistryProvider] | None, strawberry.argument(description="Any of these.")] = None,
        status: Annotated[list[RegistryStatus] | None, strawberry.argument(description="Any of these.")] = None,
        scan_method: Annotated[
            ScanMethod | None, strawberry.argument(description="Those our workers scan, or those a sensor scans.")
        ] = None,
    ) -> Page[Registry]:
        async with info.context.read() as session:
            return await repository.list_registries(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                search=search,
                providers=provider,
                statuses=status,
                scan_method=scan_method,
                wanted=wanted(info, "items"),
            )

    @query_field("registries:view", description="One registry.")
    async def registry(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")]
    ) -> Registry:
        async with info.context.read() as session:
            return cast("Registry", await repository.get_registry(session, info.context.organization_id, id))
