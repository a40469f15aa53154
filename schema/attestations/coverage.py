"""Which vulnerabilities active attestations cover.

A vulnerability is covered as a whole by an attestation of everything, by one of what was found up to a date, and by those of
tags if every tag whose latest scan sees it has one. For the verdict of a tag its own attestation is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from schema.attestations.models import Attestation, AttestationStatus, ScopeType
from schema.images.models import Tag
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches
from schema.scans.models import Scan
from schema.vulnerabilities.models import ScanFinding, Vulnerability


async def cover(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> None:
    """Brings `exception_id` of the images' vulnerabilities up to date; what nothing covers any more keeps its status."""
    for images in batches(sorted(set(image_ids))):
        covered: dict[str, str] = {}
        for row in await session.execute(_covering(organization_id, images)):
            covered.setdefault(row[0], row[1])
        known = select(col(Vulnerability.id), col(Vulnerability.exception_id)).where(
            tenant(Vulnerability, organization_id),
            col(Vulnerability.exception_id).in_(
                select(col(Attestation.id)).where(tenant(Attestation, organization_id))
            ),
            col(Vulnerability.image_id).in_(images),
        )
        stored: dict[str, str | None] = {row[0]: row[1] for row in await session.execute(known)}
        changes: dict[str | None, list[str]] = {}
        for vulnerability_id in sorted(covered.keys() | stored.keys()):
            attestation_id = covered.get(vulnerability_id)
            if attestation_id != stored.get(vulnerability_id):
                changes.setdefault(attestation_id, []).append(vulnerability_id)
        for attestation_id, ids in changes.items():
            for batch in batches(ids):
                await session.execute(
                    update(Vulnerability)
                    .where(tenant_rows(Vulnerability, organization_id, batch))
                    .values(exception_id=attestation_id)
                )


def is_active(attestation: Any, organization_id: str) -> ColumnElement[bool]:
    return and_(tenant(attestation, organization_id), col(attestation.status) == AttestationStatus.ACTIVE)


def _is_about(attestation: Any, vulnerability: Any) -> ColumnElement[bool]:
    return and_(
        col(attestation.cve_id) == col(vulnerability.cve_id),
        col(attestation.package_name) == col(vulnerability.package_name),
    )


def covers_tag(organization_id: str, vulnerability: Any, tag_id: Any) -> ColumnElement[bool]:
    """Whether a tag's own attestation covers a vulnerability."""
    own = aliased(Attestation)
    about = (is_active(own, organization_id), _is_about(own, vulnerability), col(own.tag_id) == tag_id)
    return exists().where(*about).correlate_except(own)  # the vulnerability is the one asked about, however far out


def _covering(organization_id: str, images: Sequence[str]) -> Select[str, str]:
    """(vulnerability, attestation), the oldest attestation first."""
    widely = or_(
        col(Attestation.scope_type) == ScopeType.BLANKET,
        and_(
            col(Attestation.scope_type) == ScopeType.HISTORICAL,
            col(Attestation.as_of) >= col(Vulnerability.detected_at),
        ),
    )
    of_tag = and_(
        col(Attestation.scope_type) == ScopeType.TAG,
        _sees(organization_id, only=col(Attestation.tag_id)).exists(),
        ~_sees(organization_id, uncovered=True).exists(),
    )
    return (
        select(col(Vulnerability.id), col(Attestation.id))
        .join_from(
            Attestation,
            Vulnerability,
            and_(tenant(Vulnerability, organization_id), _is_about(Attestation, Vulnerability)),
        )
        .where(is_active(Attestation, organization_id), col(Vulnerability.image_id).in_(images), or_(widely, of_tag))
        .order_by(col(Attestation.id))
    )


def _sees(organization_id: str, *, only: Any = None, uncovered: bool = False) -> Select[str]:
    """Tags of the vulnerability's image whose latest scan sees it."""
    tag, scan, finding = aliased(Tag), aliased(Scan), aliased(ScanFinding)
    statement = (
        select(col(tag.id))
        .join_from(tag, scan, col(scan.id) == col(tag.last_scan_id))
        .join(
            finding,
            and_(
                col(finding.scan_id) == func.coalesce(col(scan.findings_of), col(scan.id)),
                col(finding.vulnerability_id) == col(Vulnerability.id),
            ),
        )
        .where(
            tenant(tag, organization_id),
            tenant(scan, organization_id),
            tenant(finding, organization_id),
            col(tag.image_id) == col(Vulnerability.image_id),
        )
    )
    if only is not None:
        statement = statement.where(col(tag.id) == only)
    if uncovered:
        statement = statement.where(~covers_tag(organization_id, Vulnerability, col(tag.id)))
    return statement.correlate(Vulnerability, Attestation)
