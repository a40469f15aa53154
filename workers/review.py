"""Weighing again what is stored, when more is known of CVEs: what is exploited, and how likely the rest is to be."""

from __future__ import annotations

from pathlib import Path

from schema.cves.repository import images_to_review
from schema.images.repository import hold_images
from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.vulnerabilities import verdicts
from schema.watch.repository import look_after
from workers.leases import LeaseLostError
from workers.runtime import WorkerRuntime


async def perform_review(lease: Lease, runtime: WorkerRuntime, _scratch: Path) -> None:
    """Goes through the images of an organization, some in each transaction, so a worker that dies leaves the rest to the
    next.
    """
    database, after = runtime.services.database, ""
    while True:
        async with database.read() as session:
            images = await images_to_review(session, lease.organization_id, after=after)
        if not images:
            break
        async with database.write() as session:
            now = runtime.services.clock()
            renewal = await jobs.renew(session, lease, now=now, seconds=runtime.limits.lease_seconds)
            if not renewal.held:
                raise LeaseLostError
            await hold_images(session, lease.organization_id, images)
            await verdicts.refresh(session, lease.organization_id, images)
        after = images[-1]
    async with database.write() as session:
        now = runtime.services.clock()
        await look_after(session, lease.organization_id, lease.job_id, now=now)
        if not await jobs.finish(session, lease, JobState.DONE, now=now):
            raise LeaseLostError
