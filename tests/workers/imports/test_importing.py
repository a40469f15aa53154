"""A report from the upload to the verdict: stored, read in the child, matched where it judges nothing, told apart."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest

from schema.dependencies.models import Package
from schema.images.models import Digest, Image, Tag
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.scans.failures import FailureCode
from schema.scans.formats import HEAD, ReportFormat
from schema.scans.models import Engine, EngineRun, EngineRunStatus, Scan, ScanLog, ScanStatus
from schema.scans.repository import engine_output
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from schema.vulnerabilities.scores import Grade
from tests.app.site import on_sqlite
from tests.workers.engines.test_reports import GRYPE, OSV, TRIVY
from tests.workers.imports.samples import CURL, DIGEST, OPENSSL, TRIVY_SARIF, sbom
from tests.workers.secrets.samples import ALNUM, made_up
from tests.workers.workshop import Workshop, advisories, store_advisories
from workers.engines.native import PROVIDER
from workers.sandbox import MIB, SandboxLimits

DISTRO = {"id": "debian", "versionID": "12", "prettyName": "Debian GNU/Linux 12 (bookworm)"}
SYFT = {
    "artifacts": [
        {"name": "libssl3", "version": "3.0.1-1", "type": "deb", "metadata": {"source": "openssl", "architecture": "amd64"}},
        {"name": "curl", "version": "7.88.0-1", "type": "deb"},
        {"name": "linux", "version": "6.1", "type": "linux-kernel"},
    ],
    "source": {"type": "image", "metadata": {"manifestDigest": DIGEST, "os": "linux", "architecture": "arm64"}},
    "distro": DISTRO,
    "descriptor": {"name": "syft", "version": "1.18.1", "configuration": {"secret": "canary"}},
}  # fmt: skip


async def runs(workshop: Workshop, scan: Scan) -> dict[Engine, EngineRun]:
    return {run.engine: run for run in await workshop.rows(EngineRun) if run.scan_id == scan.id}


async def log(workshop: Workshop) -> str:
    return "\n".join(line.message for line in await workshop.rows(ScanLog))


async def test_packages_without_findings_are_matched_by_us(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl", "zlib"))

    scan = await workshop.import_(SYFT)

    assert (scan.status, scan.failure_reason) == (ScanStatus.COMPLETE, None)
    assert (scan.grade, scan.grade_reason, scan.unknown, scan.package_count) == (Grade.A, None, 1, 2)
    assert (scan.digest, scan.platform, scan.scanners) == (DIGEST, "linux/arm64", ["syft", "osv"])
    [vulnerability] = await workshop.rows(Vulnerability)
    assert (vulnerability.cve_id, vulnerability.package_name, vulnerability.sources) == (
        "CVE-2024-1000",
        "libssl3",
        ["native"],
    )
    assert {tuple(package.sources) for package in await workshop.rows(Package)} == {("syft",)}
    ended = await runs(workshop, scan)
    assert (ended[Engine.SYFT].provider, ended[Engine.SYFT].package_count) == ("syft 1.18.1", 2)
    osv = ended[Engine.OSV]
    assert (osv.status, osv.provider, osv.finding_count) == (EngineRunStatus.COMPLETE, PROVIDER, 1)
    assert [entry["ecosystem"] for entry in osv.coverage] == ["Debian:12"]
    assert "1 linux-kernel" in await log(workshop)


@on_sqlite
async def test_without_advisory_data_there_is_no_verdict(workshop: Workshop) -> None:
    scan = await workshop.import_(SYFT)

    assert (scan.status, scan.grade) == (ScanStatus.COMPLETE, None)
    assert "Debian:12 (2 packages)" in str(scan.grade_reason)
    assert (await runs(workshop, scan))[Engine.OSV].status is EngineRunStatus.SKIPPED


@on_sqlite
async def test_nobody_judges_for_the_report_where_the_operator_forbids_it(workshop: Workshop) -> None:
    workshop.native_fallback = False
    await store_advisories(workshop.database, advisories("openssl"))

    scan = await workshop.import_(SYFT)

    osv = (await runs(workshop, scan))[Engine.OSV]
    assert (osv.status, scan.grade, scan.unknown) == (EngineRunStatus.SKIPPED, None, 0)
    assert "HARBORGUARD_NATIVE_FALLBACK" in str(osv.message)


@on_sqlite
async def test_a_report_with_findings_is_its_engine_s_answer_and_nobody_else_s(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))

    scan = await workshop.import_({**TRIVY, "Metadata": {"OS": {"Family": "debian", "Name": "12.5"}}})

    assert (scan.status, scan.grade, scan.high, scan.unknown) == (ScanStatus.COMPLETE, Grade.B, 1, 1)
    assert (scan.scanners, scan.digest, scan.platform) == (["trivy"], None, None)
    assert {tuple(each.sources) for each in await workshop.rows(Vulnerability)} == {("trivy",)}
    assert {tuple(each.engines) for each in await workshop.rows(ScanFinding)} == {("trivy",)}
    [run] = (await runs(workshop, scan)).values()
    assert (run.provider, run.finding_count, run.coverage) == ("trivy", 2, [])


@on_sqlite
@pytest.mark.parametrize(
    ("document", "provider", "found", "packages"),
    [
        (GRYPE | {"descriptor": {"name": "grype", "version": "0.87.0"}, "distro": DISTRO}, "grype 0.87.0", 3, 2),
        (OSV, "osv-scanner", 2, 1),
    ],
)
async def test_of_a_report_of_findings_only_those_packages_are_known(
    workshop: Workshop, document: dict[str, Any], provider: str, found: int, packages: int
) -> None:
    scan = await workshop.import_(document)

    [run] = (await runs(workshop, scan)).values()
    assert (run.provider, run.finding_count, run.package_count) == (provider, found, packages)
    assert (scan.package_count, len(await workshop.rows(Package))) == (packages, packages)


@on_sqlite
async def test_trivy_names_no_flaws_also_when_it_did_not_look(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    document = deepcopy(TRIVY)
    document["Metadata"] = {"OS": {"Family": "debian", "Name": "12.5"}}
    for result in document["Results"]:  # type: ignore[attr-defined]
        result.pop("Vulnerabilities", None)

    scan = await workshop.import_(document)

    [run] = (await runs(workshop, scan)).values()
    assert (run.engine, run.finding_count) == (Engine.TRIVY, 1)
    assert "the native provider answered" in str(run.message)
    assert [each.sources for each in await workshop.rows(Vulnerability)] == [["native"]]


VULNERABLE: dict[str, Any] = {
    "vulnerabilities": [
        {
            "id": "CVE-2024-0001",
            "source": {"name": "NVD"},
            "references": [{"id": "GHSA-aaaa-bbbb-cccc", "source": {"name": "GitHub"}}],
            "ratings": [{"severity": "critical", "source": {"name": "NVD"}}, {"severity": "low"}],
            "description": "a flaw",
            "affects": [{"ref": OPENSSL}],
        },
        {"id": "CVE-2024-0009", "affects": [{"ref": CURL}], "analysis": {"state": "not_affected"}},
    ]
}


async def test_what_another_tool_found_is_never_shown_as_an_engine_s(workshop: Workshop) -> None:
    scan = await workshop.import_(sbom(OPENSSL, CURL, **VULNERABLE))

    assert (scan.status, scan.grade, scan.critical, scan.scanners) == (
        ScanStatus.COMPLETE,
        Grade.D,
        1,
        ["syft", "osv"],
    )
    ended = await runs(workshop, scan)
    assert {run.provider for run in ended.values()} == {"cyclonedx (cdxgen 10.1)"}
    [vulnerability] = await workshop.rows(Vulnerability)
    assert (vulnerability.aliases, vulnerability.sources) == (["GHSA-aaaa-bbbb-cccc"], ["cyclonedx"])
    assert "1 findings are stated as not affected" in await log(workshop)


@on_sqlite
async def test_findings_that_cannot_be_taken_over_leave_no_grade(workshop: Workshop) -> None:
    foreign = [{"id": "CVE-2024-0001", "affects": [{"ref": "pkg:swift/a/b@1"}]}]
    scan = await workshop.import_(sbom(CURL, "pkg:swift/a/b@1", vulnerabilities=foreign))

    assert (scan.status, scan.grade) == (ScanStatus.COMPLETE, None)
    assert scan.grade_reason == "1 findings of the report could not be taken over"
    assert "1 swift" in await log(workshop)


@on_sqlite
async def test_sarif_of_an_engine_s_tool(workshop: Workshop) -> None:
    scan = await workshop.import_(TRIVY_SARIF)

    assert (scan.scanners, scan.medium, scan.grade, scan.digest) == (["trivy"], 1, Grade.A, DIGEST)


@on_sqlite
async def test_who_sends_it_knows_the_image_better(workshop: Workshop) -> None:
    mine = "sha256:" + "1" * 64
    scan = await workshop.import_(SYFT, digest=mine, platform="linux/amd64")

    assert (scan.digest, scan.platform) == (mine, "linux/amd64")
    [tag] = await workshop.rows(Tag)
    [image] = await workshop.rows(Image)
    assert (tag.digest, tag.last_scan_id, image.latest_digest) == (mine, scan.id, mine)
    assert await workshop.rows(Digest) == [], "nobody has seen its content"


@on_sqlite
async def test_a_scan_of_the_image_afterwards_files_its_content(workshop: Workshop) -> None:
    await workshop.import_(SYFT)
    scan = await workshop.scanned()

    assert [(each.digest, each.size_bytes > 0) for each in await workshop.rows(Digest)] == [(scan.digest, True)]


@on_sqlite
async def test_evidence_is_kept_without_what_could_be_a_secret(workshop: Workshop) -> None:
    token = "ghp_" + made_up(ALNUM, 36)
    scan = await workshop.import_({**SYFT, "files": [{"note": f"token {token}"}]})

    async with workshop.database.read() as session:
        kept = await engine_output(session, workshop.principal.organization_id, [scan.id], Engine.SYFT)
    assert "libssl3" in kept.content
    assert token not in kept.content
    assert "canary" not in kept.content


# --- What is no report

MANY = b'{"artifacts": [' + b"[" * 3000


@on_sqlite
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"artifacts": [', "not valid JSON"),
        (MANY, "not valid JSON"),
        (b'{"artifacts": {"a": 1}}', "no usable Syft JSON"),
        (b'{"padding": "' + b"x" * HEAD + b'", "what": 1}', "of no format that is read here"),
        (orjson.dumps({"bomFormat": "CycloneDX", "specVersion": "1.3"}), "version 1.3; read are 1.4 to 1.7"),
        (orjson.dumps({"spdxVersion": "SPDX-3.0"}), "version SPDX-3.0; read are SPDX-2.2 and SPDX-2.3"),
        (orjson.dumps({"runs": [], "version": "2.0.0"}), "version 2.0.0; read is 2.1.0"),
        (orjson.dumps({"SchemaVersion": 1, "ArtifactName": "x"}), "another schema version than 2"),
    ],
)
async def test_what_is_no_report_fails_alone_and_stores_nothing(workshop: Workshop, content: bytes, said: str) -> None:
    scan = await workshop.import_(content)

    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, FailureCode.REPORT_INVALID)
    assert said in str(scan.failure_reason)
    assert (scan.scanners, await workshop.rows(Package), await workshop.rows(EngineRun)) == ([], [], [])
    assert (await workshop.import_(SYFT)).status is ScanStatus.COMPLETE


@on_sqlite
async def test_another_format_than_said_is_seen_by_the_reader_at_the_latest(workshop: Workshop) -> None:
    late = b'{"padding": "' + b"x" * HEAD + b'", "artifacts": []}'

    scan = await workshop.import_(late, stated=ReportFormat.GRYPE)
    with pytest.raises(HarborGuardError, match="is Syft JSON, not Grype JSON") as refused:
        await workshop.import_(SYFT, stated=ReportFormat.GRYPE)

    assert (scan.failure_code, refused.value.code) == (FailureCode.REPORT_INVALID, ErrorCode.BAD_REQUEST)
    assert len([path for path in (workshop.directory / "uploads").rglob("*") if path.is_file()]) == 1


@on_sqlite
async def test_a_report_that_takes_too_much_memory_fails_alone(workshop: Workshop) -> None:
    workshop.change_limits(analysis=SandboxLimits(memory_bytes=256 * MIB))

    scan = await workshop.import_(b'{"artifacts": [' + b"[[]]," * 1_000_000 + b"[]]}")

    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, FailureCode.LIMIT_EXCEEDED)
    assert "Reading the report" in str(scan.failure_reason)
