"""The native provider: our own reading and matching, run once for every requested engine whose tool does not answer.

Its results are its own: findings carry the source `native` once, whatever it stood in for, and every run it answers for
says so. Where it cannot judge it says that, too: no advisory data is a skipped run, never a clean image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from importlib.metadata import version
from typing import Any, Self

import orjson

from schema.advisories.matching import UNKNOWN_DISTRIBUTION
from schema.dependencies.records import Inventory
from schema.scans.evidence import ConfigurationEvidence, ImageEfficiency
from schema.scans.ingest import EngineResult
from schema.scans.models import Engine, EngineRunStatus
from schema.scans.rules import PACKAGE_ENGINES, VULNERABILITY_ENGINES
from schema.vulnerabilities.records import FindingRecord
from workers.examination import Questions

SOURCE = "native"
PROVIDER = f"{SOURCE} {version('harborguard')}"
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

    @classmethod
    def of(
        cls,
        inventory: Inventory,
        *,
        started_at: datetime,
        inventory_ms: int = 0,
        configuration: ConfigurationEvidence | None = None,
        efficiency: ImageEfficiency | None = None,
    ) -> Self:
        """A run that has read, and not matched yet."""
        # What a distribution's package brought is judged as that package, so it asks for no data of its own.
        judged = (package for package in inventory.packages if package.owner is None)
        return cls(
            inventory=inventory,
            findings=(),
            packages_by_ecosystem=Counter(package.ecosystem or UNKNOWN_DISTRIBUTION for package in judged),
            store={},
            started_at=started_at,
            inventory_ms=inventory_ms,
            matching_ms=0,
            configuration=configuration,
            efficiency=efficiency,
        )

    @property
    def judged(self) -> bool:
        """Whether it could judge anything: no advisory data is no judgement."""
        return bool(self.store) or not self.packages_by_ecosystem

    @property
    def uncovered(self) -> Mapping[str, int]:
        """Packages that nothing can be said of, by ecosystem."""
        return {name: count for name, count in self.packages_by_ecosystem.items() if name not in self.store}

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.inventory.warnings, *(self.configuration.warnings if self.configuration else ()))


def questions(answered: Iterable[Engine], tag: str | None) -> Questions:
    """What to ask of the image beside its packages. `tag` is the one it was asked for by."""
    engines = set(answered)
    return Questions(
        configuration=not engines.isdisjoint(CONFIGURATION_ENGINES), efficiency=Engine.DIVE in engines, tag=tag
    )


def stand_in(engine: Engine, absence: str, run: NativeRun | None) -> EngineResult:
    """How an engine ends whose tool does not answer. `absence` says why: "trivy is not installed". `run` is None when
    the native provider does not answer either.
    """
    if run is None:
        why = "and the native provider is switched off (HARBORGUARD_NATIVE_FALLBACK)"
        return EngineResult(engine=engine, status=EngineRunStatus.SKIPPED, provider=None, message=f"{absence}, {why}")
    if engine in VULNERABILITY_ENGINES:
        return _vulnerability_result(engine, absence, run)
    answered = f"{absence}; the native provider answered"
    if engine in PACKAGE_ENGINES:
        output = {"provider": PROVIDER, "inventory": run.inventory}
        return replace(_result(engine, run, answered, output), package_count=len(run.inventory.packages))
    if engine in CONFIGURATION_ENGINES:
        return _configuration_result(engine, answered, run)
    return _efficiency_result(engine, answered, run)


def _configuration_result(engine: Engine, answered: str, run: NativeRun) -> EngineResult:
    evidence = run.configuration
    assert evidence is not None, "it was asked"
    failed = sum(check.failures > 0 for check in evidence.checks)
    message = f"{answered}: {failed} of {len(evidence.checks)} checks failed, secrets found: {len(evidence.secrets)}"
    result = _result(engine, run, message, {"provider": PROVIDER, **_fields(evidence)})
    return replace(result, finding_count=failed)


def _efficiency_result(engine: Engine, answered: str, run: NativeRun) -> EngineResult:
    efficiency = run.efficiency
    assert efficiency is not None, "it was asked"
    # Cut, not rounded: 100 % would say that nothing is wasted.
    percent = math.floor(efficiency.efficiency * 1000) / 10
    wasted = f"efficiency {percent:g} %, {efficiency.wasted_bytes} of {efficiency.total_bytes} bytes wasted"
    return _result(engine, run, f"{answered}: {wasted}", {"provider": PROVIDER, **_fields(efficiency)})


def _fields(value: ConfigurationEvidence | ImageEfficiency) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _result(engine: Engine, run: NativeRun, message: str, output: Mapping[str, Any]) -> EngineResult:
    """Of what was read in the image, which took one time for all."""
    return EngineResult(
        engine=engine,
        status=EngineRunStatus.COMPLETE,
        provider=PROVIDER,
        message=message,
        started_at=run.started_at,
        duration_ms=run.inventory_ms,
        output=orjson.dumps(output),
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
