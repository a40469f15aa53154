"""What earlier scans know of an image, so that it is neither read nor judged again without need.

An image has one digest, and what engines say of it depends on who they are and on their data. While all of that is the
same the earlier scan's results stand. When only the native provider's advisories have changed, the packages that scan
found are matched anew, without the image.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from schema.advisories.repository import generations
from schema.dependencies.records import Inventory
from schema.images.reference import ImageReference
from schema.scans.evidence import EvidenceKeys
from schema.scans.ingest import EngineResult, ScanResults
from schema.scans.merging import Voice, merge
from schema.scans.models import Engine, Scan
from schema.scans.repository import engine_runs
from schema.scans.reuse import Reading, find_equal, find_reading, load_reading
from schema.scans.rules import VULNERABILITY_ENGINES, grade_reason
from workers.engines.native import PROVIDER, SOURCE, NativeRun, stand_in
from workers.engines.tools import Tool
from workers.matching import match
from workers.runtime import WorkerRuntime


class EqualScanError(Exception):
    """Another scan has the very results this one would have."""

    def __init__(self, scan: Scan) -> None:
        super().__init__(scan.id)
        self.scan = scan


class EarlierReadingError(Exception):
    """Another scan has read this image; it only has to be judged."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.scan.id)
        self.reading = reading


@dataclass(frozen=True, slots=True)
class Recall:
    """What is looked for on behalf of one scan."""

    scan: Scan
    tools: Mapping[Engine, Tool]
    runtime: WorkerRuntime
    keys: EvidenceKeys

    async def look(self, digest: str) -> None:
        """Raises EqualScanError or EarlierReadingError when there is no need to fetch the image of that digest."""
        if self.scan.force:
            return
        async with self.runtime.services.database.snapshot() as session:
            equal = await find_equal(session, self.scan, digest, self.keys)
            if equal is not None:
                raise EqualScanError(equal)
            if judges_alone(self.tools.values()):
                known = await find_reading(session, self.scan.organization_id, digest, self.keys)
                if known is not None:
                    raise EarlierReadingError(await load_reading(session, known))


async def evidence_keys(scan: Scan, tools: Mapping[Engine, Tool], runtime: WorkerRuntime) -> EvidenceKeys:
    asked = {
        "native": PROVIDER if runtime.native_fallback else None,
        "engines": sorted(
            (engine, tool.absence if tool.problem else tool.provider, tool.database_date)
            for engine, tool in tools.items()
        ),
        # A check of Dockle's looks at the tag.
        "tag": ImageReference.parse(scan.reference).tag if Engine.DOCKLE in tools else None,
    }
    natively = any(
        engine in VULNERABILITY_ENGINES and (tool.problem is not None or tool.is_blind)
        for engine, tool in tools.items()
    )
    advisories = None
    if natively:
        async with runtime.services.database.read() as session:
            advisories = advisory_key(await generations(session))
    return EvidenceKeys(evidence=_hash(asked), advisories=advisories)


def advisory_key(generations: Iterable[tuple[str, int]]) -> str:
    """Of what readers see of the advisory store; another one whenever any feed has been switched."""
    return _hash(sorted(generations))


def _hash(value: object) -> str:
    return hashlib.sha256(orjson.dumps(value)).hexdigest()


def judges_alone(tools: Iterable[Tool]) -> bool:
    """Whether nobody but the native provider judges vulnerabilities, by packages alone."""
    return all(tool.problem is not None for tool in tools if tool.engine in VULNERABILITY_ENGINES)


async def judge_again(
    scan: Scan, reading: Reading, tools: Mapping[Engine, Tool], keys: EvidenceKeys, runtime: WorkerRuntime
) -> ScanResults:
    """The results of `scan` from what an earlier one read of the same image."""
    requested = [Engine(name) for name in scan.scanners]
    inventory = Inventory(operating_system=None, packages=reading.packages, layers=(), unread=reading.unread)
    run = NativeRun.of(inventory, started_at=runtime.services.clock())
    judges = tuple(engine for engine in requested if engine in VULNERABILITY_ENGINES)
    if judges and runtime.native_fallback:
        run = await match(run, runtime.services.database)
    merged = await asyncio.to_thread(
        merge, [Voice(source=SOURCE, engines=judges, packages=reading.packages, findings=run.findings)]
    )
    return ScanResults(
        image=reading.image,
        inventory=None,
        engines=(
            *await _inherited(scan, reading, runtime),
            *(stand_in(engine, tools[engine].absence, run if runtime.native_fallback else None) for engine in judges),
        ),
        findings=merged.findings,
        answered=frozenset({SOURCE} if run.judged and judges else ()),
        grade_reason=grade_reason(
            requested,
            completed=run.judged and bool(judges) and runtime.native_fallback,
            uncovered=run.uncovered,
            unread=reading.unread,
            packages=len(reading.packages),
        ),
        keys=keys,
        read_by=reading.scan,
    )


async def _inherited(scan: Scan, reading: Reading, runtime: WorkerRuntime) -> Sequence[EngineResult]:
    """Of the engines that only read the image."""
    async with runtime.services.database.read() as session:
        runs = await engine_runs(session, reading.scan.organization_id, reading.scan.id)
    return [
        EngineResult(
            engine=row.engine,
            status=row.status,
            provider=row.provider,
            message=f"Not run again: the result is that of scan {reading.scan.id}",
            database_date=row.database_date,
            finding_count=row.finding_count,
            package_count=row.package_count,
            started_at=runtime.services.clock(),
            duration_ms=0,
        )
        for row in runs
        if row.engine not in VULNERABILITY_ENGINES and row.engine in scan.scanners
    ]
