"""`harborguard scan` without a server: the same job, worked on right here, read over the same REST routes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from app.administration import acting, operator_of
from app.client.api import Api
from app.client.policy import ExitCode
from app.client.scanning import Terminal, Wanted, conclude, follow
from app.queue import Redis
from app.runtime import open_services, worker_runtime
from app.settings import Settings
from compat_rest.adapter import CONTEXT, bind_routes
from schema.build import build_schema
from schema.jobs.repository import Lease, lease_next
from schema.kernel.context import Services
from schema.kernel.errors import HarborGuardError
from schema.kernel.principal import Principal
from schema.organizations.setup import ensure_local_organization
from schema.scans.trigger import ScanRequest, cancel_scan, queue_scan
from workers.runner import JobRunner
from workers.runtime import WorkerRuntime
from workers.workspace import Workspace


async def scan(
    settings: Settings,
    subject: ScanRequest | str,
    wanted: Wanted,
    terminal: Terminal,
    *,
    organization_id: str | None,
    seconds: float,
) -> ExitCode:
    """Scans, or reads the scan of the given id. Whoever interrupts it, or waited too long, has cancelled what ran here."""
    async with (
        open_services(settings, Redis("")) as services,
        worker_runtime(settings, services) as runtime,
    ):
        if organization_id is None and services.database.is_sqlite:  # a database others share is set up by them
            async with services.database.write() as session:
                await ensure_local_organization(session, now=services.clock())
        principal = await operator_of(services, organization_id)
        async with _rest(services, principal) as http:
            api = Api(http, tell=terminal.tell)
            try:
                async with asyncio.timeout(seconds) as patience:
                    if isinstance(subject, ScanRequest):
                        scan_id = await _scan_here(api, subject, runtime, principal, terminal)
                    else:
                        scan_id = subject
                        await follow(api, scan_id, terminal)
                    return await conclude(api, scan_id, wanted, terminal)
            except TimeoutError:
                if not patience.expired():
                    raise
                terminal.errors.print(f"[red]No result within {seconds:g} seconds.[/]", highlight=False)
                return ExitCode.TIMED_OUT


def _rest(services: Services, principal: Principal) -> httpx.AsyncClient:
    """The routes for the operator, who needs no credential: the database is in their hands."""
    routes = Starlette(routes=[bind_routes(build_schema().graphql)])

    async def as_operator(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CONTEXT] = acting(services, principal)
        await routes(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=as_operator), base_url="http://in-process")


async def _scan_here(
    api: Api, request: ScanRequest, runtime: WorkerRuntime, principal: Principal, terminal: Terminal
) -> str:
    """The id of the scan, once it has ended."""
    services = runtime.services
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
    terminal.tell(f"Scan {scan_id}")
    with Workspace(runtime.work_dir, runtime.owner) as workspace:
        work = asyncio.create_task(_work(lease, runtime, workspace))
        try:
            await follow(api, scan_id, terminal)
            await work
        finally:
            await _stop(work, scan_id, services, principal, terminal)
    return scan_id


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


async def _stop(
    work: asyncio.Task[None], scan_id: str, services: Services, principal: Principal, terminal: Terminal
) -> None:
    """Interrupted: the scan is cancelled, because a worker elsewhere could not read the file."""
    if work.done():
        return
    work.cancel()
    await asyncio.wait({work})
    with suppress(HarborGuardError):  # it has ended all the same
        async with services.database.write() as session:
            await cancel_scan(session, scan_id, principal, now=services.clock())
    terminal.errors.print(
        f"Scan {scan_id} is cancelled, because it ran in this process; start it again.", highlight=False
    )
