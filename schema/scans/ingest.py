"""Storing what a scan found: one transaction, atomic, and idempotent because only the holder of the lease commits it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.dependencies.models import Layer, Package
from schema.dependencies.records import Inventory, LayerRecord, PackageRecord
from schema.images.reference import ImageReference
from schema.images.repository import change_image, change_tag, file_digest
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.upsert import insert_rows
from schema.scans import repository
from schema.scans.evidence import CheckOutcome, EvidenceKeys, ImageEfficiency, MisconfigurationRecord, SecretRecord
from schema.scans.failures import FailureCode
from schema.scans.filing import Changes, file_findings, key
from schema.scans.merging import MergedFinding, MergedPackage, Sighted
from schema.scans.models import (
    Engine,
    EngineRunStatus,
    Misconfiguration,
    Scan,
    ScanEvidence,
    ScanPhase,
    ScanStatus,
    Secret,
)
from schema.scans.rules import scan_outcome
from schema.vulnerabilities.records import FindingRecord
from schema.vulnerabilities.severity import severity_rank
from schema.vulnerabilities.verdicts import settle


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
    """What was scanned, as its manifest and config say; of an image that nobody fetched not all is known."""

    digest: str | None
    platform: str | None
    size_bytes: int  # 0: it was not fetched
    operating_system: str | None
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResults:
    """Everything a scan learned; `compressed` makes it ready to be stored.

    With `read_by` the image was read by that earlier scan: its packages, layers, misconfigurations and secrets are shared,
    and there are none here.
    """

    image: FetchedImage
    inventory: Inventory | None  # its layers, and what could not be read; packages are those of all providers
    engines: tuple[EngineResult, ...]
    packages: tuple[MergedPackage, ...] = ()
    findings: tuple[MergedFinding, ...]
    misconfigurations: tuple[Sighted[MisconfigurationRecord], ...] = ()
    secrets: tuple[Sighted[SecretRecord], ...] = ()
    checks: tuple[CheckOutcome, ...] = ()
    efficiency: ImageEfficiency | None = None
    answered: frozenset[str] = frozenset()  # providers that looked for vulnerabilities
    grade_reason: str | None  # why there is no grade; None: grade it
    keys: EvidenceKeys | None = None
    read_by: Scan | None = None


def compressed(results: ScanResults) -> ScanResults:
    """With what the providers printed made smaller, for keeping. Takes its time: not on the event loop."""
    engines = (replace(run, output=run.output and zlib.compress(run.output)) for run in results.engines)
    return replace(results, engines=tuple(engines))


async def ingest(session: AsyncSession, scan: Scan, results: ScanResults, *, now: datetime) -> None:
    """Stores the results and ends the scan. Statements grow with batches of 500 rows, not with findings."""
    organization_id, image = scan.organization_id, results.image
    await file_digest(
        session,
        organization_id,
        scan.image_id,
        digest=image.digest,
        platform=image.platform,
        size_bytes=image.size_bytes,
        operating_system=image.operating_system,
        config=image.config,
        now=now,
    )
    for run in results.engines:
        await _end_engine(session, scan, run)
    if results.read_by is None:
        await _store_reading(session, scan, results)
    changes = await file_findings(
        session, scan, results.findings, answered=results.answered, judged=results.grade_reason is None, now=now
    )
    await _end_scan(session, scan, results, changes, now=now)


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


async def _store_reading(session: AsyncSession, scan: Scan, results: ScanResults) -> None:
    """What was read from the image itself."""
    inventory = results.inventory
    await insert_rows(session, Layer, (_layer_row(scan, layer) for layer in (inventory.layers if inventory else ())))
    await insert_rows(session, Package, (_package_row(scan, each.record, each.sources) for each in results.packages))
    await insert_rows(
        session, Misconfiguration, (_misconfiguration_row(scan, each) for each in results.misconfigurations)
    )
    await insert_rows(session, Secret, (_secret_row(scan, each) for each in results.secrets))
    evidence = {
        "organization_id": scan.organization_id,
        "scan_id": scan.id,
        "unread": list(inventory.unread if inventory else ()),
        "checks": [asdict(each) for each in results.checks],
        "efficiency": results.efficiency and asdict(results.efficiency),
    }
    await insert_rows(session, ScanEvidence, [evidence])


def _layer_row(scan: Scan, layer: LayerRecord) -> dict[str, Any]:
    return {
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


def _misconfiguration_row(scan: Scan, sighted: Sighted[MisconfigurationRecord]) -> dict[str, Any]:
    record = sighted.record
    return {
        "id": new_id(IdPrefix.MISCONFIGURATION),
        **_sighted_columns(scan, sighted),
        "check_id": record.check_id,
        "level": record.level,
        "evidence": list(record.evidence),
        "remediation": record.remediation[:2000],
    }


def _secret_row(scan: Scan, sighted: Sighted[SecretRecord]) -> dict[str, Any]:
    record = sighted.record
    return {
        "id": new_id(IdPrefix.SECRET),
        **_sighted_columns(scan, sighted),
        "rule": record.rule,
        "line": record.line,
        "masked": record.masked[:300],
        "deleted": record.deleted,
        "place": record.place[:300],
    }


def _sighted_columns(scan: Scan, sighted: Sighted[MisconfigurationRecord] | Sighted[SecretRecord]) -> dict[str, Any]:
    record = sighted.record
    return {
        "organization_id": scan.organization_id,
        "scan_id": scan.id,
        "title": record.title[:500],
        "severity": record.severity,
        "severity_key": severity_rank(record.severity),
        "path": record.path,
        "layer_digest": record.layer_digest,
        "layer_index": record.layer_index,
        "sources": list(sighted.sources),
    }


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
        "owner": package.owner,
    }


def distinct(findings: Iterable[FindingRecord]) -> tuple[FindingRecord, ...]:
    """One finding for each flaw of each package version: of one that lies in several places the first place stands."""
    first: dict[object, FindingRecord] = {}
    for finding in findings:
        first.setdefault(key(finding), finding)
    return tuple(first.values())


async def _end_scan(
    session: AsyncSession, scan: Scan, results: ScanResults, changes: Changes, *, now: datetime
) -> None:
    status, partial = scan_outcome(run.status for run in results.engines)
    failed = status is ScanStatus.FAILED
    started = scan.started_at or now
    reasons = "; ".join(f"{run.engine.value}: {run.message}" for run in results.engines if run.message)
    reading = results.read_by
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
        package_count=reading.package_count if reading else len(results.packages),
        misconfiguration_count=reading.misconfiguration_count if reading else len(results.misconfigurations),
        secret_count=reading.secret_count if reading else len(results.secrets),
        inventory_of=reading and (reading.inventory_of or reading.id),
        compared_with=changes.compared_with,
        new_count=changes.new,
        fixed_count=changes.fixed,
        fix_available_count=changes.fix_available,
        evidence_key=results.keys and results.keys.evidence,
        advisory_key=results.keys and results.keys.advisories,
        failure_code=FailureCode.ENGINES_FAILED if failed else None,
        failure_reason=f"No engine produced a result ({reasons})"[:2000] if failed else None,
        grade_reason=None if failed else results.grade_reason,
        duration_ms=int((now - started).total_seconds() * 1000),
        scanned_at=now,
        ordered_at=now,
    )
    if not failed:
        await point_to(session, scan, digest=results.image.digest, now=now)
    await settle(session, scan.organization_id, [scan.image_id])


async def point_to(
    session: AsyncSession, scan: Scan, *, digest: str | None, now: datetime, verdict: Mapping[str, Any] | None = None
) -> None:
    """The image and the tag now are as this scan says. Without the verdict it follows when the image is settled."""
    await change_image(
        session,
        scan.organization_id,
        scan.image_id,
        latest_tag=ImageReference.parse(scan.reference).tag,
        latest_digest=digest,
        last_scanned_at=now,
        **(verdict or {}),
    )
    if scan.tag_id is not None:
        await change_tag(
            session,
            scan.organization_id,
            scan.tag_id,
            digest=digest,
            last_scan_id=scan.id,
            last_scanned_at=now,
            updated_at=now,
            **(verdict or {}),
        )
