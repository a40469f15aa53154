"""Comparing scans."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any, TypeAlias, cast

import strawberry

from schema.comparisons import rules
from schema.comparisons.repository import scan_meant
from schema.comparisons.types import ComparedScan, FindingDifferences, PackageDifferences, ScanComparison
from schema.documents.contents import ScanContents
from schema.documents.repository import load_contents
from schema.kernel.arguments import PageLimit, PageNumber
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import PageRequest, page_request

Subject: TypeAlias = Annotated[
    strawberry.ID,
    strawberry.argument(description="A scan (`scn-…`), or a tag or an image, which mean their latest complete scan."),
]


@strawberry.type
class ComparisonsQuery:
    @query_field(
        "scans:view",
        description=(
            "What changed from one scan, tag or image to another. `page` and `limit` choose the items of both lists. Needs "
            "`vulnerabilities:view`, too. NOT_FOUND for an unknown id; CONFLICT where there is no complete scan."
        ),
    )
    async def compare_scans(
        self, info: Info, base: Subject, target: Subject, page: PageNumber = None, limit: PageLimit = None
    ) -> ScanComparison:
        info.context.principal.require("vulnerabilities:view")
        request = page_request(page=page, limit=limit, sort=None)
        organization_id = info.context.organization_id
        async with info.context.read() as session:
            before, after = [
                await load_contents(session, organization_id, await scan_meant(session, organization_id, subject))
                for subject in (base, target)
            ]
        # Beside the event loop: two scans of ten thousand findings take a while.
        return await asyncio.to_thread(_compare, before, after, request)


def _compare(base: ScanContents, target: ScanContents, request: PageRequest) -> ScanComparison:
    findings = rules.compare_findings(base.findings, target.findings)
    packages = rules.compare_packages(base.packages, target.packages)
    return ScanComparison(
        base=cast("ComparedScan", base),
        target=cast("ComparedScan", target),
        findings=cast("FindingDifferences", replace(findings, items=_page(findings.items, request))),
        packages=cast("PackageDifferences", replace(packages, items=_page(packages.items, request))),
    )


def _page(items: tuple[Any, ...], request: PageRequest) -> tuple[Any, ...]:
    return items[(request.page - 1) * request.limit : request.page * request.limit]
