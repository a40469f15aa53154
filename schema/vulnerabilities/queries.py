"""Reading vulnerabilities."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.errors import bad_request
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.vulnerabilities import grouping, repository
from schema.vulnerabilities.arguments import (
    AssigneeArgument,
    CveArgument,
    EpssMaxArgument,
    EpssMinArgument,
    ExceptedArgument,
    FixableArgument,
    ImageArgument,
    KevArgument,
    NewSinceArgument,
    OverdueArgument,
    PackageArgument,
    PresentArgument,
    RegistryArgument,
    ScannerArgument,
    SeverityArgument,
    StatusArgument,
    TagArgument,
    chosen,
)
from schema.vulnerabilities.grouping import GroupBy
from schema.vulnerabilities.types import (
    DistinctField,
    DistinctValue,
    Vulnerability,
    VulnerabilityDetail,
    VulnerabilityGroup,
)


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
        severity: SeverityArgument = None,
        status: StatusArgument = None,
        scanner: ScannerArgument = None,
        image: ImageArgument = None,
        registry: RegistryArgument = None,
        tag: TagArgument = None,
        package: PackageArgument = None,
        cve_id: CveArgument = None,
        fixable: FixableArgument = None,
        kev: KevArgument = None,
        epss_min: EpssMinArgument = None,
        epss_max: EpssMaxArgument = None,
        assignee: AssigneeArgument = None,
        overdue: OverdueArgument = None,
        excepted: ExceptedArgument = None,
        present: PresentArgument = None,
        new_since: NewSinceArgument = None,
    ) -> Page[Vulnerability]:
        asked = chosen(
            search=search,
            severity=severity,
            status=status,
            scanner=scanner,
            image=image,
            registry=registry,
            tag=tag,
            package=package,
            cve_id=cve_id,
            fixable=fixable,
            kev=kev,
            epss_min=epss_min,
            epss_max=epss_max,
            assignee=assignee,
            overdue=overdue,
            excepted=excepted,
            present=present,
            new_since=new_since,
        )
        async with info.context.read() as session:
            return await repository.list_vulnerabilities(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                asked,
                wanted=wanted(info, "items"),
            )

    @query_field("vulnerabilities:view", description="One vulnerability with its evidence.")
    async def vulnerability(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`vuln-…`.")]
    ) -> VulnerabilityDetail:
        async with info.context.read() as session:
            row = await repository.get_vulnerability(session, info.context.organization_id, id)
        return cast("VulnerabilityDetail", row)

    @query_field(
        "vulnerabilities:view", description="Vulnerabilities put together by flaw, by package or by image, worst first."
    )
    async def vulnerability_groups(
        self,
        info: Info,
        by: Annotated[GroupBy, strawberry.argument(description="What those of a group have in common.")],
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[
            str | None, strawberry.argument(description="severity, count, images, name; default severity:desc.")
        ] = None,
        search: SearchText = None,
        severity: SeverityArgument = None,
        status: StatusArgument = None,
        scanner: ScannerArgument = None,
        image: ImageArgument = None,
        registry: RegistryArgument = None,
        tag: TagArgument = None,
        package: PackageArgument = None,
        cve_id: CveArgument = None,
        fixable: FixableArgument = None,
        kev: KevArgument = None,
        epss_min: EpssMinArgument = None,
        epss_max: EpssMaxArgument = None,
        assignee: AssigneeArgument = None,
        overdue: OverdueArgument = None,
        excepted: ExceptedArgument = None,
        present: PresentArgument = None,
        new_since: NewSinceArgument = None,
    ) -> Page[VulnerabilityGroup]:
        asked = chosen(
            search=search,
            severity=severity,
            status=status,
            scanner=scanner,
            image=image,
            registry=registry,
            tag=tag,
            package=package,
            cve_id=cve_id,
            fixable=fixable,
            kev=kev,
            epss_min=epss_min,
            epss_max=epss_max,
            assignee=assignee,
            overdue=overdue,
            excepted=excepted,
            present=present,
            new_since=new_since,
        )
        async with info.context.read() as session:
            return await grouping.group(
                session,
                info.context.organization_id,
                by,
                asked,
                page_request(page=page, limit=limit, sort=sort),
            )

    @query_field(
        "vulnerabilities:view",
        description="Values that vulnerabilities have in a field, in their order, and how many have each.",
    )
    async def distinct_vulnerability_values(
        self,
        info: Info,
        field: Annotated[DistinctField, strawberry.argument(description="The field.")],
        search: SearchText = None,
        limit: Annotated[int | None, strawberry.argument(description="1-200; default 200.")] = None,
    ) -> list[DistinctValue]:
        wanted_values = grouping.MAX_VALUES if limit is None else limit
        if not 1 <= wanted_values <= grouping.MAX_VALUES:
            message = f"limit must be between 1 and {grouping.MAX_VALUES}"
            raise bad_request(message)
        async with info.context.read() as session:
            values = await grouping.distinct_values(
                session, info.context.organization_id, field.value, search=search, limit=wanted_values
            )
        return cast("list[DistinctValue]", values)
