"""Reading vulnerabilities."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.vulnerabilities import repository
from schema.vulnerabilities.enums import Severity, TriageStatus
from schema.vulnerabilities.types import ScannerFilter, Vulnerability, VulnerabilityDetail


@strawberry.type
class VulnerabilitiesQuery:
    @query_field("vulnerabilities:view", description="Vulnerabilities of all images, worst first.")
    async def vulnerabilities(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[
            str | None,
            strawberry.argument(description="severity, cveId, detectedAt, cvss, triageStatus; default severity:desc."),
        ] = None,
        after: AfterCursor = None,
        search: SearchText = None,
        severity: Annotated[list[Severity] | None, strawberry.argument(description="Any of these.")] = None,
        status: Annotated[list[TriageStatus] | None, strawberry.argument(description="Any of these.")] = None,
        scanner: Annotated[
            ScannerFilter | None, strawberry.argument(description="Reported by this tool itself, or by `native`.")
        ] = None,
        image: Annotated[str | None, strawberry.argument(description="An image's id or exact name.")] = None,
        package: Annotated[str | None, strawberry.argument(description="Exact name of the package.")] = None,
        cve_id: Annotated[str | None, strawberry.argument(description="Exact id of the flaw.")] = None,
    ) -> Page[Vulnerability]:
        async with info.context.read() as session:
            return await repository.list_vulnerabilities(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                severities=severity,
                statuses=status,
                scanner=scanner.value if scanner else None,
                image=image,
                package=package,
                cve_id=cve_id,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("vulnerabilities:view", description="One vulnerability with its evidence.")
    async def vulnerability(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`vuln-…`.")]
    ) -> VulnerabilityDetail:
        async with info.context.read() as session:
            row = await repository.get_vulnerability(session, info.context.organization_id, id)
        return cast("VulnerabilityDetail", row)
