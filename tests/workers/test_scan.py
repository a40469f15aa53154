"""What a scan concludes from an image and the advisories there are: real images, real reading, real matching."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import SQLModel

from schema.dependencies.models import Package
from schema.images.models import Image, Tag
from schema.scans.models import Engine, EngineRun, EngineRunStatus, ScanLog, ScanPhase, ScanStatus
from schema.scans.repository import engine_output
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from schema.vulnerabilities.scores import Grade
from tests.app.site import on_sqlite
from tests.factories.images import Whiteout, image, layer
from tests.processes import until
from tests.simulators.tools import HANG, TRUNCATED, write_tool
from tests.tools import ONLY_REAL_TOOLS
from tests.workers.test_examination import canary_image
from tests.workers.workshop import NO_TOOLS, OS_RELEASE, Workshop, advisories, debian, dpkg_status, store_advisories
from workers.engines.native import PROVIDER

PYTHON_PACKAGE = b"Metadata-Version: 2.1\nName: requests\nVersion: 2.0\n"


async def runs(workshop: Workshop) -> dict[Engine, EngineRun]:
    return {run.engine: run for run in await workshop.rows(EngineRun)}


async def test_findings_and_grade(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl", "zlib"))

    scan = await workshop.scanned(engines=(Engine.TRIVY, Engine.GRYPE, Engine.SYFT, Engine.DIVE))

    assert (scan.status, scan.grade_reason, scan.unknown) == (ScanStatus.COMPLETE, None, 1)
    assert scan.grade is Grade.A, "a flaw nobody has rated is counted, and decides nothing"
    [vulnerability] = await workshop.rows(Vulnerability)
    assert (vulnerability.cve_id, vulnerability.package_name) == ("CVE-2024-1000", "openssl")
    assert vulnerability.sources == ["native"], "once, whatever it stood in for"
    [link] = await workshop.rows(ScanFinding)
    assert link.engines == ["trivy", "grype"]
    assert link.path == "var/lib/dpkg/status"
    ended = await runs(workshop)
    assert {engine: run.status for engine, run in ended.items()} == {
        Engine.TRIVY: EngineRunStatus.COMPLETE,
        Engine.GRYPE: EngineRunStatus.COMPLETE,
        Engine.SYFT: EngineRunStatus.COMPLETE,
        Engine.DIVE: EngineRunStatus.COMPLETE,
    }
    trivy = ended[Engine.TRIVY]
    assert (trivy.finding_count, trivy.package_count) == (1, 2)
    assert trivy.database_date == datetime(2024, 5, 1, tzinfo=UTC)
    assert trivy.provider is not None
    assert trivy.provider.startswith("native ")
    async with workshop.database.read() as session:
        output = await engine_output(session, workshop.principal.organization_id, [scan.id], Engine.TRIVY)
    assert "CVE-2024-1000" in output.content


@on_sqlite
async def test_without_advisory_data_there_is_no_verdict(workshop: Workshop) -> None:
    scan = await workshop.scanned()

    assert (scan.status, scan.grade, scan.risk_score) == (ScanStatus.COMPLETE, None, None)
    assert scan.grade_reason is not None
    assert "Debian:12 (2 packages)" in scan.grade_reason
    trivy = (await runs(workshop))[Engine.TRIVY]
    assert trivy.status is EngineRunStatus.SKIPPED
    assert trivy.provider is None
    assert "advisories import" in str(trivy.message)
    assert scan.package_count == 2, "the packages are kept all the same"


@on_sqlite
async def test_an_ecosystem_without_data_costs_the_grade_and_no_finding(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    mixed = image(
        layer(
            {
                "etc/os-release": OS_RELEASE,
                "var/lib/dpkg/status": dpkg_status({"openssl": "3.0.1-1"}),
                "usr/lib/python3/dist-packages/requests-2.0.dist-info/METADATA": PYTHON_PACKAGE,
            }
        )
    )

    scan = await workshop.scanned(workshop.layout(mixed))

    assert (scan.grade, scan.unknown, scan.package_count) == (None, 1, 2)
    assert scan.grade_reason is not None
    assert "PyPI (1 packages)" in scan.grade_reason
    trivy = (await runs(workshop))[Engine.TRIVY]
    assert trivy.status is EngineRunStatus.COMPLETE
    covered = {entry["ecosystem"]: entry["covered"] for entry in trivy.coverage}
    assert covered == {"Debian:12": True, "PyPI": False}


@on_sqlite
async def test_an_image_without_packages_has_nothing_to_judge(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))

    scan = await workshop.scanned(workshop.layout(image(layer({"app": b"static"}))))

    assert (scan.status, scan.grade, scan.package_count) == (ScanStatus.COMPLETE, None, 0)
    assert scan.grade_reason == "No packages were found in the image, so there is nothing to judge"


@on_sqlite
async def test_a_clean_image_is_an_a(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("zlib"))

    scan = await workshop.scanned()

    assert (scan.grade, scan.risk_score) == (Grade.A, 0)


@on_sqlite
async def test_packages_without_a_vulnerability_engine_are_a_list(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))

    scan = await workshop.scanned(engines=(Engine.SYFT,))

    assert (scan.package_count, scan.grade) == (2, None)
    assert scan.grade_reason == "No vulnerability engine was requested (trivy, grype or osv)"
    assert await workshop.rows(ScanFinding) == []


@on_sqlite
async def test_with_the_stand_in_off_absent_engines_are_skipped(workshop: Workshop) -> None:
    workshop.native_fallback = False

    scan = await workshop.scanned()

    assert (scan.status, scan.grade, scan.package_count) == (ScanStatus.COMPLETE, None, 0)
    assert scan.grade_reason == "No vulnerability engine produced a result"
    ended = await runs(workshop)
    assert {run.status for run in ended.values()} == {EngineRunStatus.SKIPPED}
    assert "switched off" in str(ended[Engine.TRIVY].message)


@on_sqlite
async def test_a_package_that_a_later_layer_removes_is_not_there(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    base = debian().layers[0]
    removed = image(base, layer({"var/lib/dpkg/status": Whiteout()}))

    scan = await workshop.scanned(workshop.layout(removed))

    assert scan.package_count == 0
    assert await workshop.rows(ScanFinding) == []


@on_sqlite
async def test_a_rescan_after_an_import_finds_more_and_moves_the_tag(workshop: Workshop) -> None:
    layout = workshop.layout()
    await store_advisories(workshop.database, advisories("openssl"))
    first = await workshop.scanned(layout)
    await store_advisories(workshop.database, advisories("openssl", "curl"))

    second = await workshop.scanned(layout)

    assert (first.unknown, second.unknown) == (1, 2)
    assert len(await workshop.rows(Vulnerability)) == 2
    assert len(await workshop.rows(ScanFinding)) == 3
    [tag] = await workshop.rows(Tag)
    assert (tag.last_scan_id, tag.unknown) == (second.id, 2)
    [row] = await workshop.rows(Image)
    assert row.unknown == 2


@on_sqlite
async def test_the_log_tells_the_way_in_order(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    scan = await workshop.scanned()

    lines = [line for line in await workshop.rows(ScanLog) if line.scan_id == scan.id]
    messages = [line.message.split()[0] for line in sorted(lines, key=lambda line: line.sequence)]
    assert messages == ["Scan", "Scan", "Fetched", "native", "Found", "trivy", "syft", "Storing", "Scan"]
    assert scan.phase is ScanPhase.DONE


@on_sqlite
@pytest.mark.parametrize("tools", [NO_TOOLS, ONLY_REAL_TOOLS], ids=["native", "tools"])
async def test_t50_no_secret_of_an_image_is_stored(workshop: Workshop, tools: dict[Engine, str]) -> None:
    """Whoever answers: Trivy, Syft and Dive show what they have read, too."""
    built, canaries = canary_image()
    workshop.tools = tools

    scan = await workshop.scanned(workshop.layout(built), engines=tuple(Engine))

    ended = await runs(workshop)
    assert {ended[engine].status for engine in (Engine.DOCKLE, Engine.DIVE)} == {EngineRunStatus.COMPLETE}
    stored = []
    async with workshop.database.read() as session:
        for table in SQLModel.metadata.sorted_tables:
            stored += [str(row) for row in await session.execute(select(table))]
        for engine, run in ended.items():
            if run.status is EngineRunStatus.COMPLETE:
                output = await engine_output(session, workshop.principal.organization_id, [scan.id], engine)
                stored.append(output.content)
    everything = "\n".join(stored)
    assert "ghp_********" in everything
    assert [canary for canary in canaries if canary in everything] == []


@on_sqlite
async def test_real_tools_answer_for_themselves(workshop: Workshop) -> None:
    """Syft, Trivy and Dive run; Trivy has no database, so the native provider judges and says so."""
    await store_advisories(workshop.database, advisories("openssl", "zlib"))
    workshop.tools = ONLY_REAL_TOOLS

    scan = await workshop.scanned(engines=(Engine.SYFT, Engine.DIVE, Engine.TRIVY, Engine.DOCKLE))

    assert (scan.status, scan.partial, scan.grade, scan.package_count) == (ScanStatus.COMPLETE, False, Grade.A, 2)
    ended = await runs(workshop)
    assert {engine: (run.status, run.provider) for engine, run in ended.items()} == {
        Engine.SYFT: (EngineRunStatus.COMPLETE, "syft 1.18.1"),
        Engine.DIVE: (EngineRunStatus.COMPLETE, "dive 0.13.1"),
        Engine.TRIVY: (EngineRunStatus.COMPLETE, "trivy 0.76.0"),
        Engine.DOCKLE: (EngineRunStatus.COMPLETE, PROVIDER),
    }
    assert ended[Engine.TRIVY].message == "trivy has no vulnerability database; the native provider answered"
    packages = {row.name: row for row in await workshop.rows(Package)}
    assert set(packages) == {"openssl", "curl"}, "each once, whoever found it"
    assert set(packages["curl"].sources) == {"native", "syft", "trivy"}
    [vulnerability] = await workshop.rows(Vulnerability)
    assert vulnerability.sources == ["native"], "Trivy did not say so"
    async with workshop.database.read() as session:
        output = await engine_output(session, workshop.principal.organization_id, [scan.id], Engine.SYFT)
    assert '"name":"syft"' in output.content
    messages = [line.message for line in await workshop.rows(ScanLog)]
    assert "syft 1.18.1 has ended: 2 packages" in messages
    assert workshop.scratch() == []


@on_sqlite
async def test_a_tool_with_a_database_judges_without_our_advisories(workshop: Workshop, tmp_path: Path) -> None:
    artifact = {"type": "deb", "name": "openssl", "version": "3.0.1-1"}
    match = {"vulnerability": {"id": "CVE-2024-7777", "severity": "Critical"}, "artifact": artifact}
    body = f"print({json.dumps(json.dumps({'matches': [match]}))})"
    workshop.tools = NO_TOOLS | {Engine.GRYPE: str(write_tool(tmp_path / "bin", "grype", body))}
    database = tmp_path / "databases" / "grype" / "db" / "6" / "vulnerability.db"
    database.parent.mkdir(parents=True)
    database.touch()

    scan = await workshop.scanned(engines=(Engine.GRYPE,))

    assert (scan.status, scan.grade, scan.critical, scan.grade_reason) == (ScanStatus.COMPLETE, Grade.D, 1, None)
    [vulnerability] = await workshop.rows(Vulnerability)
    assert (vulnerability.cve_id, vulnerability.sources) == ("CVE-2024-7777", ["grype"])
    [link] = await workshop.rows(ScanFinding)
    assert link.engines == ["grype"]
    assert {row.name: row.sources for row in await workshop.rows(Package)} == {
        "openssl": ["native"],
        "curl": ["native"],
    }
    run = (await runs(workshop))[Engine.GRYPE]
    assert run.database_date is not None
    assert (run.finding_count, run.provider) == (1, "grype 9.8.7")


@on_sqlite
async def test_a_tool_that_fails_makes_the_scan_partial(workshop: Workshop, tmp_path: Path) -> None:
    workshop.tools = ONLY_REAL_TOOLS | {Engine.SYFT: str(write_tool(tmp_path / "bin", "syft", TRUNCATED))}

    scan = await workshop.scanned(engines=(Engine.SYFT, Engine.DIVE))

    assert (scan.status, scan.partial) == (ScanStatus.COMPLETE, True)
    failed = (await runs(workshop))[Engine.SYFT]
    assert (failed.status, failed.message) == (
        EngineRunStatus.FAILED,
        "syft 9.8.7 printed something that is not JSON",
    )


@on_sqlite
async def test_cancelling_ends_the_tools(workshop: Workshop, tmp_path: Path) -> None:
    workshop.tools = NO_TOOLS | {Engine.SYFT: str(write_tool(tmp_path / "bin", "syft", HANG))}
    workshop.change_limits(heartbeat_seconds=0.1)
    scan_id = await workshop.queue(engines=(Engine.SYFT,))
    async with workshop.runner() as runner:
        working = asyncio.create_task(runner.work_on(await workshop.lease()))

        async def started() -> bool:
            return any("has started" in line.message for line in await workshop.rows(ScanLog))

        await until(started)
        await workshop.cancel(scan_id)
        await working
    assert (await workshop.scan(scan_id)).status is ScanStatus.CANCELLED
    assert workshop.scratch() == []
