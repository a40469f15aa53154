"""One scan from image to verdict: fetch once, let every provider read the one layout, match, store.

An image that is known is not fetched; see `workers.recall`.

Each step writes its phase under the lease's protection; the results are stored in the transaction that finishes the job,
so a scan is stored exactly once however often its worker dies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from schema.dependencies.records import Inventory
from schema.images.reference import ImageReference
from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.scans import lifecycle
from schema.scans.evidence import EvidenceKeys, ImageEfficiency
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.ingest import EngineResult, FetchedImage, ScanResults, compressed, ingest
from schema.scans.lifecycle import RunState
from schema.scans.merging import merge
from schema.scans.models import Engine, EngineRunStatus, Scan, ScanPhase, SourceKind
from schema.scans.repository import name_engines, write_log
from schema.scans.reuse import Reading, share
from schema.scans.rules import VULNERABILITY_ENGINES, grade_reason
from schema.statements.models import StatementOutcome
from schema.statements.repository import replace_statements
from workers.engines.native import PROVIDER, NativeRun
from workers.engines.results import Conclusion, conclude, stand_ins
from workers.engines.running import EngineEvent
from workers.engines.tools import Tool
from workers.fetching import fetch_image
from workers.imports.fetching import import_report, reason_of, told_image
from workers.imports.rating import rated
from workers.imports.report import Envelope, ImportedReport
from workers.imports.results import Reading as ReportReading
from workers.imports.results import conclude_envelope, conclude_import
from workers.leases import CancelRequestedError, LeaseLostError
from workers.matching import match
from workers.observation import Observation
from workers.observing import Observer
from workers.oci.layout import Image
from workers.recall import EarlierReadingError, EqualScanError, Recall, evidence_keys, judge_again
from workers.runtime import WorkerRuntime
from workers.statements import find_statements, trusted_keys

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
        requested = [Engine(name) for name in scan.scanners]
        tools = await self._runtime.toolbox.look(requested)
        keys = await evidence_keys(scan, tools, self._runtime)
        recall = Recall(scan, tools, self._runtime, keys)

        async def on_digest(digest: str) -> None:
            await self._look_beside(scan, digest)
            await recall.look(digest)

        try:
            image = await fetch_image(scan, self._runtime, self._scratch / "image", on_digest=on_digest)
        except EqualScanError as found:
            await self._share(scan, found.scan, keys)
        except EarlierReadingError as found:
            await self._judge_again(scan, found.reading, tools, keys)
        else:
            await self._scan(scan, image, tools, keys)

    async def _look_beside(self, scan: Scan, digest: str) -> None:
        """Signed statements are of this scan alone: an equal image of another name has others beside it."""
        trusted = await trusted_keys(scan, self._runtime)
        if not trusted:
            return
        rows, warning = await find_statements(scan, self._runtime, digest, trusted)
        async with self._services.database.write() as session:
            await self._hold(session, now=self._services.clock())
            await replace_statements(session, scan.organization_id, scan.id, rows)
            if warning:
                await self._log(session, warning, level="warning")
            else:
                verified = sum(row["outcome"] is StatementOutcome.VERIFIED for row in rows)
                await self._log(session, f"Found {len(rows)} signed statements beside the image, {verified} verified")

    async def _scan(self, scan: Scan, image: Image, tools: Mapping[Engine, Tool], keys: EvidenceKeys) -> None:
        writing = asyncio.Lock()  # two tools may have news at once, and log lines are numbered

        async def examining(absent: Sequence[Engine]) -> None:
            await self._advance(
                ScanPhase.INVENTORY,
                f"Fetched {image.digest} ({image.platform})",
                *([f"{PROVIDER} reads the image for {', '.join(absent)}"] if absent else ()),
                progress=_TOOLS_START,
                runs=[
                    RunState(
                        engine=engine,
                        status=EngineRunStatus.RUNNING,
                        provider=PROVIDER,
                        started_at=self._services.clock(),
                    )
                    for engine in absent
                ],
            )

        async def tell(event: EngineEvent) -> None:
            progress = _TOOLS_START + (_TOOLS_END - _TOOLS_START) * event.ended // event.total
            async with writing:
                await self._advance(ScanPhase.INVENTORY, event.message, progress=progress, runs=[self._state_of(event)])

        observer = Observer(
            toolbox=self._runtime.toolbox,
            limits=self._runtime.limits,
            native_fallback=self._runtime.native_fallback,
            clock=self._services.clock,
            examining=examining,
            progress=tell,
        )
        # An archive has no tag of a registry: what it was filed under is a name we gave it.
        tag = ImageReference.parse(scan.reference).tag if scan.source_kind is SourceKind.REGISTRY else None
        await self._judge(scan, await observer.observe(image, tools, tag=tag, scratch=self._scratch), keys)

    async def _judge(self, scan: Scan, observation: Observation, keys: EvidenceKeys | None) -> None:
        """What was seen meets our advisories, wherever it was seen."""
        tools = {tool.engine: tool for tool in observation.tools}
        answers = {answer.tool.engine: answer for answer in observation.answers}
        answered = stand_ins(tools, fallback=observation.native_fallback)
        native = observation.native
        if native is not None and any(engine in VULNERABILITY_ENGINES for engine in answered):
            native = await self._match(native, [engine for engine in answered if tools[engine].problem is not None])
        # What the runs have to show as evidence is written here, megabytes of it: not on the event loop.
        conclusion = await asyncio.to_thread(
            conclude, list(tools), tools, answers, native if observation.native_fallback else None
        )
        conclusion = replace(conclusion, engines=(*conclusion.engines, *_not_run(scan, tools)))
        await self._conclude([run for run in conclusion.engines if run.engine not in answers])
        dive = answers[Engine.DIVE].report if Engine.DIVE in answers else None
        efficiency = dive.efficiency if dive is not None else None
        results = await asyncio.to_thread(_results, observation.image, conclusion, native, efficiency, keys)
        warnings = [
            *(native.warnings if native else ()),
            *(
                f"{answer.tool.provider}: {warning}"
                for answer in answers.values()
                if answer.report is not None
                for warning in answer.report.warnings
            ),
        ]
        await self._store(scan, results, warnings)

    async def _import(self, scan: Scan) -> None:
        """Instead of an image there is a report on one. Its packages are matched where it judges nothing itself."""
        imported, reading = await import_report(scan, self._runtime, self._scratch)
        report, fallback = imported.report, self._runtime.native_fallback
        await self._advance(ScanPhase.INVENTORY, f"Read the report of {imported.provider}", progress=40)
        if imported.observation is not None:
            await self._judge(scan, imported.observation, None)
            return
        if imported.envelope is not None:
            await self._take_over(scan, imported, imported.envelope, reading)
            return
        native = None
        if report.findings is None and fallback:
            inventory = Inventory(operating_system=imported.subject.system, packages=report.packages or (), layers=())
            native = await self._match(NativeRun.of(inventory, started_at=reading.started_at), ())
        await self._advance(ScanPhase.INGESTING, "Storing results", progress=90)
        conclusion = conclude_import(imported, reading, native)
        image = told_image(scan, imported.subject)
        results = await asyncio.to_thread(_results, image, conclusion, native, report.efficiency, None)
        await self._store(scan, results, report.warnings)

    async def _take_over(
        self, scan: Scan, imported: ImportedReport, envelope: Envelope, reading: ReportReading
    ) -> None:
        """A sensor has read and judged the image. What our advisories know better, they say."""
        if envelope.is_failed:
            raise ScanFailure(FailureCode.SENSOR_FAILED, await reason_of(scan, self._runtime))
        envelope = await rated(envelope, self._services.database)
        await self._advance(ScanPhase.INGESTING, "Storing results", progress=90)
        conclusion = conclude_envelope(imported, envelope, [Engine(name) for name in scan.scanners], reading)
        image = told_image(scan, imported.subject, size_bytes=envelope.size_bytes)
        results = await asyncio.to_thread(_results, image, conclusion, None, None, None)
        system = imported.subject.system
        inventory = Inventory(operating_system=system, packages=(), layers=envelope.layers)
        await self._store(scan, replace(results, inventory=inventory), imported.report.warnings)

    async def _store(self, scan: Scan, results: ScanResults, warnings: Sequence[str]) -> None:
        async with self._storing() as session:
            for warning in warnings:
                await self._log(session, warning, level="warning")
            if scan.source_kind is SourceKind.REPORT:
                spoken = [run.engine for run in results.engines]
                await name_engines(session, scan.organization_id, scan.id, spoken)
            await ingest(session, scan, results, now=self._services.clock())
            await self._log(session, f"Scan ended with {len(results.findings)} findings")

    async def _share(self, scan: Scan, equal: Scan, keys: EvidenceKeys) -> None:
        async with self._storing() as session:
            await share(session, scan, equal, keys, now=self._services.clock())
            await self._log(
                session, f"The results are those of scan {equal.id}: neither the image nor any data has changed"
            )

    async def _judge_again(
        self, scan: Scan, reading: Reading, tools: Mapping[Engine, Tool], keys: EvidenceKeys
    ) -> None:
        message = f"The image was read by scan {reading.scan.id}; its {len(reading.packages)} packages are judged again"
        await self._advance(ScanPhase.MATCHING, message, progress=70)
        results = await judge_again(scan, reading, tools, keys, self._runtime)
        await self._store(scan, await asyncio.to_thread(compressed, results), ())

    async def _begin(self) -> Scan:
        lease, now = self._lease, self._services.clock()
        async with self._services.database.write() as session:
            await self._hold(session, now=now)
            scan = await lifecycle.begin(
                session, lease.organization_id, lease.subject_id, attempt=lease.attempt, now=now
            )
        await self._services.signals.send(scan.id)
        return scan

    async def _hold(self, session: AsyncSession, *, now: datetime) -> None:
        """First in every transaction on the way: a worker that was away too long must not touch what is another's now."""
        renewal = await jobs.renew(session, self._lease, now=now, seconds=self._runtime.limits.lease_seconds)
        if not renewal.held:
            raise LeaseLostError
        if renewal.cancel_requested:
            raise CancelRequestedError

    async def _advance(self, phase: ScanPhase, *messages: str, progress: int, runs: Sequence[RunState] = ()) -> None:
        lease, now = self._lease, self._services.clock()
        async with self._services.database.write() as session:
            await self._hold(session, now=now)
            await lifecycle.advance(
                session,
                lease.organization_id,
                lease.subject_id,
                phase,
                *messages,
                progress=progress,
                runs=runs,
                now=now,
            )
        await self._services.signals.send(lease.subject_id)

    async def _conclude(self, ended: Sequence[EngineResult]) -> None:
        """The engines that ended with the native provider's work, or without any."""
        await self._advance(
            ScanPhase.INGESTING,
            *(f"{run.engine} {run.status.lower()}: {run.message}" for run in ended),
            "Storing results",
            progress=90,
            runs=[_state(run) for run in ended],
        )

    def _state_of(self, event: EngineEvent) -> RunState:
        answer = event.answer
        return RunState(
            engine=event.tool.engine,
            status=event.status,
            provider=event.tool.provider,
            message=event.message if event.status is EngineRunStatus.FAILED else None,
            started_at=self._services.clock() if answer is None else answer.started_at,
            duration_ms=None if answer is None else answer.duration_ms,
        )

    async def _match(self, run: NativeRun, absent: Sequence[Engine]) -> NativeRun:
        """By now whoever only reads, for the `absent` engines, has ended."""
        inventory = run.inventory
        layers = f" in {len(inventory.layers)} layers" if inventory.layers else ""
        await self._advance(
            ScanPhase.MATCHING,
            f"Found {len(inventory.packages)} packages{layers}",
            progress=70,
            runs=[
                RunState(
                    engine=engine,
                    status=EngineRunStatus.COMPLETE,
                    provider=PROVIDER,
                    started_at=run.started_at,
                    duration_ms=run.inventory_ms,
                )
                for engine in absent
                if engine not in VULNERABILITY_ENGINES
            ],
        )
        return await match(run, self._services.database)

    @asynccontextmanager
    async def _storing(self) -> AsyncIterator[AsyncSession]:
        """The transaction that ends the scan."""
        async with self._services.database.write() as session:
            # First, and in the same transaction: whoever finishes the job is the one who may store.
            if not await jobs.finish(session, self._lease, JobState.DONE, now=self._services.clock()):
                raise LeaseLostError
            yield session
        await self._services.signals.send(self._lease.subject_id)

    async def _log(self, session: AsyncSession, message: str, *, level: str = "info") -> None:
        lease, now = self._lease, self._services.clock()
        await write_log(session, lease.organization_id, lease.subject_id, message, level=level, now=now)


