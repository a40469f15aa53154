"""Following a scan while it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import strawberry

from schema.kernel.operations import Info, subscription_field
from schema.scans import repository
from schema.scans.models import ACTIVE
from schema.scans.types import ScanProgress

POLL_SECONDS = 2.0
LOG_LINES = 10


@strawberry.type
class ScansSubscription:
    @subscription_field(
        "scans:view", description="A scan's progress: its state now, each change, and the final state; then it ends."
    )
    async def scan_progress(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`scn-…`.")]
    ) -> AsyncGenerator[ScanProgress, None]:
        context = info.context
        seen: object = None
        async with context.services.signals.listen(id) as waiter:
            while True:
                context.principal.require("scans:view")
                async with context.read() as session:
                    scan = await repository.get_scan(session, context.organization_id, id)
                    runs = await repository.engine_runs(session, context.organization_id, id)
                    log = await repository.log_tail(session, context.organization_id, id, lines=LOG_LINES)
                if (scan, runs, log) != seen:  # the time that has passed is no change
                    seen = (scan, runs, log)
                    yield ScanProgress.of(scan, runs, log, now=context.now())
                if scan.status not in ACTIVE:
                    return
                await waiter.wait(POLL_SECONDS)
                await context.recheck()
