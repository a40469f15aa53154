"""The native provider says of every run whether it answered, for whom, and on what data."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from schema.dependencies.records import Inventory
from schema.scans.models import Engine, EngineRunStatus
from tests.schema.scans.factories import finding, package
from workers.engines.native import (
    PROVIDER,
    EcosystemData,
    NativeRun,
    answered_engines,
    coverage,
    stand_in,
)

ABSENT = "the tool is not installed"
EARLIER, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def run(*, store: dict[str, EcosystemData] | None = None, found: dict[str, int] | None = None) -> NativeRun:
    return NativeRun(
        inventory=Inventory(operating_system=None, packages=(package(),), layers=()),
        findings=(finding(),),
        packages_by_ecosystem={"Debian:12": 1} if found is None else found,
        store={"Debian:12": EcosystemData(advisories=5, date=LATER, sample=False)} if store is None else store,
        started_at=LATER,
        inventory_ms=10,
        matching_ms=20,
    )


def test_it_answers_for_packages_and_vulnerabilities_only() -> None:
    assert set(answered_engines(list(Engine), fallback=True)) == {
        Engine.SYFT,
        Engine.TRIVY,
        Engine.GRYPE,
        Engine.OSV,
    }
    assert answered_engines(list(Engine), fallback=False) == ()


@pytest.mark.parametrize("engine", [Engine.TRIVY, Engine.GRYPE, Engine.OSV])
def test_an_answer_never_claims_to_be_the_tool_s(engine: Engine) -> None:
    result = stand_in(engine, ABSENT, run())

    assert (result.status, result.provider) == (EngineRunStatus.COMPLETE, PROVIDER)
    assert result.message is not None
    assert "not installed; the native provider answered" in result.message
    assert (result.finding_count, result.duration_ms) == (1, 20)
    assert result.output is not None
    assert orjson.loads(result.output)["provider"] == PROVIDER


def test_packages_come_without_findings() -> None:
    result = stand_in(Engine.SYFT, ABSENT, run())

    assert (result.package_count, result.finding_count, result.duration_ms) == (1, 0, 10)


@pytest.mark.parametrize("engine", [Engine.DOCKLE, Engine.DIVE])
@pytest.mark.parametrize("native", [run(), None])
def test_what_it_cannot_do_is_skipped_with_the_reason(engine: Engine, native: NativeRun | None) -> None:
    result = stand_in(engine, ABSENT, native)

    assert (result.status, result.provider) == (EngineRunStatus.SKIPPED, None)
    assert result.message == f"{ABSENT}, and the native provider has no such checks yet"


def test_no_data_is_skipped_and_never_clean() -> None:
    result = stand_in(Engine.OSV, ABSENT, run(store={}))

    assert (result.status, result.provider, result.output) == (EngineRunStatus.SKIPPED, None, None)
    assert result.message is not None
    assert "Debian:12" in result.message


def test_the_oldest_data_dates_the_answer() -> None:
    store = {
        "Debian:12": EcosystemData(advisories=5, date=LATER, sample=False),
        "npm": EcosystemData(advisories=1, date=EARLIER, sample=False),
    }

    result = stand_in(Engine.OSV, ABSENT, run(store=store, found={"Debian:12": 1, "npm": 1}))

    assert result.database_date == EARLIER


def test_coverage_names_what_nobody_judged() -> None:
    entries = {entry["ecosystem"]: entry for entry in coverage({"PyPI": 3, "Debian:12": 1}, run().store)}

    assert list(entries) == ["Debian:12", "PyPI"]
    assert (entries["Debian:12"]["covered"], entries["Debian:12"]["advisories"]) == (True, 5)
    assert (entries["PyPI"]["covered"], entries["PyPI"]["packages"]) == (False, 3)


def test_sample_data_is_called_that() -> None:
    store = {"Debian:12": EcosystemData(advisories=5, date=LATER, sample=True)}

    result = stand_in(Engine.TRIVY, ABSENT, run(store=store))

    assert "sample" in f"{result.message} {result.coverage}"
