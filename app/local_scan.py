"""`harborguard scan`: the same job, worked on right here, for an image a server may never see."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from app.administration import acting, execute, operator_of
from app.presentation import SCAN_FIELDS, print_scan, show_progress
from app.queue import Redis
from app.runtime import open_services, worker_runtime
from app.settings import Settings
from schema.build import build_schema
from schema.execution.runner import load_operation, stream_operation
from schema.jobs.repository import lease_next
from schema.scans.models import Engine
from schema.scans.trigger import ScanRequest, queue_scan
from workers.runner import JobRunner
from workers.workspace import Workspace

FOLLOW = """
subscription Follow($id: ID!) {
  scanProgress(id: $id) { status phase progress message }
}
"""
RESULT = f"""
query Result($id: ID!) {{
  scan(id: $id) {{ {SCAN_FIELDS} }}
}}
"""


async def scan(
    settings: Settings,
    image: str,
    *,
    engines: tuple[Engine, ...],
    name: str | None,
    platform: str | None,
    organization_id: str | None,
    out: Console,
    progress: Console,
) -> bool:
    """Scans a reference, a layout directory or an archive, prints the result, and says whether the scan succeeded."""
    path = Path(image)
    local = path.exists()
    request = ScanRequest(
        image=name or (_name_of(path) if local else image),
        scanners=engines,
        path=str(path.absolute()) if local else None,
        platform=platform,
    )
    async with open_services(settings, Redis("")) as services:
        principal = await operator_of(services, organization_id)
        context = acting(services, principal)
        async with services.database.write() as session:
            scan_id = await queue_scan(session, request, principal, now=services.clock())
            # Taken in the same transaction: the file is on this machine, so no other worker may have the job.
            runtime = worker_runtime(settings, services)
            lease = await lease_next(
                session,
                owner=runtime.owner,
                now=services.clock(),
                seconds=runtime.limits.lease_seconds,
                subject_id=scan_id,
            )
        assert lease is not None, "the job was queued in this very transaction"
        schema = build_schema()[0]._schema  # noqa: SLF001 -- strawberry has no public name for it
        with Workspace(runtime.work_dir, runtime.owner) as workspace:
            work = asyncio.create_task(JobRunner(runtime, workspace).work_on(lease))
            follow = load_operation(schema, FOLLOW)
            await show_progress(stream_operation(schema, follow, {"id": scan_id}, context), progress)
            await work
        result = await execute(RESULT, {"id": scan_id}, context)
    print_scan(result, out)
    return bool(result["status"] == "COMPLETE")


def _name_of(path: Path) -> str:
    """A reference for a local file that was given none: `./build/My App.tar` is filed as `local/my-app`."""
    stem = path.name.split(".")[0] or path.absolute().parent.name
    cleaned = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return f"local/{'-'.join(part for part in cleaned.split('-') if part) or 'image'}"
