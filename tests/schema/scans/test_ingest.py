"""Storing results: all of them or nothing, once, with counters that equal the rows."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from schema.dependencies.models import Layer, Package
from schema.images.models import Digest, Image, Tag
from schema.jobs.models import Job, JobState
from schema.jobs.repository import requeue_orphans
from schema.kernel.upsert import BATCH
from schema.scans.failures import FailureCode
from schema.scans.ingest import EngineResult, distinct
from schema.scans.models import Engine, EngineOutput, EngineRun, EngineRunStatus, ScanPhase, ScanStatus
from schema.scans.repository import engine_output, load_scan
from schema.vulnerabilities.models import ScanFinding, TriageStatus, Vulnerability
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.scores import Grade
from tests.identity import Identity, Member
from tests.schema.scans.factories import (
    DIGEST,
    IMAGE,
    NOW,
    finding,
    lease_of,
    package,
    results,
    rows,
    scanned,
    store,
    trigger,
)

LATER = NOW + timedelta(days=1)
MIXED = (
    finding("CVE-2024-1", Severity.CRITICAL, fixed=()),
    finding("CVE-2024-2", Severity.HIGH),
    finding("CVE-2024-2", Severity.HIGH, of=package("curl", "8.0")),
    finding("CVE-2024-3", Severity.MEDIUM, score=None),
    finding("CVE-2024-4", Severity.LOW),
    finding("CVE-2024-5", Severity.UNKNOWN, score=None, fixed=()),
)


@pytest.fixture
async def ada(identity: Identity) -> Member:
    return await identity.member()


async def test_a_scan_ends_with_its_results(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, results(*MIXED))

    assert (scan.status, scan.phase, scan.progress, scan.partial) == (
        ScanStatus.COMPLETE,
        ScanPhase.DONE,
        100,
        False,
    )
    assert (scan.digest, scan.platform, scan.package_count) == (DIGEST, "linux/amd64", 2)
    assert scan.scanned_at == scan.ordered_at == NOW
    assert (scan.grade, scan.grade_reason) == (Grade.D, None)
    [digest] = await rows(identity.database, Digest)
    assert (digest.digest, digest.operating_system, digest.config) == (DIGEST, "Debian 12", {"user": "app"})
    assert {row.name for row in await rows(identity.database, Package)} == {"openssl", "curl"}
    assert [row.created_by for row in await rows(identity.database, Layer)] == ["ADD rootfs"]
    async with identity.database.read() as session:
        output = await engine_output(session, ada.organization_id, [scan.id], Engine.TRIVY)
    assert (output.media_type, output.content) == ("application/json", '{"findings": []}')


async def test_the_counters_equal_the_rows(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, results(*MIXED))

    links = await rows(identity.database, ScanFinding)
    counted = Counter(link.severity for link in links)
    vulnerabilities = {row.id: row for row in await rows(identity.database, Vulnerability)}
    assert {link.vulnerability_id for link in links} == set(vulnerabilities)
    [image] = await rows(identity.database, Image)
    [tag] = await rows(identity.database, Tag)
    for row in (scan, image, tag):
        assert {severity: getattr(row, severity.value.lower()) for severity in Severity} == dict(counted)
        assert row.fixable == sum(vulnerability.fixable for vulnerability in vulnerabilities.values())
        assert (row.grade, row.risk_score) == (scan.grade, scan.risk_score)
    assert (image.latest_tag, image.latest_digest, image.last_scanned_at) == ("1.4.7", DIGEST, NOW)
    assert (tag.digest, tag.last_scan_id) == (DIGEST, scan.id)


async def test_one_flaw_of_a_package_in_two_places_is_one_finding(identity: Identity, ada: Member) -> None:
    places = [package(path="app/a"), package(path="app/b")]
    twice = [finding(of=place) for place in places]

    scan = await scanned(identity.database, ada.principal, results(*distinct(twice), packages=places))

    [link] = await rows(identity.database, ScanFinding)
    assert (link.path, scan.high) == ("app/a", 1)
    assert len(await rows(identity.database, Package)) == 2
    runs = {run.engine: run for run in await rows(identity.database, EngineRun)}
    assert runs[Engine.TRIVY].finding_count == 1


@given(st.lists(st.sampled_from(MIXED)))
def test_distinct_keeps_the_first_of_each(findings: list[FindingRecord]) -> None:
    assert list(distinct(findings)) == list(dict.fromkeys(findings))


async def test_an_exception_leaves_nothing(identity: Identity, ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    scan_id = await trigger(identity.database, ada.principal)
    lease = await lease_of(identity.database, scan_id)

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("schema.scans.ingest.settle", broken)  # the last step of all
        with pytest.raises(RuntimeError):
            await store(identity.database, lease, results(*MIXED))

    for table in (Vulnerability, ScanFinding, Package, Layer, Digest, EngineOutput):
        assert await rows(identity.database, table) == [], table
    [job] = await rows(identity.database, Job)
    assert job.state is JobState.RUNNING, "the lease is still ours, so that it can be tried again"
    assert await store(identity.database, lease, results(*MIXED))
    assert len(await rows(identity.database, ScanFinding)) == len(MIXED)


async def test_t100_whoever_lost_the_lease_stores_nothing(identity: Identity, ada: Member) -> None:
    scan_id = await trigger(identity.database, ada.principal)
    stale = await lease_of(identity.database, scan_id)
    async with identity.database.write() as session:
        await requeue_orphans(session, now=NOW + timedelta(minutes=1))
    current = await lease_of(identity.database, scan_id)

    assert not await store(identity.database, stale, results(*MIXED))
    assert await rows(identity.database, ScanFinding) == []
    assert await store(identity.database, current, results(finding()))
    assert not await store(identity.database, stale, results(*MIXED))
    assert not await store(identity.database, current, results(*MIXED)), "not even the same worker stores twice"

    assert len(await rows(identity.database, ScanFinding)) == 1
    async with identity.database.read() as session:
        scan = await load_scan(session, ada.organization_id, scan_id)
    assert (scan.status, scan.high) == (ScanStatus.COMPLETE, 1)


async def test_a_rescan_meets_the_same_vulnerabilities(identity: Identity, ada: Member) -> None:
    first = await scanned(identity.database, ada.principal, results(*MIXED))
    before = {row.id: row for row in await rows(identity.database, Vulnerability)}

    changed = [replace(each, title="Known better now", severity=Severity.LOW) for each in MIXED]
    second = await scanned(identity.database, ada.principal, results(*changed), now=LATER)

    after = {row.id: row for row in await rows(identity.database, Vulnerability)}
    assert after.keys() == before.keys()
    for row in after.values():
        assert (row.title, row.severity) == ("Known better now", Severity.LOW)
        assert (row.detected_at, row.is_present) == (NOW, True)
    links = await rows(identity.database, ScanFinding)
    assert Counter(link.scan_id for link in links) == {first.id: len(MIXED), second.id: len(MIXED)}
    assert Counter(link.severity for link in links if link.scan_id == first.id)[Severity.CRITICAL] == 1, (
        "an old scan keeps what it said"
    )


@pytest.mark.parametrize("status", list(TriageStatus))
async def test_only_a_fixed_vulnerability_opens_again(identity: Identity, ada: Member, status: TriageStatus) -> None:
    await scanned(identity.database, ada.principal, results(finding()))
    async with identity.database.write() as session:
        await session.execute(update(Vulnerability).values(status=status, remediated_at=NOW))

    await scanned(identity.database, ada.principal, results(finding()), now=LATER)

    [row] = await rows(identity.database, Vulnerability)
    if status is TriageStatus.FIXED:
        assert (row.status, row.remediated_at) == (TriageStatus.OPEN, None)
    else:
        assert (row.status, row.remediated_at) == (status, NOW)


async def test_another_version_is_another_vulnerability(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(finding()))
    await scanned(identity.database, ada.principal, results(finding(of=package(version="3.0.1-1"))), now=LATER)

    assert len(await rows(identity.database, Vulnerability)) == 2


async def test_t02_organizations_share_no_vulnerability(identity: Identity, ada: Member) -> None:
    bob = await identity.member(email="bob@umbrella.example")
    await scanned(identity.database, ada.principal, results(*MIXED))
    await scanned(identity.database, bob.principal, results(*MIXED))

    owners = Counter(row.organization_id for row in await rows(identity.database, Vulnerability))
    assert owners == {ada.organization_id: len(MIXED), bob.organization_id: len(MIXED)}


async def test_scans_of_one_image_at_once_do_not_block_each_other_for_ever(identity: Identity, ada: Member) -> None:
    many = tuple(finding(f"CVE-2024-{number}") for number in range(BATCH + 100))
    scans = [await trigger(identity.database, ada.principal) for _ in range(3)]
    leases = [await lease_of(identity.database, scan_id) for scan_id in scans]
    orders = [many, many[::-1], many[300:] + many[:300]]

    stored = await asyncio.gather(
        *(store(identity.database, lease, results(*order)) for lease, order in zip(leases, orders, strict=True))
    )

    assert stored == [True, True, True]
    assert len(await rows(identity.database, Vulnerability)) == len(many)
    assert len(await rows(identity.database, ScanFinding)) == 3 * len(many)


async def test_no_grade_comes_with_its_reason(identity: Identity, ada: Member) -> None:
    reason = "No advisory data for npm (3 packages)"

    scan = await scanned(identity.database, ada.principal, results(*MIXED, grade_reason=reason))

    assert (scan.status, scan.grade, scan.risk_score, scan.grade_reason) == (ScanStatus.COMPLETE, None, None, reason)
    assert (scan.grade_key, scan.risk_key) == ("-", -1)
    assert (scan.critical, len(await rows(identity.database, ScanFinding))) == (1, len(MIXED))


async def test_a_clean_image_is_graded(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, results(packages=[package()]))

    assert (scan.grade, scan.risk_score, scan.package_count) == (Grade.A, 0, 1)


async def test_an_image_without_packages_is_stored(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, results(grade_reason="No packages were found"))

    assert (scan.status, scan.package_count, scan.grade) == (ScanStatus.COMPLETE, 0, None)


def ended(engine: Engine, status: EngineRunStatus, message: str | None = None) -> EngineResult:
    return EngineResult(engine=engine, status=status, provider=None, message=message)


async def test_without_a_single_result_a_scan_fails_and_the_verdict_before_stands(
    identity: Identity, ada: Member
) -> None:
    await scanned(identity.database, ada.principal, results(*MIXED))
    engines = (
        ended(Engine.TRIVY, EngineRunStatus.FAILED, "it crashed"),
        ended(Engine.DIVE, EngineRunStatus.SKIPPED, "not installed"),
    )

    scan = await scanned(
        identity.database, ada.principal, results(engines=engines, digest="sha256:" + "e" * 64), now=LATER
    )

    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, FailureCode.ENGINES_FAILED)
    assert scan.failure_reason is not None
    assert "trivy: it crashed" in scan.failure_reason
    assert scan.grade is None
    [tag] = await rows(identity.database, Tag)
    assert (tag.grade, tag.digest) == (Grade.D, DIGEST)


async def test_one_failed_engine_makes_a_scan_partial(identity: Identity, ada: Member) -> None:
    engines = (ended(Engine.TRIVY, EngineRunStatus.COMPLETE), ended(Engine.GRYPE, EngineRunStatus.FAILED, "no"))

    scan = await scanned(identity.database, ada.principal, results(finding(), engines=engines))

    assert (scan.status, scan.partial, scan.high) == (ScanStatus.COMPLETE, True, 1)


async def test_nothing_but_skips_is_complete_without_a_grade(identity: Identity, ada: Member) -> None:
    engines = (ended(Engine.TRIVY, EngineRunStatus.SKIPPED, "no advisory data"),)

    scan = await scanned(identity.database, ada.principal, results(engines=engines, grade_reason="no data"))

    assert (scan.status, scan.grade, scan.grade_reason) == (ScanStatus.COMPLETE, None, "no data")


async def test_long_words_are_cut_and_not_refused(identity: Identity, ada: Member) -> None:
    """PostgreSQL refuses what is longer than its column; what an advisory says must not fail a scan."""
    await scanned(identity.database, ada.principal, results(finding(title="word " * 1000)))

    [row] = await rows(identity.database, Vulnerability)
    assert len(row.title) == 500


async def test_statements_grow_with_batches_and_not_with_findings(identity: Identity, ada: Member) -> None:
    async def statements(count: int) -> int:
        found = results(*(finding(f"CVE-{2000 + count}-{number}") for number in range(count)))
        scan_id = await trigger(identity.database, ada.principal, image=f"acme/app-{count}:1")
        lease = await lease_of(identity.database, scan_id)
        with identity.counted_statements() as sql:
            assert await store(identity.database, lease, found)
        return len(sql)

    few, full, double = [await statements(count) for count in (1, BATCH, 2 * BATCH)]

    assert full == few, "a full batch takes as many statements as one finding"
    assert double - full <= 5, "another batch adds one statement for each table it goes to"


async def test_a_rescan_costs_no_statement_per_finding_either(identity: Identity, ada: Member) -> None:
    found = results(*(finding(f"CVE-2024-{number}") for number in range(BATCH)))
    await scanned(identity.database, ada.principal, found, image=IMAGE)
    async with identity.database.write() as session:
        await session.execute(update(Vulnerability).values(status=TriageStatus.FIXED))

    with identity.counted_statements() as sql:
        await scanned(identity.database, ada.principal, found, now=LATER, image=IMAGE)

    assert len(sql) < 70


async def test_a_verdict_without_a_grade_has_no_risk_either(identity: Identity, ada: Member) -> None:
    unknown = replace(results(*MIXED), grade_reason="No advisory data for Debian:99")

    scan = await scanned(identity.database, ada.principal, unknown)

    assert (scan.grade, scan.risk_score, scan.grade_key, scan.risk_key) == (None, None, "-", -1)
    assert scan.critical == 1
