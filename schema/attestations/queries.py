"""Reading attestations."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.attestations import repository
from schema.attestations.enums import AttestationCategory, AttestationStatus, VexFormat
from schema.attestations.types import Attestation, VexFile
from schema.attestations.vex.exporting import export_vex
from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText, SortArgument
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request


@strawberry.type
class AttestationsQuery:
    @query_field("exceptions:view", description="Attestations, newest first.")
    async def attestations(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SortArgument = None,
        after: AfterCursor = None,
        search: SearchText = None,
        status: Annotated[list[AttestationStatus] | None, strawberry.argument(description="Any of these.")] = None,
        category: Annotated[list[AttestationCategory] | None, strawberry.argument(description="Any of these.")] = None,
        cve_id: Annotated[str | None, strawberry.argument(description="Exact id of the flaw.")] = None,
        package: Annotated[str | None, strawberry.argument(description="Exact name of the package.")] = None,
    ) -> Page[Attestation]:
        async with info.context.read() as session:
            return await repository.list_attestations(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                statuses=status,
                categories=category,
                cve_id=cve_id,
                package=package,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("exceptions:view", description="One attestation.")
    async def attestation(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`att-…`.")]
    ) -> Attestation:
        async with info.context.read() as session:
            row = await repository.get_attestation(session, info.context.organization_id, id)
        return cast("Attestation", row)

    @query_field(
        "exceptions:view",
        description=(
            "The attestations that hold, as a VEX document; what was imported in that format goes out as it came. NOT_FOUND "
            "when none holds."
        ),
    )
    async def attestations_as_vex(
        self,
        info: Info,
        format: Annotated[VexFormat | None, strawberry.argument(description="Default openvex.")] = None,
    ) -> VexFile:
        async with info.context.read() as session:
            written = await export_vex(session, info.context.organization_id, format or VexFormat.OPENVEX)
        return VexFile(media_type=written.media_type, filename=written.filename, content=written.content.decode())
