"""Starting and stopping batches of scans."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.audit.repository import record
from schema.jobs.repository import stopping
from schema.kernel.errors import invalid
from schema.kernel.operations import Info, mutation_field
from schema.registries.repository import find_registry
from schema.scans.batches import repository
from schema.scans.batches.rules import choice_issues
from schema.scans.batches.running import BatchRequest, cancel_batch, queue_batch
from schema.scans.batches.types import ScanBatch, StartScanBatchInput
from schema.scans.mutations import TRIGGER_BUDGET


@strawberry.type
class ScanBatchesMutation:
    @mutation_field(
        "scans:create",
        budget=TRIGGER_BUDGET,
        description=(
            "Scans every known tag that globs choose and that is not being scanned already. Answers before they are looked "
            "for; follow it with `scanBatch`."
        ),
    )
    async def start_scan_batch(
        self, info: Info, input: Annotated[StartScanBatchInput, strawberry.argument(description="Which tags.")]
    ) -> ScanBatch:
        context, principal = info.context, info.context.principal
        request = BatchRequest(
            images=input.images.strip(),
            tag_include=(input.tag_include or "").strip() or "*",
            tag_exclude=(input.tag_exclude or "").strip(),
            registry_id=input.registry_id,
            scanners=input.scanners or (),
            force=bool(input.force),
        )
        issues = tuple(choice_issues(request))
        if issues:
            raise invalid(*issues)
        async with context.write() as session:
            if request.registry_id is not None:
                await find_registry(session, context.organization_id, registry_id=request.registry_id, host="")
            batch_id = await queue_batch(
                session,
                context.organization_id,
                request,
                requested_by=f"{principal.actor_kind}:{principal.actor_id}",
                now=context.now(),
            )
            await record(
                session,
                organization_id=context.organization_id,
                actor=principal.actor_id,
                action="scan.batch_started",
                target=f"batch:{batch_id}",
                ip=context.client_ip,
                details={"images": request.images, "tagInclude": request.tag_include},
                now=context.now(),
            )
            return cast("ScanBatch", await repository.get_batch(session, context.organization_id, batch_id))

    @mutation_field(
        "scans:edit",
        description=(
            "Stops a batch: no more tags are looked for, and its scans are cancelled. CONFLICT when nothing is left to cancel."
        ),
    )
    async def cancel_scan_batch(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`bat-…`.")]
    ) -> ScanBatch:
        context = info.context
        async with context.write() as session:
            cancelled = await cancel_batch(session, id, context.principal, ip=context.client_ip, now=context.now())
            context.signal_after_commit(stopping(id))
            for scan_id in cancelled:
                context.signal_after_commit(stopping(scan_id))
                context.signal_after_commit(scan_id)
            return cast("ScanBatch", await repository.get_batch(session, context.organization_id, id))
