"""What a scan learned, in the fewest words, and scans to store it for."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from schema.dependencies.records import Inventory, LayerRecord, OperatingSystem, PackageRecord, PackageType
from schema.jobs.models import JobState
from schema.jobs.repository import Lease, finish, lease_next
from schema.kernel.columns import Table
from schema.kernel.database import Database
from schema.kernel.principal import Principal
from schema.scans.ingest import EngineResult, FetchedImage, ScanResults, compressed, ingest
from schema.scans.merging import Voice, merge
from schema.scans.models import Engine, EngineRunStatus, Scan
from schema.scans.repository import load_scan
from schema.scans.rules import VULNERABILITY_ENGINES
from schema.scans.trigger import ScanRequest, queue_scan
from schema.vulnerabilities.records import FindingRecord, Severity

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
IMAGE = "ghcr.io/acme/api:1.4.7"
DIGEST = "sha256:" + "d" * 64
LAYER = "sha256:" + "a" * 64


def package(name: str = "openssl", version: str = "3.0.1", *, path: str = "var/lib/dpkg/status") -> PackageRecord:
    return PackageRecord(
        name=name,
        version=version,
        type=PackageType.DEB,
        ecosystem="Debian:12",
        source_name=name,
        source_version=version,
        purl=f"pkg:deb/debian/{name}@{version}",
        licenses=("Apache-2.0",),
        architecture="amd64",
        path=path,
        layer_digest=LAYER,
        layer_index=0,
    )


def finding(
    identity: str = "CVE-2024-1",
    severity: Severity = Severity.HIGH,
    *,
    of: PackageRecord | None = None,
    fixed: tuple[str, ...] = ("3.0.2",),
    score: float | None = 7.5,
    title: str = "A flaw",
) -> FindingRecord:
    return FindingRecord(
        vulnerability_id=identity,
        aliases=(f"GHSA-{identity}",),
        advisory_ids=(f"DSA-{identity}",),
        package=of or package(),
        severity=severity,
        cvss_score=score,
        cvss_vectors=(),
        fixed_versions=fixed,
        title=title,
    )


def results(
    *findings: FindingRecord,
    packages: Iterable[PackageRecord] | None = None,
    engines: tuple[EngineResult, ...] | None = None,
    grade_reason: str | None = None,
    digest: str = DIGEST,
    **more: Any,
) -> ScanResults:
    """Trivy's and Syft's, answered by the native provider, unless told otherwise."""
    held = tuple({found.package: None for found in findings} if packages is None else packages)
    layer = LayerRecord(
        index=0,
        digest="sha256:" + "b" * 64,
        diff_id=LAYER,
        media_type="application/vnd.oci.image.layer.v1.tar",
        size=10,
        diff_size=100,
        file_count=3,
        created_by="ADD rootfs",
    )
    if engines is None:
        engines = (
            EngineResult(
                engine=Engine.TRIVY,
                status=EngineRunStatus.COMPLETE,
                provider="native 0",
                finding_count=len(findings),
                package_count=len(held),
                output=b'{"findings": []}',
            ),
            EngineResult(
                engine=Engine.SYFT, status=EngineRunStatus.COMPLETE, provider="native 0", package_count=len(held)
            ),
        )
    judged = tuple(run.engine for run in engines if run.engine in VULNERABILITY_ENGINES)
    merged = merge([Voice(source="native", engines=judged, packages=held, findings=findings)])
    return ScanResults(
        image=FetchedImage(
            operating_system="Debian 12", digest=digest, platform="linux/amd64", size_bytes=10, config={"user": "app"}
        ),
        inventory=Inventory(
            operating_system=OperatingSystem(id="debian", name="Debian 12", version="12", ecosystem="Debian:12"),
            packages=held,
            layers=(layer,),
        ),
        engines=engines,
        packages=merged.packages,
        findings=merged.findings,
        answered=frozenset({"native"}),
        grade_reason=grade_reason,
        **more,
    )


async def trigger(
    database: Database,
    principal: Principal,
    *,
    image: str = IMAGE,
    scanners: tuple[Engine, ...] = (Engine.TRIVY, Engine.SYFT),
    now: datetime = NOW,
    **more: Any,
) -> str:
    request = ScanRequest(image=image, scanners=scanners, **more)
    async with database.write() as session:
        return await queue_scan(session, request, principal, now=now)


async def lease_of(database: Database, scan_id: str) -> Lease:
    async with database.write() as session:
        lease = await lease_next(session, owner="worker-1", now=NOW, seconds=30, subject_id=scan_id)
    assert lease is not None
    return lease


async def store(database: Database, lease: Lease, found: ScanResults, *, now: datetime = NOW) -> bool:
    """As a worker does: ends the job and stores in one transaction. False when the lease is another's by now."""
    async with database.write() as session:
        if not await finish(session, lease, JobState.DONE, now=now):
            return False
        scan = await load_scan(session, lease.organization_id, lease.subject_id)
        await ingest(session, scan, compressed(found), now=now)
    return True


async def scanned(
    database: Database, principal: Principal, found: ScanResults, *, now: datetime = NOW, image: str = IMAGE
) -> Scan:
    """A whole scan, from trigger to result."""
    engines = tuple(run.engine for run in found.engines)
    scan_id = await trigger(database, principal, now=now, image=image, scanners=engines)
    assert await store(database, await lease_of(database, scan_id), found, now=now)
    async with database.read() as session:
        return await load_scan(session, principal.organization_id, scan_id)


async def rows(database: Database, table: type[Table]) -> list[Any]:
    """Every row of a table, of all organizations."""
    async with database.read() as session:
        return list((await session.execute(select(table))).scalars())
