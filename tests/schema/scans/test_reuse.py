"""Results that several scans share: nothing is copied, and nothing is lost when the scan that holds them is deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schema.dependencies.models import Layer, Package
from schema.kernel.pagination import page_request
from schema.scans import repository
from schema.scans.evidence import (
    CheckLevel,
    CheckOutcome,
    EvidenceKeys,
    ImageEfficiency,
    MisconfigurationRecord,
    SecretRecord,
)
from schema.scans.merging import Sighted
from schema.scans.models import Engine, EngineOutput, EngineRun, Misconfiguration, Scan, ScanEvidence, Secret
from schema.scans.reuse import find_equal, load_reading, share
from schema.scans.trigger import delete_scan
from schema.vulnerabilities.models import ScanFinding
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.repository import latest_sightings, list_findings
from tests.identity import Identity, Member
from tests.schema.scans.factories import DIGEST, NOW, finding, results, rows, scanned, trigger

KEYS = EvidenceKeys(evidence="e" * 64, advisories="a" * 64)
NEWER = EvidenceKeys(evidence="e" * 64, advisories="b" * 64)
ALL = page_request(page=None, limit=None, sort=None, after=None)
SECRET = SecretRecord(
    rule="aws-access-key-id",
    title="AWS access key",
    severity=Severity.CRITICAL,
    path="app/.env",
    line=3,
    masked="AKIA…",
    layer_digest="sha256:" + "b" * 64,
    layer_index=0,
)
CHECK = MisconfigurationRecord(
    check_id="CIS-DI-0001",
    title="Runs as root",
    level=CheckLevel.WARN,
    severity=Severity.MEDIUM,
    evidence=("User is empty",),
    remediation="Set USER",
)
FOUND = results(
    finding("CVE-2024-1"),
    finding("CVE-2024-2"),
    misconfigurations=(Sighted(CHECK, ("native",)),),
    secrets=(Sighted(SECRET, ("native", "trivy")),),
    checks=(CheckOutcome(check_id="CIS-DI-0001", failures=1), CheckOutcome(check_id="CIS-DI-0008", failures=0)),
    efficiency=ImageEfficiency(total_bytes=10, wasted_bytes=1, efficiency=0.9, layers=(), wasted_files=()),
    keys=KEYS,
)


@pytest.fixture
async def ada(identity: Identity) -> Member:
    return await identity.member()


async def rescanned(identity: Identity, ada: Member, equal: Scan, *, days: int = 1) -> Scan:
    now = NOW + timedelta(days=days)
    scan_id = await trigger(identity.database, ada.principal, now=now)
    async with identity.database.write() as session:
        scan = await repository.load_scan(session, ada.organization_id, scan_id)
        await share(session, scan, equal, KEYS, now=now)
    async with identity.database.read() as session:
        return await repository.load_scan(session, ada.organization_id, scan_id)


async def shown(identity: Identity, scan: Scan) -> dict[str, object]:
    """Everything a scan shows that may be another one's."""
    organization = scan.organization_id
    async with identity.database.read() as session:
        row = await repository.get_scan(session, organization, scan.id)
        findings = await list_findings(session, organization, row.found_by, ALL, seen_in=row.id)
        packages = await repository.list_packages(session, organization, row.read_by, ALL)
        failed = await repository.list_sighted(session, repository.MISCONFIGURATIONS, organization, row.read_by, ALL)
        secrets = await repository.list_sighted(session, repository.SECRETS, organization, row.read_by, ALL)
        evidence = await repository.evidence(session, organization, row.read_by)
        output = await repository.engine_output(
            session, organization, [scan.id, row.found_by, row.read_by], Engine.TRIVY
        )
        return {
            "findings": sorted(each.cve_id for each in findings.items),
            "packages": sorted(each.name for each in packages.items),
            "misconfigurations": [(each.check_id, each.level, each.sources) for each in failed.items],
            "secrets": [(each.rule, each.masked, each.line, each.sources) for each in secrets.items],
            "layers": [each.created_by for each in await repository.layers(session, organization, row.read_by)],
            "checks": evidence.checks,
            "efficiency": evidence.efficiency["efficiency"],
            "output": output.content,
            "verdict": (row.grade, row.high, row.package_count, row.misconfiguration_count, row.secret_count),
        }


async def test_a_scan_shows_all_it_learned(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, FOUND)

    assert await shown(identity, scan) == {
        "findings": ["CVE-2024-1", "CVE-2024-2"],
        "packages": ["openssl"],
        "misconfigurations": [("CIS-DI-0001", "WARN", ["native"])],
        "secrets": [("aws-access-key-id", "AKIA…", 3, ["native", "trivy"])],
        "layers": ["ADD rootfs"],
        "checks": [{"check_id": "CIS-DI-0001", "failures": 1}, {"check_id": "CIS-DI-0008", "failures": 0}],
        "efficiency": 0.9,
        "output": '{"findings": []}',
        "verdict": ("B", 2, 1, 1, 1),
    }


