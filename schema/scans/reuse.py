"""Results that stand for more than one scan: an image that was read, or judged, before is not read, or judged, again.

A scan that shares another's rows points to it; when that one is deleted, its rows go to one that shares them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.dependencies.models import Layer, Package
from schema.dependencies.records import PackageRecord
from schema.images.models import Digest, Tag
from schema.kernel.columns import TenantTable, all_columns, metadata
from schema.kernel.tenancy import tenant
from schema.scans import repository
from schema.scans.evidence import EvidenceKeys
from schema.scans.filing import reopen_fixed
from schema.scans.ingest import FetchedImage, point_to
from schema.scans.models import (
    EngineOutput,
    EngineRun,
    Misconfiguration,
    Scan,
    ScanEvidence,
    ScanPhase,
    ScanStatus,
    Secret,
)
from schema.vulnerabilities.models import ScanFinding
from schema.vulnerabilities.verdict import VerdictColumns
from schema.vulnerabilities.verdicts import settle

_READING = (Package, Layer, Misconfiguration, Secret, ScanEvidence)
_VERDICT = tuple(name for name in VerdictColumns.model_fields if name != "organization_id")
_COPIED = ("digest", "platform", "partial", "package_count", "misconfiguration_count", "secret_count", "grade_reason")
_RUN = ("status", "provider", "database_date", "coverage", "finding_count", "package_count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an earlier scan read from an image, as far as it takes to judge it."""

    scan: Scan
    image: FetchedImage
    packages: tuple[PackageRecord, ...]
    unread: tuple[str, ...]


async def find_equal(session: AsyncSession, scan: Scan, digest: str, keys: EvidenceKeys) -> Scan | None:
    """The scan whose results are those this one would have; None when there is none that is sure.

    For a tag it is the tag's own latest: what changed since the one before is then nothing.
    """
    statement = _complete(scan.organization_id, digest, keys).where(
        col(Scan.image_id) == scan.image_id, col(Scan.advisory_key).is_not_distinct_from(keys.advisories)
    )
    if scan.tag_id is not None:
        last = select(col(Tag.last_scan_id)).where(tenant(Tag, scan.organization_id), col(Tag.id) == scan.tag_id)
        statement = statement.where(col(Scan.id) == last.scalar_subquery())
    return (await session.execute(statement)).scalar_one_or_none()


async def find_reading(session: AsyncSession, organization_id: str, digest: str, keys: EvidenceKeys) -> Scan | None:
    """A scan that read the same image, in whatever repository of the organization, the way this one would."""
    return (await session.execute(_complete(organization_id, digest, keys))).scalar_one_or_none()


def _complete(organization_id: str, digest: str, keys: EvidenceKeys) -> Any:
    return (
        select(Scan)
        .where(
            tenant(Scan, organization_id),
            col(Scan.digest) == digest,
            col(Scan.evidence_key) == keys.evidence,
            col(Scan.status) == ScanStatus.COMPLETE,
            col(Scan.partial).is_(False),
        )
        .order_by(col(Scan.ordered_at).desc(), col(Scan.id).desc())
        .limit(1)
    )


async def load_reading(session: AsyncSession, scan: Scan) -> Reading:
    owner, organization_id = scan.inventory_of or scan.id, scan.organization_id
    packages = select(*all_columns(Package)).where(tenant(Package, organization_id), col(Package.scan_id) == owner)
    digest = select(Digest).where(
        tenant(Digest, organization_id), col(Digest.image_id) == scan.image_id, col(Digest.digest) == scan.digest
    )
    unread = select(col(ScanEvidence.unread)).where(
        tenant(ScanEvidence, organization_id), col(ScanEvidence.scan_id) == owner
    )
    stored = (await session.execute(digest)).scalar_one()
    return Reading(
        scan=scan,
        image=FetchedImage(
            digest=stored.digest,
            platform=stored.platform,
            size_bytes=stored.size_bytes,
            operating_system=stored.operating_system,
            config=stored.config,
        ),
        packages=tuple(_package(row) for row in await session.execute(packages) if "native" in row.sources),
        unread=tuple((await session.execute(unread)).scalar_one()),
    )


