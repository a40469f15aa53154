"""The native provider: our own reading and matching, run once for every requested engine whose tool does not answer.

Its results are its own: findings carry the source `native` once, whatever it stood in for, and every run it answers for
says so. Where it cannot judge it says that, too: no advisory data is a skipped run, never a clean image.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from importlib.metadata import version
from typing import Any

import orjson

from schema.dependencies.records import Inventory
from schema.scans.evidence import ConfigurationEvidence, ImageEfficiency
from schema.scans.ingest import EngineResult
from schema.scans.models import Engine, EngineRunStatus
from schema.scans.rules import PACKAGE_ENGINES, VULNERABILITY_ENGINES
from schema.vulnerabilities.records import FindingRecord
from workers.examination import Questions

SOURCE = "native"
PROVIDER = f"{SOURCE} {version('harborguard')}"
TOOLS = {
    Engine.TRIVY: "trivy",
    Engine.GRYPE: "grype",
    Engine.SYFT: "syft",
    Engine.DOCKLE: "dockle",
    Engine.OSV: "osv-scanner",
    Engine.DIVE: "dive",
}
CONFIGURATION_ENGINES = (Engine.DOCKLE,)


@dataclass(frozen=True, slots=True, kw_only=True)
class EcosystemData:
    """What the advisory store holds for one ecosystem."""

    advisories: int
    date: datetime
    sample: bool  # only the demonstration's sample


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeRun:
    """One run of the native provider over one image. Durations in milliseconds."""

    inventory: Inventory
    findings: tuple[FindingRecord, ...]
    packages_by_ecosystem: Mapping[str, int]
    store: Mapping[str, EcosystemData]  # of the ecosystems that were found and are covered
    started_at: datetime
    inventory_ms: int  # reading the image, whatever was asked of it
    matching_ms: int
    configuration: ConfigurationEvidence | None = None  # None: not asked
    efficiency: ImageEfficiency | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.inventory.warnings, *(self.configuration.warnings if self.configuration else ()))


def absence(engine: Engine) -> str:
    """Why the engine's own tool did not answer."""
    tool = TOOLS[engine]
    if shutil.which(tool) is None:
        return f"{tool} is not installed"
    return f"{tool} is installed, but this version cannot run it yet"


def answered_engines(requested: Iterable[Engine], *, fallback: bool) -> tuple[Engine, ...]:
    """The requested engines the native provider answers for."""
    return tuple(requested) if fallback else ()


def questions(answered: Iterable[Engine], tag: str | None) -> Questions:
    """What to ask of the image beside its packages. `tag` is the one it was asked for by."""
    engines = set(answered)
    return Questions(
        configuration=not engines.isdisjoint(CONFIGURATION_ENGINES), efficiency=Engine.DIVE in engines, tag=tag
    )


def skipped(engine: Engine) -> EngineResult:
    """A run nobody answers."""
    why = "and the native provider is switched off (HARBORGUARD_NATIVE_FALLBACK)"
    return EngineResult(
        engine=engine, status=EngineRunStatus.SKIPPED, provider=None, message=f"{absence(engine)}, {why}"
    )


def engine_results(requested: Sequence[Engine], run: NativeRun | None) -> tuple[EngineResult, ...]:
    """How each requested engine ended. `run` is None when the native provider had nothing to answer."""
    results = []
    for engine in requested:
        if run is None:
            results.append(skipped(engine))
        elif engine in PACKAGE_ENGINES:
            results.append(_package_result(engine, run))
        elif engine in VULNERABILITY_ENGINES:
            results.append(_vulnerability_result(engine, run))
        elif engine in CONFIGURATION_ENGINES:
            results.append(_configuration_result(engine, run))
        else:
            results.append(_efficiency_result(engine, run))
    return tuple(results)


def _configuration_result(engine: Engine, run: NativeRun) -> EngineResult:
    evidence = run.configuration
    assert evidence is not None, "it was asked"
    failed = sum(check.failures > 0 for check in evidence.checks)
    found = f"{failed} of {len(evidence.checks)} checks failed, secrets found: {len(evidence.secrets)}"
    return _result(engine, run, found, {"provider": PROVIDER, **_fields(evidence)})


def _efficiency_result(engine: Engine, run: NativeRun) -> EngineResult:
    efficiency = run.efficiency
    assert efficiency is not None, "it was asked"
    # Cut, not rounded: 100 % would say that nothing is wasted.
    percent = math.floor(efficiency.efficiency * 1000) / 10
    found = f"efficiency {percent:g} %, {efficiency.wasted_bytes} of {efficiency.total_bytes} bytes wasted"
    return _result(engine, run, found, {"provider": PROVIDER, **_fields(efficiency)})


def _fields(value: ConfigurationEvidence | ImageEfficiency) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _result(engine: Engine, run: NativeRun, found: str, output: Mapping[str, Any]) -> EngineResult:
    return EngineResult(
        engine=engine,
        status=EngineRunStatus.COMPLETE,
        provider=PROVIDER,
        message=f"{absence(engine)}; the native provider answered: {found}",
        started_at=run.started_at,
        duration_ms=run.inventory_ms,
        output=orjson.dumps(output),
    )


def _package_result(engine: Engine, run: NativeRun) -> EngineResult:
    return EngineResult(
        engine=engine,
        status=EngineRunStatus.COMPLETE,
        provider=PROVIDER,
        message=f"{absence(engine)}; the native provider answered",
        package_count=len(run.inventory.packages),
        started_at=run.started_at,
        duration_ms=run.inventory_ms,
        output=orjson.dumps({"provider": PROVIDER, "inventory": run.inventory}),
    )


def _vulnerability_result(engine: Engine, run: NativeRun) -> EngineResult:
    if not run.store and run.packages_by_ecosystem:
        return EngineResult(
            engine=engine,
            status=EngineRunStatus.SKIPPED,
            provider=None,
            message=(
                f"{absence(engine)}, and there is no advisory data for {', '.join(sorted(run.packages_by_ecosystem))}; "
                "import it with `harborguard advisories import`"
            ),
            coverage=coverage(run.packages_by_ecosystem, run.store),
        )
    return EngineResult(
        engine=engine,
        status=EngineRunStatus.COMPLETE,
        provider=PROVIDER,
        message=f"{absence(engine)}; the native provider answered",
        # The oldest data decides how far the whole answer can be trusted.
        database_date=min((data.date for data in run.store.values()), default=None),
        coverage=coverage(run.packages_by_ecosystem, run.store),
        finding_count=len(run.findings),
        package_count=len(run.inventory.packages),
        started_at=run.started_at,
        duration_ms=run.matching_ms,
        output=orjson.dumps({"provider": PROVIDER, "findings": run.findings}),
    )


def coverage(found: Mapping[str, int], store: Mapping[str, EcosystemData]) -> tuple[Mapping[str, Any], ...]:
    """Per ecosystem: what was found, and what there was to judge it by."""
    return tuple(
        {
            "ecosystem": ecosystem,
            "packages": packages,
            "advisories": store[ecosystem].advisories if ecosystem in store else 0,
            "covered": ecosystem in store,
            "sample": ecosystem in store and store[ecosystem].sample,
        }
        for ecosystem, packages in sorted(found.items())
    )
