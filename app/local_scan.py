"""`harborguard scan`: the same job, worked on right here, for an image a server may never see."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from app.administration import acting, execute, operator_of
from app.presentation import SCAN_FIELDS, print_scan, show_progress
from app.queue import Redis
from app.runtime import open_services, worker_runtime
from app.settings import Settings
from schema.build import build_schema
from schema.execution.runner import load_operation, stream_operation
from schema.jobs.repository import Lease, lease_next
from schema.kernel.context import Services
from schema.kernel.errors import HarborGuardError
from schema.kernel.principal import Principal
from schema.scans.models import Engine
from schema.scans.trigger import ScanRequest, cancel_scan, queue_scan
from workers.runner import JobRunner
from workers.runtime import WorkerRuntime
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
    settings: Settings, request: ScanRequest, *, organization_id: str | None, out: Console, progress: Console
) -> bool:
    """Scans, prints the result, and says whether the scan succeeded."""
    async with open_services(settings, Redis("")) as services, worker_runtime(settings, services) as runtime:
        principal = await operator_of(services, organization_id)
        context = acting(services, principal)
        async with services.database.write() as session:
            scan_id = await queue_scan(session, request, principal, now=services.clock())
            # Taken in the same transaction: the file is on this machine, so no other worker may have the job.
            lease = await lease_next(
                session,
                owner=runtime.owner,
                now=services.clock(),
                seconds=runtime.limits.lease_seconds,
                subject_id=scan_id,
            )
        schema = build_schema().graphql
        with Workspace(runtime.work_dir, runtime.owner) as workspace:
            work = asyncio.create_task(_work(lease, runtime, workspace))
            try:
                follow = load_operation(schema, FOLLOW)
                await show_progress(stream_operation(follow, {"id": scan_id}, context), progress)
                await work
            finally:
                await _stop(work, scan_id, services, principal)
        result = await execute(RESULT, {"id": scan_id}, context)
    print_scan(result, out)
    return bool(result["status"] == "COMPLETE")


async def _work(lease: Lease | None, runtime: WorkerRuntime, workspace: Workspace) -> None:
    """Every attempt right here: no other worker comes for it."""
    runner = JobRunner(runtime, workspace)
    while lease is not None:
        await runner.work_on(lease)
        async with runtime.services.database.write() as session:
            lease = await lease_next(
                session,
                owner=runtime.owner,
                now=runtime.services.clock(),
                seconds=runtime.limits.lease_seconds,
                subject_id=lease.subject_id,
            )


async def _stop(work: asyncio.Task[None], scan_id: str, services: Services, principal: Principal) -> None:
    """Interrupted: the scan is cancelled, because a worker elsewhere could not read the file."""
    if work.done():
        return
    work.cancel()
    await asyncio.wait({work})
    with suppress(HarborGuardError):  # it has ended all the same
        async with services.database.write() as session:
            await cancel_scan(session, scan_id, principal, now=services.clock())


def request_for(image: str, *, engines: tuple[Engine, ...], name: str | None, platform: str | None) -> ScanRequest:
    """`image` is a layout directory or an archive on this machine if there is one of that name, else a reference."""
    path = Path(image)
    if not path.exists():
        return ScanRequest(image=name or image, scanners=engines, platform=platform)
    return ScanRequest(image=name or _name_of(path), scanners=engines, path=str(path.absolute()), platform=platform)


def _name_of(path: Path) -> str:
    """A reference for a local file that was given none: `./build/My App.tar` is filed as `local/my-app`."""
    stem = path.name.split(".")[0] or path.absolute().parent.name
    cleaned = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return f"local/{'-'.join(part for part in cleaned.split('-') if part) or 'image'}"
