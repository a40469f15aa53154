"""Reading CVEs."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.cves.records import load_cve
from schema.cves.types import Cve
from schema.kernel.operations import Info, query_field


@strawberry.type
class CvesQuery:
    @query_field(
        "vulnerabilities:view",
        description=(
            "What is known of a CVE, from every feed that is followed. NOT_FOUND when none tells of it and no image has it."
        ),
    )
    async def cve(
        self, info: Info, id: Annotated[str, strawberry.argument(description="Its id: `CVE-2024-3094`.")]
    ) -> Cve:
        async with info.context.read() as session:
            return cast("Cve", await load_cve(session, info.context.organization_id, id))
