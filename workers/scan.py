"""One scan from image to verdict: fetch once, let every provider read the one layout, match, store.

Each step writes its phase under the lease's protection; the results are stored in the transaction that finishes the job,
so a scan is stored exactly once however often its worker dies.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from schema.advisories.matching import UNKNOWN_DISTRIBUTION, covering_ecosystems, lookup_keys, match_packages
from schema.advisories.repository import candidates, ecosystems
from schema.dependencies.records import Inventory
from schema.images.reference import ImageReference
from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.scans import lifecycle
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.ingest import FetchedImage, ScanResults, distinct, ingest
from schema.scans.merging import merge
from schema.scans.models import Engine, Scan, ScanPhase, SourceKind
from schema.scans.repository import load_scan, name_engines, write_log
from schema.scans.rules import VULNERABILITY_ENGINES, grade_reason
from workers.engines.native import EcosystemData, NativeRun, questions
from workers.engines.report import ImageFacts
from workers.engines.results import Conclusion, conclude, stand_ins
from workers.engines.running import EngineAnswer, EngineEvent, EngineRuns
from workers.engines.tools import Tool
from workers.fetching import fetch_image
from workers.imports.fetching import import_report, told_image
from workers.imports.results import conclude_import
from workers.leases import CancelRequestedError, LeaseLostError
from workers.oci.layout import Image
from workers.reading import examine_image
from workers.runtime import WorkerRuntime
from workers.secrets.search import redact_summary

_TOOLS_START, _TOOLS_END = 40, 70  # of a scan's progress


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
        if scan.source_kind is SourceKind.REPORT:
            await self._import(scan)
            return
        image = await fetch_image(scan, self._runtime, self._scratch / "image")
        requested = [Engine(name) for name in scan.scanners]
        tools = await self._runtime.toolbox.look(requested)
        answered = stand_ins(tools, fallback=self._runtime.native_fallback)
        present = [tool for tool in tools.values() if tool.problem is None]
        native: NativeRun | None = None
        answers: Mapping[Engine, EngineAnswer] = {}
        if present or answered:
            # First, because it verifies every layer and holds it to our limits, before a tool unpacks it to its own.
            native = await self._examine(scan, image, answered)
            answers = await self._run_tools(image, native.inventory, present)
            if any(engine in VULNERABILITY_ENGINES for engine in answered):
                native = await self._match(native)
        await self._advance(ScanPhase.INGESTING, "Storing results", progress=90)
        conclusion = conclude(requested, tools, answers, native if self._runtime.native_fallback else None)
        fetched = FetchedImage(
            digest=image.digest,
            platform=image.platform,
            size_bytes=image.size_bytes,
            config=redact_summary(image.summary),
        )
        warnings = [
            *(native.warnings if native else ()),
            *(
                f"{answer.tool.provider}: {warning}"
                for answer in answers.values()
                if answer.report is not None
                for warning in answer.report.warnings
            ),
        ]
        await self._store(scan, fetched, conclusion, native, warnings)

    async def _import(self, scan: Scan) -> None:
        """Instead of an image there is a report on one. Its packages are matched where it judges nothing itself."""
        imported, reading = await import_report(scan, self._runtime, self._scratch)
        report, fallback = imported.report, self._runtime.native_fallback
        await self._advance(ScanPhase.INVENTORY, f"Read the report of {imported.provider}", progress=40)
        native = None
        if report.findings is None and fallback:
            inventory = Inventory(operating_system=imported.subject.system, packages=report.packages or (), layers=())
            native = await self._match(_unmatched(inventory, started_at=reading.started_at, inventory_ms=0))
        await self._advance(ScanPhase.INGESTING, "Storing results", progress=90)
        conclusion = conclude_import(imported, reading, native)
        await self._store(scan, told_image(scan, imported.subject), conclusion, native, report.warnings)

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

    async def _examine(self, scan: Scan, image: Image, answered: Sequence[Engine]) -> NativeRun:
        await self._advance(ScanPhase.INVENTORY, f"Fetched {image.digest} ({image.platform})", progress=40)
        started_at, clock = self._services.clock(), time.monotonic()
        # An archive has no tag of a registry: what it was filed under is a name we gave it.
        tag = ImageReference.parse(scan.reference).tag if scan.source_kind is SourceKind.REGISTRY else None
        examination = await examine_image(
            image.layout,
            questions(answered, tag),
            limits=self._runtime.limits.image,
            sandbox=self._runtime.limits.analysis,
        )
        return replace(
            _unmatched(
                examination.inventory,
                started_at=started_at,
                inventory_ms=int((time.monotonic() - clock) * 1000),
            ),
            configuration=examination.configuration,
            efficiency=examination.efficiency,
        )

    async def _run_tools(
        self, image: Image, inventory: Inventory, tools: Sequence[Tool]
    ) -> Mapping[Engine, EngineAnswer]:
        if not tools:
            return {}
        scratch = self._scratch / "engines"
        scratch.mkdir()
        writing = asyncio.Lock()  # two tools may have news at once, and log lines are numbered

        async def tell(event: EngineEvent) -> None:
            progress = _TOOLS_START + (_TOOLS_END - _TOOLS_START) * event.ended // event.total
            async with writing:
                await self._advance(ScanPhase.INVENTORY, event.message, progress=progress)

        return await EngineRuns(
            image=image,
            facts=ImageFacts(
                system=inventory.operating_system, diff_ids=tuple(layer.diff_id for layer in image.layers)
            ),
            toolbox=self._runtime.toolbox,
            scratch=scratch,
            limits=self._runtime.limits.engines,
            image_limits=self._runtime.limits.image,
            analysis=self._runtime.limits.analysis,
            clock=self._services.clock,
            progress=tell,
        ).run(tools)

    async def _match(self, run: NativeRun) -> NativeRun:
        inventory, found, clock = run.inventory, run.packages_by_ecosystem, time.monotonic()
        layers = f" in {len(inventory.layers)} layers" if inventory.layers else ""
        message = f"Found {len(inventory.packages)} packages{layers}"
        await self._advance(ScanPhase.MATCHING, message, progress=70)
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
        return replace(
            run, findings=distinct(findings), store=store, matching_ms=int((time.monotonic() - clock) * 1000)
        )

    async def _store(
        self,
        scan: Scan,
        image: FetchedImage,
        conclusion: Conclusion,
        native: NativeRun | None,
        warnings: Sequence[str],
    ) -> None:
        # Comparing versions and joining names is computation, too.
        merged = await asyncio.to_thread(merge, conclusion.voices)
        inventory = native.inventory if native else None
        by_tool = conclusion.judged_by_tool
        uncovered = (
            {name: count for name, count in native.packages_by_ecosystem.items() if name not in native.store}
            if native and not by_tool
            else {}
        )
        results = ScanResults(
            image=image,
            inventory=inventory,
            engines=conclusion.engines,
            packages=merged.packages,
            findings=merged.findings,
            grade_reason=conclusion.ungraded
            or grade_reason(
                [run.engine for run in conclusion.engines],
                completed=conclusion.judged,
                uncovered=uncovered,
                unread=inventory.unread if inventory and not by_tool else (),
                packages=max(len(merged.packages), len(inventory.packages) if inventory else 0),
            ),
        )
        now = self._services.clock()
        async with self._services.database.write() as session:
            # First, and in the same transaction: whoever finishes the job is the one who may store.
            if not await jobs.finish(session, self._lease, JobState.DONE, now=now):
                raise LeaseLostError
            for warning in warnings:
                await write_log(session, scan.organization_id, scan.id, warning, level="warning", now=now)
            if scan.source_kind is SourceKind.REPORT:
                spoken = [run.engine for run in conclusion.engines]
                await name_engines(session, scan.organization_id, scan.id, spoken)
            await ingest(session, scan, results, now=now)
            await write_log(
                session, scan.organization_id, scan.id, f"Scan ended with {len(results.findings)} findings", now=now
            )
        await self._services.signals.send(scan.id)


def _unmatched(inventory: Inventory, *, started_at: datetime, inventory_ms: int) -> NativeRun:
    """A run of the native provider that has read, and not matched yet."""
    # What a distribution's package brought is judged as that package, so it asks for no data of its own.
    judged = (package for package in inventory.packages if package.owner is None)
    return NativeRun(
        inventory=inventory,
        findings=(),
        packages_by_ecosystem=Counter(package.ecosystem or UNKNOWN_DISTRIBUTION for package in judged),
        store={},
        started_at=started_at,
        inventory_ms=inventory_ms,
        matching_ms=0,
    )
