"""Starting, stopping and removing scans."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.jobs.repository import stopping
from schema.kernel.operations import Info, mutation_field, received_field
from schema.kernel.ports import RateBudget
from schema.kernel.scalars import ByteStream, Report
from schema.scans import repository, trigger
from schema.scans.enums import ReportFormat
from schema.scans.importing import ReportHeader, receive_report
from schema.scans.inputs import TriggerScanInput
from schema.scans.types import Scan

TRIGGER_BUDGET = RateBudget(family="scans.create", requests=10, seconds=60)


@strawberry.type
class ScansMutation:
    @mutation_field(
        "scans:create",
        budget=TRIGGER_BUDGET,
        description="Queues a scan. Answers as soon as it is stored; follow it with `scanProgress`.",
    )
    async def trigger_scan(
        self, info: Info, input: Annotated[TriggerScanInput, strawberry.argument(description="What to scan.")]
    ) -> Scan:
        context = info.context
        async with context.write() as session:
            scan_id = await trigger.queue_scan(
                session, trigger.request_of(input), context.principal, ip=context.client_ip, now=context.now()
            )
            return cast("Scan", await repository.get_scan(session, context.organization_id, scan_id))

    @received_field(
        "scans:create",
        budget=TRIGGER_BUDGET,
        description=(
            "Receives what a tool found elsewhere and queues reading it. It becomes a scan like any other; follow it with "
            "`scanProgress`. VALIDATION_ERROR for an image, a digest or a platform that cannot be one."
        ),
    )
    async def import_report(
        self,
        info: Info,
        image: Annotated[
            str, strawberry.argument(description="Reference of the image, like `ghcr.io/acme/api:1.4.7`.")
        ],
        report: Annotated[Report, strawberry.argument(description="The report.")],
        format: Annotated[
            ReportFormat | None,
            strawberry.argument(description="What it is written in; by default that is looked for."),
        ] = None,
        digest: Annotated[
            str | None,
            strawberry.argument(
                description="Manifest digest of the image, where it is known and the report does not tell."
            ),
        ] = None,
        platform: Annotated[
            str | None, strawberry.argument(description="Platform of the image, like `linux/amd64`, where it is known.")
        ] = None,
    ) -> Scan:
        context = info.context
        header = ReportHeader(image=image, format=format, digest=digest, platform=platform)
        scan_id = await receive_report(context, header, cast("ByteStream", report).chunks)
        async with context.read() as session:
            return cast("Scan", await repository.get_scan(session, context.organization_id, scan_id))

    @mutation_field("scans:edit", description="Stops a queued or running scan. CONFLICT when it has ended.")
    async def cancel_scan(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`scn-…`.")]
    ) -> Scan:
        context = info.context
        async with context.write() as session:
            await trigger.cancel_scan(session, id, context.principal, ip=context.client_ip, now=context.now())
            context.signal_after_commit(stopping(id))
            context.signal_after_commit(id)
            return cast("Scan", await repository.get_scan(session, context.organization_id, id))

    @mutation_field(
        "scans:delete",
        description="Removes a scan that has ended, with what it found. CONFLICT while it runs. Returns its id.",
    )
    async def delete_scan(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`scn-…`.")]
    ) -> strawberry.ID:
        context = info.context
        async with context.write() as session:
            await trigger.delete_scan(session, id, context.principal, ip=context.client_ip, now=context.now())
        return id