async def new_in(identity: Identity, scan: Scan) -> list[str]:
    """Of all it shows, what it says is new."""
    async with identity.database.read() as session:
        page = await list_findings(session, scan.organization_id, scan.findings_of or scan.id, ALL, seen_in=scan.id)
    return sorted(row.cve_id for row in page.items if row.is_new)


async def test_shared_results_are_shown_and_not_copied(identity: Identity, ada: Member) -> None:
    first = await scanned(identity.database, ada.principal, FOUND)
    second = await rescanned(identity, ada, first)
    third = await rescanned(identity, ada, second, days=2)

    assert (third.inventory_of, third.findings_of) == (first.id, first.id)
    assert await shown(identity, third) == await shown(identity, second) == await shown(identity, first)
    assert (second.compared_with, second.new_count, second.fixed_count) == (first.id, 0, 0)
    assert await new_in(identity, first) == ["CVE-2024-1", "CVE-2024-2"]
    assert await new_in(identity, third) == []
    for table in (Package, ScanFinding, Misconfiguration, Secret, ScanEvidence, EngineOutput):
        assert {getattr(row, "scan_id", first.id) for row in await rows(identity.database, table)} == {first.id}
    [sighting] = {row.vulnerability_id for row in await rows(identity.database, ScanFinding)} and [
        await _sightings(identity, ada)
    ]
    assert sighting == [third.id, second.id, first.id], "each of them saw it"
    runs = [run for run in await rows(identity.database, EngineRun) if run.scan_id == third.id]
    assert {(run.provider, run.finding_count) for run in runs} == {
        (run.provider, run.finding_count) for run in await rows(identity.database, EngineRun) if run.scan_id == first.id
    }


async def _sightings(identity: Identity, ada: Member) -> list[str]:
    row = (await rows(identity.database, ScanFinding))[0]
    async with identity.database.read() as session:
        return [each.scan_id for each in await latest_sightings(session, ada.organization_id, row.vulnerability_id)]


@pytest.mark.parametrize("deleted", [0, 1, 2])
async def test_what_is_shared_outlives_each_of_the_scans(identity: Identity, ada: Member, deleted: int) -> None:
    first = await scanned(identity.database, ada.principal, FOUND)
    scans = [first, await rescanned(identity, ada, first), await rescanned(identity, ada, first, days=2)]
    before = await shown(identity, first)

    async with identity.database.write() as session:
        await delete_scan(session, scans.pop(deleted).id, ada.principal, now=NOW)

    for scan in scans:
        assert await shown(identity, scan) == before
    async with identity.database.write() as session:
        await delete_scan(session, scans.pop().id, ada.principal, now=NOW)
    assert await shown(identity, scans[0]) == before
    async with identity.database.write() as session:
        await delete_scan(session, scans.pop().id, ada.principal, now=NOW)
    for table in (Package, Layer, ScanFinding, Misconfiguration, Secret, ScanEvidence, EngineOutput, EngineRun):
        assert await rows(identity.database, table) == [], table


async def test_only_an_equal_is_found(identity: Identity, ada: Member) -> None:
    first = await scanned(identity.database, ada.principal, FOUND)
    other = await identity.member(email="bob@umbrella.example")

    async def found(member: Member, keys: EvidenceKeys = KEYS, digest: str = DIGEST) -> Scan | None:
        scan_id = await trigger(identity.database, member.principal)
        async with identity.database.read() as session:
            scan = await repository.load_scan(session, member.organization_id, scan_id)
            return await find_equal(session, scan, digest, keys)

    equal = await found(ada)
    assert equal is not None
    assert equal.id == first.id
    assert await found(ada, NEWER) is None
    assert await found(ada, EvidenceKeys(evidence="x", advisories=KEYS.advisories)) is None
    assert await found(ada, digest="sha256:" + "0" * 64) is None
    assert await found(other) is None, "T-02: of another organization"
    await scanned(identity.database, ada.principal, results(keys=KEYS, digest="sha256:" + "9" * 64))
    assert await found(ada) is None, "the tag has moved on, so there is something to compare"


async def test_a_reading_has_what_it_takes_to_judge(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, FOUND)

    async with identity.database.read() as session:
        reading = await load_reading(session, scan)

    assert reading.image == FOUND.image
    assert list(reading.packages) == [each.record for each in FOUND.packages]
