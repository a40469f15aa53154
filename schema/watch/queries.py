"""Reading the CVE watch."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText, SortArgument
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.vulnerabilities.enums import Severity
from schema.watch import repository
from schema.watch.enums import AlertStatus
from schema.watch.showing import show_watch
from schema.watch.types import CveAlert, CveWatch


@strawberry.type
class WatchQuery:
    @query_field("vulnerabilities:view", description="The CVE watch of the organization.")
    async def cve_watch(self, info: Info) -> CveWatch:
        async with info.context.read() as session:
            return await show_watch(session, info.context.organization_id)

    @query_field("vulnerabilities:view", description="Alerts of the CVE watch, the newest first.")
    async def cve_alerts(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SortArgument = None,
        after: AfterCursor = None,
        search: SearchText = None,
        severity: Annotated[list[Severity] | None, strawberry.argument(description="Any of these.")] = None,
        status: Annotated[list[AlertStatus] | None, strawberry.argument(description="Any of these.")] = None,
        package_name: Annotated[str | None, strawberry.argument(description="Exact name of the package.")] = None,
        kev: Annotated[
            bool | None, strawberry.argument(description="Only those known to be exploited, or not.")
        ] = None,
    ) -> Page[CveAlert]:
        async with info.context.read() as session:
            return await repository.list_alerts(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                severities=severity,
                statuses=status,
                package=package_name,
                kev=kev,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("vulnerabilities:view", description="One alert.")
    async def cve_alert(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`alr-…`.")]
    ) -> CveAlert:
        async with info.context.read() as session:
            return cast("CveAlert", await repository.get_alert(session, info.context.organization_id, id))
