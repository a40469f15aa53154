"""The native provider: our own inventory and matching, run once for every requested engine whose tool does not answer.

Its results are its own: findings carry the source `native` once, whatever it stood in for, and every run it answers for
says so. Where it cannot judge it says that, too: no advisory data is a skipped run, never a clean image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from typing import Any

import orjson

from schema.dependencies.records import Inventory
from schema.scans.ingest import EngineResult
from schema.scans.models import Engine, EngineRunStatus
from schema.scans.rules import PACKAGE_ENGINES, VULNERABILITY_ENGINES
from schema.vulnerabilities.records import FindingRecord

SOURCE = "native"
PROVIDER = f"{SOURCE} {version('harborguard')}"
ANSWERED = (*PACKAGE_ENGINES, *VULNERABILITY_ENGINES)


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
    inventory_ms: int
    matching_ms: int

    @property
    def judged(self) -> bool:
        """Whether it could judge anything: no advisory data is no judgement."""
        return bool(self.store) or not self.packages_by_ecosystem


def answered_engines(requested: Iterable[Engine], *, fallback: bool) -> tuple[Engine, ...]:
    """The requested engines the native provider answers for."""
    return tuple(engine for engine in requested if fallback and engine in ANSWERED)


def skipped(engine: Engine, absence: str, *, fallback: bool) -> EngineResult:
    """A run nobody answers. `absence` says why its tool does not: "trivy is not installed"."""
    why = (
        "and the native provider has no such checks yet"
        if engine not in ANSWERED
        else "and the native provider is switched off (HARBORGUARD_NATIVE_FALLBACK)"
    )
    assert engine not in ANSWERED or not fallback
    return EngineResult(engine=engine, status=EngineRunStatus.SKIPPED, provider=None, message=f"{absence}, {why}")


def stand_in(engine: Engine, absence: str, run: NativeRun | None) -> EngineResult:
    """How an engine ends whose tool does not answer. `run` is None when the native provider had nothing to answer."""
    if run is None or engine not in ANSWERED:
        return skipped(engine, absence, fallback=run is not None)
    if engine in PACKAGE_ENGINES:
        return _package_result(engine, absence, run)
    return _vulnerability_result(engine, absence, run)


def _package_result(engine: Engine, absence: str, run: NativeRun) -> EngineResult:
    return EngineResult(
        engine=engine,
        status=EngineRunStatus.COMPLETE,
        provider=PROVIDER,
        message=f"{absence}; the native provider answered",
        package_count=len(run.inventory.packages),
        started_at=run.started_at,
        duration_ms=run.inventory_ms,
        output=orjson.dumps({"provider": PROVIDER, "inventory": run.inventory}),
    )


def _vulnerability_result(engine: Engine, absence: str, run: NativeRun) -> EngineResult:
    if not run.judged:
        return EngineResult(
            engine=engine,
            status=EngineRunStatus.SKIPPED,
            provider=None,
            message=(
                f"{absence}, and there is no advisory data for {', '.join(sorted(run.packages_by_ecosystem))}; "
                "import it with `harborguard advisories import`"
            ),
            coverage=coverage(run.packages_by_ecosystem, run.store),
        )
    return EngineResult(
        engine=engine,
        status=EngineRunStatus.COMPLETE,
        provider=PROVIDER,
        message=f"{absence}; the native provider answered",
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
