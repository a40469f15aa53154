"""Judging stored packages again when the advisories have changed: what is new, what is fixed, what has got a fix."""

from __future__ import annotations

import asyncio
from pathlib import Path

from schema.advisories.repository import generations
from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.scans import rematching
from schema.scans.filing import differs
from schema.scans.ingest import compressed, ingest
from schema.scans.models import Engine, Scan
from schema.scans.repository import change_scan
from schema.scans.reuse import load_reading
from schema.watch.repository import look_after
from workers.leases import LeaseLostError
from workers.recall import advisory_key, evidence_keys, judge_again, judges_alone
from workers.runtime import WorkerRuntime


async def perform_rematch(lease: Lease, runtime: WorkerRuntime, _scratch: Path) -> None:
    await judge_outdated(lease, runtime)
    async with runtime.services.database.write() as session:
        now = runtime.services.clock()
        await look_after(session, lease.organization_id, lease.job_id, now=now)
        if not await jobs.finish(session, lease, JobState.DONE, now=now):
            raise LeaseLostError


async def judge_outdated(lease: Lease, runtime: WorkerRuntime) -> None:
    """Goes through the tags of an organization. Each is a transaction, so a worker that dies leaves the rest to the next."""
    database, after = runtime.services.database, ""
    while True:
        async with database.read() as session:
            key = advisory_key(await generations(session))
            scans = await rematching.outdated_scans(session, lease.organization_id, key, after=after)
        if not scans:
            break
        for scan in scans:
            await _rematch(scan, lease, runtime)
        after = scans[-1].id


async def _rematch(scan: Scan, lease: Lease, runtime: WorkerRuntime) -> None:
    services = runtime.services
    tools = await runtime.toolbox.look([Engine(name) for name in scan.scanners])
    keys = await evidence_keys(scan, tools, runtime)
    if keys.evidence != scan.evidence_key or not judges_alone(tools.values()):
        return  # other tools than then: it takes a scan
    async with services.database.snapshot() as session:
        reading = await load_reading(session, scan)
    results = await asyncio.to_thread(compressed, await judge_again(scan, reading, tools, keys, runtime))
    now = services.clock()
    async with services.database.write() as session:
        renewal = await jobs.renew(session, lease, now=now, seconds=runtime.limits.lease_seconds)
        if not renewal.held:
            raise LeaseLostError
        if not await rematching.is_latest(session, scan):
            return
        if results.grade_reason == scan.grade_reason and not await differs(session, scan, results.findings):
            await change_scan(session, scan.organization_id, scan.id, advisory_key=keys.advisories)
            return
        again = await rematching.start_rematch(session, scan, now=now)
        await ingest(session, again, results, now=now)
