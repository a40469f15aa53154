"""One scan from image to verdict: fetch once, let every provider read the one layout, match, store.

Each step writes its phase under the lease's protection; the results are stored in the transaction that finishes the job,
so a scan is stored exactly once however often its worker dies.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from schema.advisories.matching import UNKNOWN_DISTRIBUTION, covering_ecosystems, lookup_keys, match_packages
from schema.advisories.repository import candidates, ecosystems
from schema.dependencies.records import Inventory
from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.scans import lifecycle
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.ingest import FetchedImage, ScanResults, distinct, ingest
from schema.scans.models import Engine, EngineRunStatus, Scan, ScanPhase
from schema.scans.repository import load_scan, write_log
from schema.scans.rules import PACKAGE_ENGINES, VULNERABILITY_ENGINES, grade_reason
from schema.vulnerabilities.records import FindingRecord
from workers.engines.native import (
    SOURCE,
    EcosystemData,
    NativeRun,
    answered_engines,
    engine_results,
)
from workers.fetching import fetch_image
from workers.leases import CancelRequestedError, LeaseLostError
from workers.oci.layout import Image
from workers.reading import inventory_image
from workers.runtime import WorkerRuntime


async def perform_scan(lease: Lease, runtime: WorkerRuntime, scratch: Path) -> None:
    """Raises ScanFailure with the reason a person understands, LeaseLostError when the job is no longer ours."""
    try:
        async with asyncio.timeout(runtime.limits.scan_seconds) as limit:
            await _Performance(lease, runtime, scratch).perform()
    except TimeoutError:
        if not limit.expired():
            raise  # something else took too long
        seconds = int(runtime.limits.scan_seconds)
        raise ScanFailure(FailureCode.LIMIT_EXCEEDED, f"The scan took longer than {seconds} seconds") from None


class _Performance:
    """The steps of one attempt."""

    def __init__(self, lease: Lease, runtime: WorkerRuntime, scratch: Path) -> None:
        self._lease = lease
        self._runtime = runtime
        self._services = runtime.services
        self._scratch = scratch

    async def perform(self) -> None:
        scan = await self._begin()
        image = await fetch_image(scan, self._runtime, self._scratch / "image")
        requested = [Engine(name) for name in scan.scanners]
        answered = answered_engines(requested, fallback=self._runtime.native_fallback)
        run = await self._run_native(image, answered) if answered else None
        await self._advance(ScanPhase.INGESTING, "Storing results", progress=90)
        await self._store(scan, image, requested, answered, run)

    async def _begin(self) -> Scan:
        lease, now = self._lease, self._services.clock()
        async with self._services.database.write() as session:
            await self._hold(session, now=now)
            await lifecycle.begin(session, lease.organization_id, lease.subject_id, attempt=lease.attempt, now=now)
            scan = await load_scan(session, lease.organization_id, lease.subject_id)
        await self._services.signals.send(scan.id)
        return scan

    async def _hold(self, session: AsyncSession, *, now: datetime) -> None:
        """First in every transaction on the way: a worker that was away too long must not touch what is another's now."""
        renewal = await jobs.renew(session, self._lease, now=now, seconds=self._runtime.limits.lease_seconds)
        if not renewal.held:
            raise LeaseLostError
        if renewal.cancel_requested:
            raise CancelRequestedError

    async def _advance(self, phase: ScanPhase, message: str, *, progress: int) -> None:
        lease, now = self._lease, self._services.clock()
        async with self._services.database.write() as session:
            await self._hold(session, now=now)
            await lifecycle.advance(
                session, lease.organization_id, lease.subject_id, phase, message, progress=progress, now=now
            )
        await self._services.signals.send(lease.subject_id)

    async def _run_native(self, image: Image, answered: tuple[Engine, ...]) -> NativeRun:
        await self._advance(ScanPhase.INVENTORY, f"Fetched {image.digest} ({image.platform})", progress=40)
        started_at, clock = self._services.clock(), time.monotonic()
        inventory = await inventory_image(
            image.layout, limits=self._runtime.limits.image, sandbox=self._runtime.limits.analysis
        )
        inventoried = time.monotonic()
        found = Counter(package.ecosystem or UNKNOWN_DISTRIBUTION for package in inventory.packages)
        store: dict[str, EcosystemData] = {}
        findings: tuple[FindingRecord, ...] = ()
        if any(engine in VULNERABILITY_ENGINES for engine in answered):
            message = f"Found {len(inventory.packages)} packages in {len(inventory.layers)} layers"
            await self._advance(ScanPhase.MATCHING, message, progress=70)
            store, findings = await self._match(inventory, found)
        return NativeRun(
            inventory=inventory,
            findings=findings,
            packages_by_ecosystem=found,
            store=store,
            started_at=started_at,
            inventory_ms=int((inventoried - clock) * 1000),
            matching_ms=int((time.monotonic() - inventoried) * 1000),
        )

    async def _match(
        self, inventory: Inventory, found: Counter[str]
    ) -> tuple[dict[str, EcosystemData], tuple[FindingRecord, ...]]:
        keys = {key for package in inventory.packages for key in lookup_keys(package)}
        async with self._services.database.snapshot() as session:
            held = {row.ecosystem: row for row in await ecosystems(session)}
            advisories = await candidates(session, keys)
        store = {}
        for name in found:
            speaking = [held[each] for each in covering_ecosystems(name, held.keys())]
            if speaking:
                store[name] = EcosystemData(
                    advisories=sum(row.advisories for row in speaking),
                    date=min(row.database_date for row in speaking),
                    sample=all(row.sample for row in speaking),
                )
        # Comparing versions is pure computation: off the event loop, so that requests and heartbeats go on.
        findings = await asyncio.to_thread(match_packages, inventory.packages, advisories)
        return store, distinct(findings)

    async def _store(
        self,
        scan: Scan,
        image: Image,
        requested: list[Engine],
        answered: tuple[Engine, ...],
        run: NativeRun | None,
    ) -> None:
        judged = [engine for engine in answered if engine in VULNERABILITY_ENGINES]
        listed = [engine for engine in answered if engine in PACKAGE_ENGINES]
        uncovered = (
            {name: count for name, count in run.packages_by_ecosystem.items() if name not in run.store} if run else {}
        )
        engines = engine_results(requested, run)
        results = ScanResults(
            image=FetchedImage(
                digest=image.digest, platform=image.platform, size_bytes=image.size_bytes, config=image.summary
            ),
            inventory=run.inventory if run else None,
            engines=engines,
            findings=run.findings if run else (),
            finding_sources=(SOURCE,),
            finding_engines=tuple(judged),
            package_sources=(SOURCE,) if listed or judged else (),
            grade_reason=grade_reason(
                requested,
                completed=any(each.engine in judged and each.status is EngineRunStatus.COMPLETE for each in engines),
                uncovered=uncovered,
                unread=run.inventory.unread if run else (),
                packages=len(run.inventory.packages) if run else 0,
            ),
        )
        now = self._services.clock()
        async with self._services.database.write() as session:
            # First, and in the same transaction: whoever finishes the job is the one who may store.
            if not await jobs.finish(session, self._lease, JobState.DONE, now=now):
                raise LeaseLostError
            for warning in run.inventory.warnings if run else ():
                await write_log(session, scan.organization_id, scan.id, warning, level="warning", now=now)
            await ingest(session, scan, results, now=now)
            await write_log(
                session, scan.organization_id, scan.id, f"Scan ended with {len(results.findings)} findings", now=now
            )
        await self._services.signals.send(scan.id)
