"""The native provider says of every run whether it answered, for whom, and on what data."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from schema.dependencies.records import Inventory
from schema.scans.evidence import CheckOutcome, ConfigurationEvidence, ImageEfficiency, SecretRecord, WastedFile
from schema.scans.models import Engine, EngineRunStatus
from schema.vulnerabilities.records import Severity
from tests.schema.scans.factories import finding, package
from workers.engines.native import PROVIDER, EcosystemData, NativeRun, coverage, questions, stand_in
from workers.examination import Questions

ABSENT = "the tool is not installed"
EARLIER, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

CONFIGURATION = ConfigurationEvidence(
    checks=(CheckOutcome(check_id="CIS-DI-0001", failures=3), CheckOutcome(check_id="CIS-DI-0006", failures=0)),
    misconfigurations=(),
    secrets=(
        SecretRecord(
            rule="github-token",
            title="GitHub token",
            severity=Severity.CRITICAL,
            path="a",
            line=1,
            masked="ghp_********wxyz",
            layer_digest="sha256:0",
            layer_index=0,
        ),
    ),
)


def run(*, store: dict[str, EcosystemData] | None = None, found: dict[str, int] | None = None) -> NativeRun:
    return NativeRun(
        inventory=Inventory(operating_system=None, packages=(package(),), layers=()),
        findings=(finding(),),
        packages_by_ecosystem={"Debian:12": 1} if found is None else found,
        store={"Debian:12": EcosystemData(advisories=5, date=LATER, sample=False)} if store is None else store,
        started_at=LATER,
        inventory_ms=10,
        matching_ms=20,
        configuration=CONFIGURATION,
        efficiency=ImageEfficiency(
            total_bytes=10_000,
            wasted_bytes=1,
            efficiency=0.9999,
            layers=(),
            wasted_files=(WastedFile(path="a", count=2, bytes=1),),
        ),
    )


def test_it_asks_only_what_somebody_wants_to_know() -> None:
    assert questions([Engine.TRIVY, Engine.SYFT], "1") == Questions(tag="1")
    assert questions([Engine.DOCKLE], None) == Questions(configuration=True)
    assert questions([Engine.DIVE], None) == Questions(efficiency=True)


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


def test_checks_and_secrets_stand_in_for_dockle() -> None:
    result = stand_in(Engine.DOCKLE, ABSENT, run())

    assert (result.status, result.provider, result.finding_count) == (EngineRunStatus.COMPLETE, PROVIDER, 1)
    assert result.message == f"{ABSENT}; the native provider answered: 1 of 2 checks failed, secrets found: 1"
    assert result.output is not None
    document = orjson.loads(result.output)
    assert (document["provider"], len(document["checks"])) == (PROVIDER, 2)
    assert document["secrets"][0]["masked"] == "ghp_********wxyz"


def test_wasted_space_stands_in_for_dive() -> None:
    result = stand_in(Engine.DIVE, ABSENT, run())

    assert (result.status, result.provider, result.finding_count) == (EngineRunStatus.COMPLETE, PROVIDER, 0)
    assert result.message == f"{ABSENT}; the native provider answered: efficiency 99.9 %, 1 of 10000 bytes wasted"
    assert result.output is not None
    assert orjson.loads(result.output)["wasted_files"] == [{"path": "a", "count": 2, "bytes": 1}]


@pytest.mark.parametrize("engine", list(Engine))
def test_switched_off_it_is_skipped_with_the_reason(engine: Engine) -> None:
    result = stand_in(engine, ABSENT, None)

    assert (result.status, result.provider) == (EngineRunStatus.SKIPPED, None)
    assert result.message == f"{ABSENT}, and the native provider is switched off (HARBORGUARD_NATIVE_FALLBACK)"


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
