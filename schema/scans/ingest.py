"""Storing what a scan found: one transaction, atomic, and idempotent because only the holder of the lease commits it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.dependencies.models import Layer, Package
from schema.dependencies.records import Inventory, PackageRecord, PackageType
from schema.images.reference import ImageReference
from schema.images.repository import change_image, change_tag, file_digest
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import tenant
from schema.kernel.upsert import insert_missing
from schema.scans import repository
from schema.scans.failures import FailureCode
from schema.scans.merging import MergedFinding, MergedPackage
from schema.scans.models import Engine, EngineRunStatus, Scan, ScanPhase, ScanStatus
from schema.scans.rules import scan_outcome
from schema.vulnerabilities import counts
from schema.vulnerabilities.models import ScanFinding, TriageStatus, Vulnerability
from schema.vulnerabilities.records import FindingRecord
from schema.vulnerabilities.scores import SeverityCounts, grade, risk_score
from schema.vulnerabilities.severity import severity_rank

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineResult:
    """How one requested engine ended. `output` is what its provider printed, kept as evidence."""

    engine: Engine
    status: EngineRunStatus
    provider: str | None
    message: str | None = None
    database_date: datetime | None = None
    coverage: tuple[Mapping[str, Any], ...] = ()
    finding_count: int = 0
    package_count: int = 0
    started_at: datetime | None = None
    duration_ms: int | None = None
    output: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedImage:
    """What was scanned, as its manifest and config say."""

    digest: str
    platform: str
    size_bytes: int
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResults:
    """Everything a scan learned, ready to be stored."""

    image: FetchedImage
    inventory: Inventory | None  # system and layers; packages are those of all providers
    engines: tuple[EngineResult, ...]
    packages: tuple[MergedPackage, ...]
    findings: tuple[MergedFinding, ...]
    grade_reason: str | None  # why there is no grade; None: grade it
    warnings: tuple[str, ...] = field(default=())


async def ingest(session: AsyncSession, scan: Scan, results: ScanResults, *, now: datetime) -> None:
    """Stores the results and ends the scan. Statements grow with batches of 500 rows, not with findings."""
    organization_id = scan.organization_id
    operating_system = results.inventory.operating_system if results.inventory else None
    await file_digest(
        session,
        organization_id,
        scan.image_id,
        digest=results.image.digest,
        platform=results.image.platform,
        size_bytes=results.image.size_bytes,
        operating_system=operating_system.name if operating_system else None,
        config=results.image.config,
        now=now,
    )
    for run in results.engines:
        await _end_engine(session, scan, run)
    if results.inventory is not None:
        await _store_layers(session, scan, results.inventory)
    await _store_packages(session, scan, results.packages)
    triage = await _store_findings(session, scan, results, now=now)
    await counts.refresh(session, organization_id, scan.image_id)
    await _end_scan(session, scan, results, triage, now=now)


async def _end_engine(session: AsyncSession, scan: Scan, run: EngineResult) -> None:
    await repository.change_engine_run(
        session,
        scan.organization_id,
        scan.id,
        run.engine,
        status=run.status,
        provider=run.provider,
        message=run.message,
        database_date=run.database_date,
        coverage=[dict(entry) for entry in run.coverage],
        finding_count=run.finding_count,
        package_count=run.package_count,
        started_at=run.started_at,
        duration_ms=run.duration_ms,
    )
    if run.output is not None:
        row = await repository.engine_run_id(session, scan.organization_id, scan.id, run.engine)
        await repository.keep_engine_output(
            session, scan.organization_id, row, run.output, media_type="application/json"
        )


def _batches(rows: Sequence[dict[str, Any]]) -> Iterable[Sequence[dict[str, Any]]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


async def _store_packages(session: AsyncSession, scan: Scan, packages: Iterable[MergedPackage]) -> None:
    for batch in _batches([_package_row(scan, each.record, each.sources) for each in packages]):
        await session.execute(insert(Package), list(batch))


async def _store_layers(session: AsyncSession, scan: Scan, inventory: Inventory) -> None:
    layers = [
        {
            "id": new_id(IdPrefix.LAYER),
            "organization_id": scan.organization_id,
            "scan_id": scan.id,
            "index": layer.index,
            "digest": layer.digest,
            "diff_id": layer.diff_id,
            "size_bytes": layer.size,
            "diff_size_bytes": layer.diff_size,
            "file_count": layer.file_count,
            "created_by": layer.created_by[:4000],
        }
        for layer in inventory.layers
    ]
    if layers:
        await session.execute(insert(Layer), layers)


def _package_row(scan: Scan, package: PackageRecord, sources: Sequence[str]) -> dict[str, Any]:
    return {
        "id": new_id(IdPrefix.PACKAGE),
        "organization_id": scan.organization_id,
        "scan_id": scan.id,
        "name": package.name,
        "version": package.version,
        "type": package.type,
        "ecosystem": package.ecosystem,
        "source_name": package.source_name,
        "source_version": package.source_version,
        "purl": package.purl,
        "licenses": list(package.licenses),
        "architecture": package.architecture,
        "path": package.path,
        "layer_digest": package.layer_digest,
        "layer_index": package.layer_index,
        "sources": list(sources),
    }


_Key = tuple[str, str, str, PackageType]


def _key(finding: FindingRecord) -> _Key:
    return (finding.vulnerability_id, finding.package.name, finding.package.version, finding.package.type)


def distinct(findings: Iterable[FindingRecord]) -> tuple[FindingRecord, ...]:
    """One finding for each flaw of each package version: of one that lies in several places the first place stands."""
    first: dict[_Key, FindingRecord] = {}
    for finding in findings:
        first.setdefault(_key(finding), finding)
    return tuple(first.values())


async def _store_findings(
    session: AsyncSession, scan: Scan, results: ScanResults, *, now: datetime
) -> dict[_Key, tuple[str, TriageStatus]]:
    """Files each finding under its vulnerability, new or known, and links it to the scan. Returns what is filed where."""
    # In one order for everybody: two scans of one image at once must wait for each other's rows, not for ever.
    findings = {_key(each.record): each for each in sorted(results.findings, key=lambda each: _key(each.record))}
    rows = [_vulnerability_row(scan, finding, now=now) for finding in findings.values()]
    for batch in _batches(rows):
        await insert_missing(
            session,
            Vulnerability,
            batch,
            unique=("organization_id", "image_id", "cve_id", "package_name", "package_version", "package_type"),
        )
    filed = await _filed_vulnerabilities(session, scan)
    await _refresh_known(session, scan, findings, filed, now=now)
    links = [
        {
            "id": new_id(IdPrefix.FINDING),
            "organization_id": scan.organization_id,
            "scan_id": scan.id,
            "vulnerability_id": filed[key][0],
            "severity": finding.record.severity,
            "severity_key": severity_rank(finding.record.severity),
            "sources": list(finding.sources),
            "agreement": len(finding.sources),
            "engines": [engine.value for engine in finding.engines],
            "path": finding.record.package.path,
            "layer_digest": finding.record.package.layer_digest,
            "layer_index": finding.record.package.layer_index,
        }
        for key, finding in findings.items()
    ]
    for batch in _batches(links):
        await session.execute(insert(ScanFinding), list(batch))
    return {key: filed[key] for key in findings}


def _vulnerability_row(scan: Scan, merged: MergedFinding, *, now: datetime) -> dict[str, Any]:
    finding = merged.record
    return {
        "id": new_id(IdPrefix.VULNERABILITY),
        "organization_id": scan.organization_id,
        "image_id": scan.image_id,
        "cve_id": finding.vulnerability_id,
        "package_name": finding.package.name,
        "package_version": finding.package.version,
        "package_type": finding.package.type,
        "status": TriageStatus.OPEN,
        "detected_at": now,
        **_statement(merged, now=now),
    }


def _statement(merged: MergedFinding, *, now: datetime) -> dict[str, Any]:
    """What the latest scan says of a vulnerability; the triage is not part of it."""
    finding = merged.record
    return {
        "aliases": list(finding.aliases),
        "advisory_ids": list(finding.advisory_ids),
        "title": finding.title[:500],
        "severity": finding.severity,
        "severity_key": severity_rank(finding.severity),
        "cvss": finding.cvss_score,
        "cvss_key": -1.0 if finding.cvss_score is None else finding.cvss_score,
        "cvss_vectors": list(finding.cvss_vectors),
        "fixed_versions": list(finding.fixed_versions),
        "fixable": bool(finding.fixed_versions),
        "sources": list(merged.sources),
        "agreement": len(merged.sources),
        "last_seen_at": now,
    }


async def _filed_vulnerabilities(session: AsyncSession, scan: Scan) -> dict[_Key, tuple[str, TriageStatus]]:
    statement = select(
        col(Vulnerability.id),
        col(Vulnerability.status),
        col(Vulnerability.cve_id),
        col(Vulnerability.package_name),
        col(Vulnerability.package_version),
        col(Vulnerability.package_type),
    ).where(tenant(Vulnerability, scan.organization_id), col(Vulnerability.image_id) == scan.image_id)
    return {
        (row.cve_id, row.package_name, row.package_version, row.package_type): (row.id, row.status)
        for row in await session.execute(statement)
    }


async def _refresh_known(
    session: AsyncSession,
    scan: Scan,
    findings: Mapping[_Key, MergedFinding],
    filed: Mapping[_Key, tuple[str, TriageStatus]],
    *,
    now: datetime,
) -> None:
    """Advisories change between scans; a fixed one that is seen again is open again."""
    table = Vulnerability.metadata.tables["vulnerabilities"]
    changes = [
        {
            "row": filed[key][0],
            **{f"new_{name}": value for name, value in _statement(finding, now=now).items()},
        }
        for key, finding in findings.items()
    ]
    if not changes:
        return
    names = [name.removeprefix("new_") for name in changes[0] if name != "row"]
    statement = (
        update(table)
        .where(tenant(Vulnerability, scan.organization_id), table.c.id == bindparam("row"))
        .values({name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names})
    )
    connection = await session.connection()
    for batch in _batches(changes):
        await connection.execute(statement, list(batch))
    reopened = [filed[key][0] for key in findings if filed[key][1] is TriageStatus.FIXED]
    for start in range(0, len(reopened), BATCH):
        await session.execute(
            update(Vulnerability)
            .where(
                tenant(Vulnerability, scan.organization_id),
                col(Vulnerability.id).in_(reopened[start : start + BATCH]),
            )
            .values(status=TriageStatus.OPEN, remediated_at=None)
        )


def verdict(findings: Iterable[FindingRecord], *, graded: bool) -> dict[str, Any]:
    """The stored counters of a scan, a tag or an image, with their sort keys."""
    open_findings = list(findings)
    by_severity = SeverityCounts.of(finding.severity for finding in open_findings)
    given = grade(by_severity) if graded else None
    # No exploit intelligence is imported yet: EPSS is unknown and nothing is known to be exploited.
    risk = risk_score((finding.severity, None, False) for finding in open_findings) if graded else None
    return {
        "critical": by_severity.critical,
        "high": by_severity.high,
        "medium": by_severity.medium,
        "low": by_severity.low,
        "unknown": by_severity.unknown,
        "fixable": sum(bool(finding.fixed_versions) for finding in open_findings),
        "kev": 0,
        "grade": given,
        "grade_key": given.value if given else "-",
        "risk_score": risk,
        "risk_key": -1 if risk is None else risk,
    }


async def _end_scan(
    session: AsyncSession,
    scan: Scan,
    results: ScanResults,
    filed: Mapping[_Key, tuple[str, TriageStatus]],
    *,
    now: datetime,
) -> None:
    status, partial = scan_outcome(run.status for run in results.engines)
    failed = status is ScanStatus.FAILED
    findings = {_key(each.record): each.record for each in results.findings}
    numbers = verdict((findings[key] for key in filed), graded=not failed and results.grade_reason is None)
    started = scan.started_at or now
    reasons = "; ".join(f"{run.engine.value}: {run.message}" for run in results.engines if run.message)
    await repository.change_scan(
        session,
        scan.organization_id,
        scan.id,
        status=status,
        phase=ScanPhase.DONE,
        progress=100,
        partial=partial,
        digest=results.image.digest,
        platform=results.image.platform,
        package_count=len(results.packages),
        failure_code=FailureCode.ENGINES_FAILED if failed else None,
        failure_reason=f"No engine produced a result ({reasons})"[:2000] if failed else None,
        grade_reason=None if failed else results.grade_reason,
        duration_ms=int((now - started).total_seconds() * 1000),
        scanned_at=now,
        ordered_at=now,
        **numbers,
    )
    if failed:
        return
    await change_image(
        session,
        scan.organization_id,
        scan.image_id,
        latest_tag=ImageReference.parse(scan.reference).tag,
        latest_digest=results.image.digest,
        last_scanned_at=now,
        **numbers,
    )
    if scan.tag_id is not None:
        await change_tag(
            session,
            scan.organization_id,
            scan.tag_id,
            digest=results.image.digest,
            last_scan_id=scan.id,
            last_scanned_at=now,
            updated_at=now,
            **numbers,
        )
