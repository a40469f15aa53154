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
from schema.registries.events.repository import check_registry
from schema.registries.types import Registry, RegistrySync


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

    @query_field("registries:view", description="Looks at a registry's catalogue, latest first. NOT_FOUND.")
    async def registry_syncs(
        self,
        info: Info,
        registry_id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")],
        page: PageNumber = None,
        limit: PageLimit = None,
        after: AfterCursor = None,
    ) -> Page[RegistrySync]:
        context = info.context
        request = page_request(page=page, limit=limit, sort=None, after=after)
        async with context.read() as session:
            await check_registry(session, context.organization_id, registry_id)
            return await repository.list_syncs(
                session, context.organization_id, registry_id, request, wanted=wanted(info, "items")
            )

    @query_field("registries:view", description="One look at a registry's catalogue: how far it is, and what it found.")
    async def registry_sync(
        self,
        info: Info,
        registry_id: Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")],
        id: Annotated[strawberry.ID, strawberry.argument(description="`syn-…`.")],
    ) -> RegistrySync:
        context = info.context
        async with context.read() as session:
            return cast("RegistrySync", await repository.get_sync(session, context.organization_id, registry_id, id))
