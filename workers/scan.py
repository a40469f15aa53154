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
from schema.scans.ingest import EngineResult, FetchedImage, ScanResults, distinct, ingest
from schema.scans.lifecycle import RunState
from schema.scans.merging import merge
from schema.scans.models import Engine, EngineRunStatus, Scan, ScanPhase, SourceKind
from schema.scans.repository import write_log
from schema.scans.rules import VULNERABILITY_ENGINES, grade_reason
from workers.engines.native import PROVIDER, EcosystemData, NativeRun, questions
from workers.engines.report import ImageFacts
from workers.engines.results import Conclusion, conclude, stand_ins
from workers.engines.running import EngineAnswer, EngineEvent, EngineRuns
from workers.engines.tools import Tool
from workers.fetching import fetch_image
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
        image = await fetch_image(scan, self._runtime, self._scratch / "image")
        requested = [Engine(name) for name in scan.scanners]
        tools = await self._runtime.toolbox.look(requested)
        answered = stand_ins(tools, fallback=self._runtime.native_fallback)
        present = [tool for tool in tools.values() if tool.problem is None]
        native: NativeRun | None = None
        answers: Mapping[Engine, EngineAnswer] = {}
        if present or answered:
            # First, because it verifies every layer and holds it to our limits, before a tool unpacks it to its own.
            native = await self._examine(scan, image, answered, [each for each in answered if tools[each].problem])
            answers = await self._run_tools(image, native.inventory, present)
            if any(engine in VULNERABILITY_ENGINES for engine in answered):
                native = await self._match(native, [each for each in answered if tools[each].problem])
        # What the runs have to show as evidence is written here, megabytes of it: not on the event loop.
        conclusion = await asyncio.to_thread(
            conclude, requested, tools, answers, native if self._runtime.native_fallback else None
        )
        ended = [run for run in conclusion.engines if run.engine not in answers]
        await self._advance(
            ScanPhase.INGESTING,
            *(f"{run.engine} {run.status.lower()}: {run.message}" for run in ended),
            "Storing results",
            progress=90,
            runs=[_state(run) for run in ended],
        )
        await self._store(scan, image, conclusion, native, answers)

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

    async def _examine(
        self, scan: Scan, image: Image, answered: Sequence[Engine], absent: Sequence[Engine]
    ) -> NativeRun:
        """What the native provider reads for the engines it answers for, and alone for the `absent` ones of them."""
        started_at, clock = self._services.clock(), time.monotonic()
        await self._advance(
            ScanPhase.INVENTORY,
            f"Fetched {image.digest} ({image.platform})",
            *([f"{PROVIDER} reads the image for {', '.join(absent)}"] if absent else ()),
            progress=40,
            runs=[
                RunState(engine=engine, status=EngineRunStatus.RUNNING, provider=PROVIDER, started_at=started_at)
                for engine in absent
            ],
        )
        # An archive has no tag of a registry: what it was filed under is a name we gave it.
        tag = ImageReference.parse(scan.reference).tag if scan.source_kind is SourceKind.REGISTRY else None
        examination = await examine_image(
            image.layout,
            questions(answered, tag),
            limits=self._runtime.limits.image,
            sandbox=self._runtime.limits.analysis,
        )
        inventory = examination.inventory
        # What a distribution's package brought is judged as that package, so it asks for no data of its own.
        judged = (package for package in inventory.packages if package.owner is None)
        return NativeRun(
            inventory=inventory,
            findings=(),
            packages_by_ecosystem=Counter(package.ecosystem or UNKNOWN_DISTRIBUTION for package in judged),
            store={},
            started_at=started_at,
            inventory_ms=int((time.monotonic() - clock) * 1000),
            matching_ms=0,
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
                await self._advance(ScanPhase.INVENTORY, event.message, progress=progress, runs=[self._state_of(event)])

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
        inventory, found, clock = run.inventory, run.packages_by_ecosystem, time.monotonic()
        await self._advance(
            ScanPhase.MATCHING,
            f"Found {len(inventory.packages)} packages in {len(inventory.layers)} layers",
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
        image: Image,
        conclusion: Conclusion,
        native: NativeRun | None,
        answers: Mapping[Engine, EngineAnswer],
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
            image=FetchedImage(
                digest=image.digest,
                platform=image.platform,
                size_bytes=image.size_bytes,
                config=redact_summary(image.summary),
            ),
            inventory=inventory,
            engines=conclusion.engines,
            packages=merged.packages,
            findings=merged.findings,
            grade_reason=grade_reason(
                [run.engine for run in conclusion.engines],
                completed=conclusion.judged,
                uncovered=uncovered,
                unread=inventory.unread if inventory and not by_tool else (),
                packages=max(len(merged.packages), len(inventory.packages) if inventory else 0),
            ),
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
        now = self._services.clock()
        async with self._services.database.write() as session:
            # First, and in the same transaction: whoever finishes the job is the one who may store.
            if not await jobs.finish(session, self._lease, JobState.DONE, now=now):
                raise LeaseLostError
            for warning in warnings:
                await write_log(session, scan.organization_id, scan.id, warning, level="warning", now=now)
            await ingest(session, scan, results, now=now)
            await write_log(
                session, scan.organization_id, scan.id, f"Scan ended with {len(results.findings)} findings", now=now
            )
        await self._services.signals.send(scan.id)


def _state(run: EngineResult) -> RunState:
    return RunState(
        engine=run.engine,
        status=run.status,
        provider=run.provider,
        message=run.message,
        started_at=run.started_at,
        duration_ms=run.duration_ms,
    )
