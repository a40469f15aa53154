"""What is filed when a scan meets the one before it: news alone, what is new, what is gone, what has got a fix."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlmodel import col

from schema.images.models import Image
from schema.kernel.pagination import page_request
from schema.scans.ingest import EngineResult
from schema.scans.merging import Voice, merge
from schema.scans.models import Engine, EngineRunStatus, Scan
from schema.vulnerabilities.models import OPEN_STATUSES, ScanFinding, TriageStatus, Vulnerability, VulnerabilityCount
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.repository import get_vulnerability, list_findings
from tests.identity import Identity, Member
from tests.schema.scans.factories import NOW, finding, package, results, rows, scanned

LATER = NOW + timedelta(days=1)
FLAWS = tuple(finding(f"CVE-2024-{number}") for number in range(4))
OTHER_TAG = "ghcr.io/acme/api:2"


@pytest.fixture
async def ada(identity: Identity) -> Member:
    return await identity.member()


async def filed(identity: Identity) -> dict[str, Vulnerability]:
    return {row.cve_id: row for row in await rows(identity.database, Vulnerability)}


async def new_in(identity: Identity, scan: Scan) -> list[str]:
    request = page_request(page=None, limit=None, sort=None, after=None)
    async with identity.database.read() as session:
        owner = scan.findings_of or scan.id
        page = await list_findings(session, scan.organization_id, owner, request, seen_in=scan.id, new=True)
    return sorted(row.cve_id for row in page.items)


async def test_a_first_scan_has_nothing_to_compare_with(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, results(*FLAWS))

    assert (scan.compared_with, scan.new_count, scan.fixed_count, scan.fix_available_count) == (None, None, None, None)
    assert len(await new_in(identity, scan)) == len(FLAWS), "to whoever has seen none everything is new"


async def test_unchanged_findings_write_nothing_but_the_scan_s_own_rows(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(*FLAWS))

    with identity.counted_statements() as statements:
        scan = await scanned(identity.database, ada.principal, results(*FLAWS), now=LATER)

    assert not [each for each in statements if "vulnerabilities" in each and each.startswith(("INSERT", "UPDATE"))]
    assert (scan.new_count, scan.fixed_count, scan.fix_available_count) == (0, 0, 0)
    assert await new_in(identity, scan) == []


async def test_what_is_new_and_what_is_gone(identity: Identity, ada: Member) -> None:
    before = await scanned(identity.database, ada.principal, results(*FLAWS[:3]))

    scan = await scanned(identity.database, ada.principal, results(*FLAWS[1:]), now=LATER)

    assert (scan.compared_with, scan.new_count, scan.fixed_count) == (before.id, 1, 1)
    assert await new_in(identity, scan) == ["CVE-2024-3"]
    found = await filed(identity)
    gone = found["CVE-2024-0"]
    assert (gone.is_present, gone.status, gone.remediated_at) == (False, TriageStatus.FIXED, LATER)
    assert gone.last_seen_at == NOW
    assert {row.status for name, row in found.items() if name != "CVE-2024-0"} == {TriageStatus.OPEN}
    async with identity.database.read() as session:
        shown = await get_vulnerability(session, ada.organization_id, found["CVE-2024-1"].id)
    assert shown.last_seen_at == LATER.strftime("%Y-%m-%dT%H:%M:%S.000Z"), "it is there, so it was seen just now"


async def test_what_comes_back_is_open_again(identity: Identity, ada: Member) -> None:
    for number, found in enumerate((FLAWS, FLAWS[1:], FLAWS)):
        scan = await scanned(identity.database, ada.principal, results(*found), now=NOW + timedelta(days=number))

    row = (await filed(identity))["CVE-2024-0"]
    assert (row.is_present, row.status, row.remediated_at) == (True, TriageStatus.OPEN, None)
    assert await new_in(identity, scan) == ["CVE-2024-0"]


async def test_a_newer_version_with_the_same_flaw_is_neither_new_nor_fixed(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(finding()))

    scan = await scanned(identity.database, ada.principal, results(finding(of=package(version="3.0.1-1"))), now=LATER)

    assert (scan.new_count, scan.fixed_count) == (0, 0)
    present = {row.package_version: row.is_present for row in await rows(identity.database, Vulnerability)}
    assert present == {"3.0.1": False, "3.0.1-1": True}


async def test_what_another_tag_still_has_is_not_gone(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(*FLAWS))
    await scanned(identity.database, ada.principal, results(*FLAWS), image=OTHER_TAG)

    first = await scanned(identity.database, ada.principal, results(*FLAWS[1:]), now=LATER)
    assert first.fixed_count == 1, "in this tag"
    assert (await filed(identity))["CVE-2024-0"].status is TriageStatus.OPEN

    await scanned(identity.database, ada.principal, results(*FLAWS[1:]), now=LATER, image=OTHER_TAG)
    assert (await filed(identity))["CVE-2024-0"].status is TriageStatus.FIXED


async def test_a_decision_not_to_fix_it_outlives_the_flaw(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(*FLAWS))
    async with identity.database.write() as session:
        await session.execute(update(Vulnerability).values(status=TriageStatus.WONT_FIX))

    await scanned(identity.database, ada.principal, results(), now=LATER)

    assert {(row.is_present, row.status) for row in await rows(identity.database, Vulnerability)} == {
        (False, TriageStatus.WONT_FIX)
    }


async def test_nothing_is_gone_that_was_not_looked_for(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(*FLAWS))
    skipped = EngineResult(engine=Engine.TRIVY, status=EngineRunStatus.SKIPPED, provider=None, message="no data")

    no_data = replace(results(engines=(skipped,), grade_reason="no data"), answered=frozenset())
    assert (await scanned(identity.database, ada.principal, no_data, now=LATER)).fixed_count is None
    half = replace(results(*FLAWS[:1], grade_reason="No advisory data for npm (3 packages)"))
    scan = await scanned(identity.database, ada.principal, half, now=LATER, image=OTHER_TAG)
    assert scan.fixed_count is None

    assert all(row.is_present for row in await rows(identity.database, Vulnerability))


async def test_what_a_tool_reported_is_not_gone_before_that_tool_says_so(identity: Identity, ada: Member) -> None:
    merged = merge([Voice(source="trivy", engines=(Engine.TRIVY,), findings=FLAWS)])
    by_trivy = replace(results(*FLAWS), findings=merged.findings, answered=frozenset({"trivy"}))
    await scanned(identity.database, ada.principal, by_trivy)

    scan = await scanned(identity.database, ada.principal, results(), now=LATER)

    assert scan.fixed_count == 0
    assert all(row.is_present for row in await rows(identity.database, Vulnerability))


async def test_a_fix_that_has_appeared_is_counted(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(finding("CVE-2024-1", fixed=()), finding("CVE-2024-2")))

    scan = await scanned(
        identity.database, ada.principal, results(finding("CVE-2024-1"), finding("CVE-2024-2")), now=LATER
    )

    assert (scan.fix_available_count, scan.new_count) == (1, 0)


async def test_every_provider_s_rating_is_kept(identity: Identity, ada: Member) -> None:
    voices = [
        Voice(source="native", engines=(Engine.TRIVY,), findings=(finding(severity=Severity.HIGH),)),
        Voice(source="grype", engines=(Engine.GRYPE,), findings=(finding(severity=Severity.CRITICAL),)),
    ]
    await scanned(identity.database, ada.principal, replace(results(), findings=merge(voices).findings))

    [link] = await rows(identity.database, ScanFinding)
    assert link.severities == {"native": "HIGH", "grype": "CRITICAL"}
    [vulnerability] = await rows(identity.database, Vulnerability)
    assert (vulnerability.severity, vulnerability.severities) == (Severity.HIGH, link.severities)


async def test_counts_follow(identity: Identity, ada: Member) -> None:
    for number, found in enumerate((FLAWS, FLAWS[2:], FLAWS[1:])):
        await scanned(identity.database, ada.principal, results(*found), now=NOW + timedelta(days=number))

        async with identity.database.read() as session:
            truly = select(func.count()).where(
                col(Vulnerability.organization_id) == ada.organization_id, col(Vulnerability.status).in_(OPEN_STATUSES)
            )
            opened = (await session.execute(truly)).scalar_one()
        stored = [row for row in await rows(identity.database, VulnerabilityCount) if not row.image_id]
        [image] = await rows(identity.database, Image)
        assert opened == len(found) == image.high
        assert sum(row.count for row in stored if row.status in OPEN_STATUSES) == opened