def _package(row: Any) -> PackageRecord:
    return PackageRecord(
        name=row.name,
        version=row.version,
        type=row.type,
        ecosystem=row.ecosystem,
        source_name=row.source_name,
        source_version=row.source_version,
        purl=row.purl,
        licenses=tuple(row.licenses),
        architecture=row.architecture,
        path=row.path,
        layer_digest=row.layer_digest,
        layer_index=row.layer_index,
        owner=row.owner,
    )


async def share(session: AsyncSession, scan: Scan, equal: Scan, keys: EvidenceKeys, *, now: datetime) -> None:
    """Ends the scan with the results of its equal. No row is written but the scan's own."""
    verdict = {name: getattr(equal, name) for name in _VERDICT}
    await _share_runs(session, scan, equal, now=now)
    await repository.change_scan(
        session,
        scan.organization_id,
        scan.id,
        status=ScanStatus.COMPLETE,
        phase=ScanPhase.DONE,
        progress=100,
        inventory_of=equal.inventory_of or equal.id,
        findings_of=equal.findings_of or equal.id,
        compared_with=equal.id if scan.tag_id else None,
        new_count=0 if scan.tag_id else None,
        fixed_count=0 if scan.tag_id else None,
        fix_available_count=0 if scan.tag_id else None,
        evidence_key=keys.evidence,
        advisory_key=keys.advisories,
        duration_ms=int((now - (scan.started_at or now)).total_seconds() * 1000),
        scanned_at=now,
        ordered_at=now,
        **{name: getattr(equal, name) for name in _COPIED},
        **verdict,
    )
    assert equal.digest is not None, "a complete scan has read an image"
    await point_to(session, scan, digest=equal.digest, now=now, verdict=verdict)
    reopened = await reopen_fixed(session, scan, now=now)
    if reopened or scan.tag_id is None:
        # Otherwise the verdict is that of the tag's latest scan, which is kept up to date.
        await settle(session, scan.organization_id, [scan.image_id])


async def _share_runs(session: AsyncSession, scan: Scan, equal: Scan, *, now: datetime) -> None:
    rows = await repository.engine_runs(session, scan.organization_id, equal.id)
    table = metadata.tables["engine_runs"]
    statement = (
        update(table)
        .where(
            tenant(EngineRun, scan.organization_id), table.c.scan_id == scan.id, table.c.engine == bindparam("which")
        )
        .values({name: bindparam(f"new_{name}", type_=table.c[name].type) for name in _RUN})
        .values(message=f"Not run again: the result is that of scan {equal.id}", started_at=now, duration_ms=0)
    )
    connection = await session.connection()
    await connection.execute(
        statement, [{"which": row.engine} | {f"new_{name}": getattr(row, name) for name in _RUN} for row in rows]
    )


async def hand_over(session: AsyncSession, organization_id: str, scan_id: str) -> None:
    """Before a scan is deleted: what others share of it goes to the oldest of them."""
    await _hand_over(session, organization_id, scan_id, "inventory_of", _READING)
    await _hand_over(session, organization_id, scan_id, "findings_of", (ScanFinding,))


async def _hand_over(
    session: AsyncSession, organization_id: str, scan_id: str, link: str, tables: tuple[type[TenantTable], ...]
) -> None:
    sharing = (tenant(Scan, organization_id), metadata.tables["scans"].c[link] == scan_id)
    heir = (await session.execute(select(func.min(col(Scan.id))).where(*sharing))).scalar_one()
    if heir is None:
        return
    for table in tables:
        owner = metadata.tables[str(table.__tablename__)].c.scan_id
        await session.execute(
            update(table).where(tenant(table, organization_id), owner == scan_id).values(scan_id=heir)
        )
    if link == "inventory_of":
        await _hand_over_outputs(session, organization_id, scan_id, heir)
    await session.execute(update(Scan).where(*sharing, col(Scan.id) == heir).values({link: None}))
    await session.execute(update(Scan).where(*sharing).values({link: heir}))


async def _hand_over_outputs(session: AsyncSession, organization_id: str, scan_id: str, heir: str) -> None:
    runs = {row.engine: row.id for row in await repository.engine_runs(session, organization_id, heir)}
    for row in await repository.engine_runs(session, organization_id, scan_id):
        if row.engine in runs:
            await session.execute(
                update(EngineOutput)
                .where(tenant(EngineOutput, organization_id), col(EngineOutput.engine_run_id) == row.id)
                .values(engine_run_id=runs[row.engine])
            )
