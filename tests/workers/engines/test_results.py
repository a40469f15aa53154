"""What a requested engine's run says, for every way its tool and the native provider can end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from schema.dependencies.records import Inventory
from schema.scans.evidence import ConfigurationEvidence, ImageEfficiency
from schema.scans.ingest import EngineResult
from schema.scans.models import Engine, EngineRunStatus
from tests.schema.scans.factories import finding, package
from workers.engines.answer import EngineAnswer
from workers.engines.catalog import ADAPTERS
from workers.engines.native import EcosystemData, NativeRun
from workers.engines.report import EngineReport
from workers.engines.results import Conclusion, conclude, stand_ins
from workers.engines.tools import Tool

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DATED = datetime(2026, 4, 1, tzinfo=UTC)


def tool(engine: Engine, *, date: datetime | None = None, problem: str | None = None) -> Tool:
    return Tool(
        engine=engine,
        name=ADAPTERS[engine].tool,
        path=None if problem else Path("/usr/bin/tool"),
        version=None if problem else "1.2.3",
        database_date=date,
        problem=problem,
    )


ABSENT = "is not installed"
REPORT = EngineReport(packages=(package(),), findings=(finding(),))
BLIND = EngineReport(packages=(package(), package("zlib")))


def answer(of: Tool, report: EngineReport | None, *, output: bytes | None = b"{}") -> EngineAnswer:
    failure = None if report else "printed nothing"
    return EngineAnswer(tool=of, report=report, failure=failure, output=output, started_at=NOW, duration_ms=5)


def native(*, covered: bool = True) -> NativeRun:
    return NativeRun(
        inventory=Inventory(operating_system=None, packages=(package(),), layers=()),
        findings=(finding(), finding("CVE-2024-2")),
        packages_by_ecosystem={"Debian:12": 1},
        store={"Debian:12": EcosystemData(advisories=5, date=NOW, sample=False)} if covered else {},
        started_at=NOW,
        inventory_ms=1,
        matching_ms=1,
        configuration=ConfigurationEvidence(checks=(), misconfigurations=(), secrets=()),
        efficiency=ImageEfficiency(total_bytes=0, wasted_bytes=0, efficiency=1.0, layers=(), wasted_files=()),
    )


def concluded(tools: list[Tool], answers: list[EngineAnswer], by: NativeRun | None = None) -> Conclusion:
    return conclude(
        [each.engine for each in tools],
        {each.engine: each for each in tools},
        {each.tool.engine: each for each in answers},
        by,
    )


def run_of(conclusion: Conclusion) -> EngineResult:
    [run] = conclusion.engines
    return run


def test_a_tool_answers_for_its_engine() -> None:
    trivy = tool(Engine.TRIVY, date=DATED)
    conclusion = concluded([trivy], [answer(trivy, REPORT)])
    run = run_of(conclusion)
    assert (run.status, run.provider, run.message) == (EngineRunStatus.COMPLETE, "trivy 1.2.3", None)
    assert (run.database_date, run.finding_count, run.package_count, run.output) == (DATED, 1, 1, b"{}")
    assert (conclusion.judged, conclusion.judged_by_tool) == (True, True)
    assert [(voice.source, voice.engines) for voice in conclusion.voices] == [("trivy", (Engine.TRIVY,))]


def test_a_tool_that_fails_fails_alone() -> None:
    trivy, syft = tool(Engine.TRIVY, date=DATED), tool(Engine.SYFT)
    conclusion = concluded([trivy, syft], [answer(trivy, None), answer(syft, BLIND)])
    failed, listed = conclusion.engines
    assert (failed.status, failed.message) == (EngineRunStatus.FAILED, "trivy 1.2.3 printed nothing")
    assert (listed.status, listed.package_count) == (EngineRunStatus.COMPLETE, 2)
    assert not conclusion.judged, "nobody stands in for a failure, so there is no verdict"


def test_findings_nobody_here_can_keep_leave_no_grade() -> None:
    trivy = tool(Engine.TRIVY, date=DATED)
    conclusion = concluded([trivy], [answer(trivy, replace(REPORT, unjudged=3))])
    assert run_of(conclusion).finding_count == 1
    assert conclusion.ungraded == "Flaws in packages of kinds that are not read here were found by trivy (3 findings)"
    assert concluded([trivy], [answer(trivy, REPORT)]).ungraded is None


def test_the_native_provider_stands_in_for_what_is_not_there() -> None:
    grype = tool(Engine.GRYPE, problem=ABSENT)
    assert stand_ins({Engine.GRYPE: grype}, fallback=True) == (Engine.GRYPE,)
    conclusion = concluded([grype], [], native())
    assert run_of(conclusion).message == "grype is not installed; the native provider answered"
    assert (conclusion.judged, conclusion.judged_by_tool) == (True, False)
    assert [(voice.source, voice.engines) for voice in conclusion.voices] == [("native", (Engine.GRYPE,))]


def test_one_native_run_stands_in_for_every_engine() -> None:
    absent = {engine: tool(engine, problem=ABSENT) for engine in Engine}
    assert stand_ins(absent, fallback=True) == tuple(Engine)
    conclusion = concluded(list(absent.values()), [], native())
    assert {run.status for run in conclusion.engines} == {EngineRunStatus.COMPLETE}
    [voice] = conclusion.voices
    assert voice.engines == (Engine.TRIVY, Engine.GRYPE, Engine.OSV)


def test_packages_are_listed_only_where_somebody_asked_for_them() -> None:
    for engine, listed in ((Engine.DOCKLE, 0), (Engine.DIVE, 0), (Engine.SYFT, 1)):
        voices = concluded([tool(engine, problem=ABSENT)], [], native()).voices
        assert sum(len(voice.packages) for voice in voices) == listed
        assert not any(voice.findings for voice in voices), "nobody was asked to judge"


def test_it_does_not_where_it_is_switched_off() -> None:
    grype = tool(Engine.GRYPE, problem=ABSENT)
    assert stand_ins({Engine.GRYPE: grype}, fallback=False) == ()
    conclusion = concluded([grype], [])
    assert run_of(conclusion).status is EngineRunStatus.SKIPPED
    assert (conclusion.judged, conclusion.voices) == (False, ())


def test_trivy_without_its_database_lists_and_the_native_provider_judges() -> None:
    trivy = tool(Engine.TRIVY)
    assert stand_ins({Engine.TRIVY: trivy}, fallback=True) == (Engine.TRIVY,)
    conclusion = concluded([trivy], [answer(trivy, BLIND)], native())
    run = run_of(conclusion)
    assert (run.status, run.provider) == (EngineRunStatus.COMPLETE, "trivy 1.2.3")
    assert run.message == "trivy has no vulnerability database; the native provider answered"
    assert (run.finding_count, run.package_count, run.database_date) == (2, 2, NOW)
    assert run.coverage[0]["covered"]
    assert (conclusion.judged, conclusion.judged_by_tool) == (True, False)
    assert [(voice.source, voice.engines, len(voice.findings)) for voice in conclusion.voices] == [
        ("native", (Engine.TRIVY,), 2),
        ("trivy", (), 0),
    ]


def test_trivy_without_its_database_and_nobody_to_judge_is_no_verdict() -> None:
    trivy = tool(Engine.TRIVY)
    alone = concluded([trivy], [answer(trivy, BLIND)])
    assert run_of(alone).message == "trivy has no vulnerability database, so it judged no vulnerabilities"
    assert (alone.judged, run_of(alone).finding_count) == (False, 0)
    uncovered = concluded([trivy], [answer(trivy, BLIND)], native(covered=False))
    assert "no advisory data for Debian:12" in str(run_of(uncovered).message)
    assert (uncovered.judged, run_of(uncovered).status) == (False, EngineRunStatus.COMPLETE)


def test_where_no_tool_lists_packages_the_native_provider_does() -> None:
    grype = tool(Engine.GRYPE, date=DATED)
    judged = answer(grype, EngineReport(findings=(finding(),)))
    listing, judging = concluded([grype], [judged], native()).voices
    assert (listing.source, listing.engines, len(listing.packages)) == ("native", (), 1)
    assert (judging.source, judging.engines) == ("grype", (Engine.GRYPE,))
    assert [voice.source for voice in concluded([grype], [judged]).voices] == ["grype"]


def test_dockle_counts_failed_checks_and_says_when_output_was_too_large() -> None:
    dockle = tool(Engine.DOCKLE)
    run = run_of(concluded([dockle], [answer(dockle, EngineReport(), output=None)]))
    assert (run.finding_count, run.message) == (0, "What it printed is larger than what is kept")


def test_results_keep_the_order_of_the_request() -> None:
    tools = [tool(engine, problem=ABSENT) for engine in (Engine.DIVE, Engine.TRIVY, Engine.SYFT)]
    assert [run.engine for run in concluded(tools, [], native()).engines] == [Engine.DIVE, Engine.TRIVY, Engine.SYFT]
