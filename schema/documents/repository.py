"""All SQL of documents: one scan with everything it holds, and which scan an image or a tag stands for."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeAlias

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.dependencies.models import Layer, Package
from schema.documents.contents import (
    EngineEntry,
    FindingEntry,
    LayerEntry,
    MisconfigurationEntry,
    PackageEntry,
    ScanContents,
    SecretEntry,
)
from schema.images.models import Digest, Image, Tag
from schema.kernel.errors import conflict, not_found
from schema.kernel.tenancy import tenant
from schema.scans.evidence import ImageEfficiency, LayerUsage, WastedFile
from schema.scans.models import EngineRun, Misconfiguration, Scan, ScanStatus, Secret
from schema.scans.repository import evidence
from schema.vulnerabilities.models import ScanFinding, Vulnerability

_Columns: TypeAlias = "Select[*tuple[Any, ...]]"


async def load_latest(
    session: AsyncSession, organization_id: str, image_id: str, *, tag: str | None = None
) -> ScanContents:
    """What an image, or one of its tags, stands for. Raises as `latest_scan` does."""
    scan_id = await latest_scan(session, organization_id, image_id, tag=tag)
    return await load_contents(session, organization_id, scan_id)


async def latest_scan(session: AsyncSession, organization_id: str, image_id: str, *, tag: str | None = None) -> str:
    """The id of the latest complete scan of an image, or of one of its tags. NOT_FOUND for no such tag.

    CONFLICT when no scan has completed yet.
    """
    statement = select(col(Scan.id)).where(
        tenant(Scan, organization_id), col(Scan.image_id) == image_id, col(Scan.status) == ScanStatus.COMPLETE
    )
    if tag is not None:
        named = select(col(Tag.id)).where(
            tenant(Tag, organization_id), col(Tag.image_id) == image_id, col(Tag.name) == tag
        )
        tag_id = (await session.execute(named)).scalar_one_or_none()
        if tag_id is None:
            raise not_found("Tag")
        statement = statement.where(col(Scan.tag_id) == tag_id)
    latest = statement.order_by(col(Scan.ordered_at).desc(), col(Scan.id).desc()).limit(1)
    scan_id = (await session.execute(latest)).scalar_one_or_none()
    if scan_id is None:
        raise conflict(f"The {'image' if tag is None else 'tag'} has no complete scan yet; scan it, then ask again")
    return scan_id


async def load_contents(session: AsyncSession, organization_id: str, scan_id: str) -> ScanContents:
    """A complete scan in eight statements, whatever it holds. NOT_FOUND; CONFLICT for a scan that is not COMPLETE."""
    scan = await _scan(session, organization_id, scan_id)
    if scan.status is not ScanStatus.COMPLETE or scan.scanned_at is None:
        raise conflict(f"The scan is {scan.status}; only a COMPLETE scan can be taken out or compared")
    return ScanContents(
        scan_id=scan.id,
        image=scan.name,
        reference=scan.reference,
        digest=scan.digest,
        platform=scan.platform,
        operating_system=scan.operating_system,
        grade=scan.grade,
        grade_reason=scan.grade_reason,
        risk_score=scan.risk_score,
        partial=scan.partial,
        started_at=scan.started_at or scan.scanned_at,
        scanned_at=scan.scanned_at,
        engines=await _engines(session, organization_id, scan),
        layers=await _layers(session, organization_id, scan.read_by),
        packages=await _packages(session, organization_id, scan.read_by),
        findings=await _findings(session, organization_id, scan.found_by),
        misconfigurations=await _misconfigurations(session, organization_id, scan.read_by),
        secrets=await _secrets(session, organization_id, scan.read_by),
        efficiency=await _efficiency(session, organization_id, scan.read_by),
    )


async def _scan(session: AsyncSession, organization_id: str, scan_id: str) -> Any:
    content = (
        (col(Digest.organization_id) == col(Scan.organization_id))
        & (col(Digest.image_id) == col(Scan.image_id))
        & (col(Digest.digest) == col(Scan.digest))
    )
    statement = (
        select(
            col(Scan.id),
            col(Scan.reference),
            col(Scan.digest),
            col(Scan.platform),
            col(Scan.scanners),
            col(Scan.status),
            col(Scan.grade),
            col(Scan.grade_reason),
            col(Scan.risk_score),
            col(Scan.partial),
            col(Scan.started_at),
            col(Scan.scanned_at),
            col(Image.name),
            col(Digest.operating_system),
            func.coalesce(col(Scan.inventory_of), col(Scan.id)).label("read_by"),
            func.coalesce(col(Scan.findings_of), col(Scan.id)).label("found_by"),
        )
        .join(Image, col(Image.id) == col(Scan.image_id))
        .outerjoin(Digest, content)
        .where(tenant(Scan, organization_id), col(Scan.id) == scan_id)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise not_found("Scan")
    return row


async def _engines(session: AsyncSession, organization_id: str, scan: Any) -> tuple[EngineEntry, ...]:
    statement: _Columns = select(
        col(EngineRun.engine),
        col(EngineRun.status),
        col(EngineRun.provider),
        col(EngineRun.message),
        col(EngineRun.database_date),
    ).where(tenant(EngineRun, organization_id), col(EngineRun.scan_id) == scan.id)
    entries = [EngineEntry(**row) for row in await _rows(session, statement)]
    return tuple(sorted(entries, key=lambda entry: scan.scanners.index(entry.engine)))


async def _layers(session: AsyncSession, organization_id: str, scan_id: str) -> tuple[LayerEntry, ...]:
    statement: _Columns = select(
        col(Layer.index),
        col(Layer.digest),
        col(Layer.diff_id),
        col(Layer.size_bytes),
        col(Layer.diff_size_bytes),
        col(Layer.file_count),
        col(Layer.created_by),
    ).where(tenant(Layer, organization_id), col(Layer.scan_id) == scan_id)
    return tuple(LayerEntry(**row) for row in await _rows(session, statement))


async def _packages(session: AsyncSession, organization_id: str, scan_id: str) -> tuple[PackageEntry, ...]:
    statement: _Columns = select(
        col(Package.name),
        col(Package.version),
        col(Package.type),
        col(Package.ecosystem),
        col(Package.source_name),
        col(Package.source_version),
        col(Package.purl),
        col(Package.licenses),
        col(Package.architecture),
        col(Package.path),
        col(Package.layer_digest),
        col(Package.layer_index),
        col(Package.sources),
    ).where(tenant(Package, organization_id), col(Package.scan_id) == scan_id)
    return tuple(PackageEntry(**row) for row in await _rows(session, statement))


async def _findings(session: AsyncSession, organization_id: str, scan_id: str) -> tuple[FindingEntry, ...]:
    statement: _Columns = (
        select(
            col(ScanFinding.vulnerability_id),
            col(Vulnerability.cve_id).label("flaw"),
            col(Vulnerability.aliases),
            col(Vulnerability.advisory_ids),
            col(Vulnerability.title),
            col(ScanFinding.severity),
            col(Vulnerability.cvss),
            col(Vulnerability.cvss_vectors),
            col(Vulnerability.package_name),
            col(Vulnerability.package_version),
            col(Vulnerability.package_type),
            col(Vulnerability.fixed_versions),
            col(Vulnerability.status),
            col(ScanFinding.sources),
            col(ScanFinding.severities),
            col(ScanFinding.engines),
            col(ScanFinding.path),
            col(ScanFinding.layer_digest),
            col(ScanFinding.layer_index),
        )
        .join(Vulnerability, col(Vulnerability.id) == col(ScanFinding.vulnerability_id))
        .where(tenant(ScanFinding, organization_id), col(ScanFinding.scan_id) == scan_id)
    )
    return tuple(FindingEntry(**row) for row in await _rows(session, statement))


async def _misconfigurations(
    session: AsyncSession, organization_id: str, scan_id: str
) -> tuple[MisconfigurationEntry, ...]:
    columns = (col(getattr(Misconfiguration, each.name)) for each in fields(MisconfigurationEntry))
    statement: _Columns = select(*columns).where(
        tenant(Misconfiguration, organization_id), col(Misconfiguration.scan_id) == scan_id
    )
    return tuple(MisconfigurationEntry(**row) for row in await _rows(session, statement))


async def _secrets(session: AsyncSession, organization_id: str, scan_id: str) -> tuple[SecretEntry, ...]:
    columns = (col(getattr(Secret, each.name)) for each in fields(SecretEntry))
    statement: _Columns = select(*columns).where(tenant(Secret, organization_id), col(Secret.scan_id) == scan_id)
    return tuple(SecretEntry(**row) for row in await _rows(session, statement))


async def _efficiency(session: AsyncSession, organization_id: str, scan_id: str) -> ImageEfficiency | None:
    found = await evidence(session, organization_id, scan_id)
    if found is None or found.efficiency is None:
        return None
    parts = {
        "layers": tuple(LayerUsage(**each) for each in found.efficiency["layers"]),
        "wasted_files": tuple(WastedFile(**each) for each in found.efficiency["wasted_files"]),
    }
    return ImageEfficiency(**found.efficiency | parts)


async def _rows(session: AsyncSession, statement: _Columns) -> list[dict[str, Any]]:
    """Rows by column; lists become tuples, as values have them."""
    return [
        {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        for row in (await session.execute(statement)).mappings()
    ]