def _results(
    image: FetchedImage,
    conclusion: Conclusion,
    native: NativeRun | None,
    efficiency: ImageEfficiency | None,
    keys: EvidenceKeys | None,
) -> ScanResults:
    """Pure computation, and a lot of it for a large image: not on the event loop."""
    merged = merge(conclusion.voices)
    inventory = native.inventory if native else None
    by_tool = conclusion.judged_by_tool
    return compressed(
        ScanResults(
            image=image,
            inventory=inventory,
            engines=conclusion.engines,
            packages=merged.packages,
            findings=merged.findings,
            misconfigurations=merged.misconfigurations,
            secrets=merged.secrets,
            checks=native.configuration.checks if native and native.configuration else (),
            efficiency=efficiency or (native.efficiency if native else None),
            answered=conclusion.answered,
            grade_reason=conclusion.ungraded
            or grade_reason(
                [run.engine for run in conclusion.engines],
                completed=conclusion.judged,
                uncovered=native.uncovered if native and not by_tool else {},
                unread=inventory.unread if inventory and not by_tool else (),
                packages=max(len(merged.packages), len(inventory.packages) if inventory else 0),
            ),
            keys=keys,
        )
    )


def _state(run: EngineResult) -> RunState:
    return RunState(
        engine=run.engine,
        status=run.status,
        provider=run.provider,
        message=run.message,
        started_at=run.started_at,
        duration_ms=run.duration_ms,
    )


def _not_run(scan: Scan, tools: Mapping[Engine, Tool]) -> Sequence[EngineResult]:
    """Engines that were asked for, and that whoever looked does not speak of."""
    return [
        EngineResult(engine=engine, status=EngineRunStatus.FAILED, provider=None, message="The sensor did not run it")
        for engine in map(Engine, scan.scanners)
        if engine not in tools
    ]
