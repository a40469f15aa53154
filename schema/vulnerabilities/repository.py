"""All SQL of vulnerabilities and of what scans found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, String, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories.models import Advisory
from schema.images.models import Image
from schema.kernel.errors import not_found
from schema.kernel.pagination import Page, PageRequest, SortOrder, fetch_page
from schema.kernel.search import contains
from schema.kernel.tenancy import tenant
from schema.scans.models import Scan
from schema.vulnerabilities.models import ScanFinding, TriageStatus, Vulnerability
from schema.vulnerabilities.records import Severity

SIGHTINGS = 20

_COLUMNS: tuple[Any, ...] = (
    col(Vulnerability.id),
    col(Vulnerability.cve_id),
    col(Vulnerability.aliases),
    col(Vulnerability.advisory_ids),
    col(Vulnerability.title),
    col(Vulnerability.severity),
    col(Vulnerability.severity_key),
    col(Vulnerability.cvss),
    col(Vulnerability.cvss_key),
    col(Vulnerability.cvss_vectors),
    col(Vulnerability.package_name),
    col(Vulnerability.package_version),
    col(Vulnerability.package_type),
    col(Vulnerability.fixed_versions),
    col(Vulnerability.fixable),
    col(Vulnerability.status),
    col(Vulnerability.sources),
    col(Vulnerability.image_id),
    col(Vulnerability.detected_at),
    col(Vulnerability.last_seen_at),
    col(Vulnerability.remediated_at),
    col(Image.name).label("image"),
)
_SORTS = {
    "severity": col(Vulnerability.severity_key),
    "cveId": col(Vulnerability.cve_id),
    "detectedAt": col(Vulnerability.detected_at),
    "cvss": col(Vulnerability.cvss_key),
    "triageStatus": col(Vulnerability.status),
}
_FINDING_SORTS = {"severity": col(ScanFinding.severity_key)}
_WORST_FIRST = SortOrder(column="severity", descending=True)


def _vulnerabilities(organization_id: str) -> Select[Any]:
    return (
        select(*_COLUMNS)
        .join(Image, col(Image.id) == col(Vulnerability.image_id))
        .where(tenant(Vulnerability, organization_id))
    )


async def list_vulnerabilities(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    severities: Sequence[Severity] | None = None,
    statuses: Sequence[TriageStatus] | None = None,
    scanner: str | None = None,
    image: str | None = None,
    package: str | None = None,
    cve_id: str | None = None,
    search: str | None = None,
) -> Page[Any]:
    """`image` is an image's id or its name; `scanner` a provider that reported the flaw itself."""
    statement = _vulnerabilities(organization_id)
    if severities:
        statement = statement.where(col(Vulnerability.severity).in_(severities))
    if statuses:
        statement = statement.where(col(Vulnerability.status).in_(statuses))
    if scanner:
        # A provider's name in a JSON list of names: quoted, so that `osv` does not find `osv-scanner`.
        statement = statement.where(contains(cast(col(Vulnerability.sources), String), f'"{scanner}"'))
    if image:
        statement = statement.where(or_(col(Vulnerability.image_id) == image, col(Image.name) == image))
    if package:
        statement = statement.where(col(Vulnerability.package_name) == package)
    if cve_id:
        statement = statement.where(col(Vulnerability.cve_id) == cve_id)
    if search:
        statement = statement.where(
            or_(
                contains(col(Vulnerability.cve_id), search),
                contains(col(Vulnerability.package_name), search),
                contains(col(Vulnerability.title), search),
                contains(col(Image.name), search),
            )
        )
    return await fetch_page(
        session, statement, request, keys=_SORTS, default=_WORST_FIRST, row_id=col(Vulnerability.id)
    )


async def get_vulnerability(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Any:
    statement = _vulnerabilities(organization_id).where(col(Vulnerability.id) == vulnerability_id)
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise not_found("Vulnerability")
    return row


async def advisories_of(session: AsyncSession, advisory_ids: Sequence[str]) -> Sequence[Any]:
    """The texts behind a vulnerability. Advisories are shared by every organization."""
    columns = (
        col(Advisory.id),
        col(Advisory.summary),
        col(Advisory.details),
        col(Advisory.severity),
        col(Advisory.references),
        col(Advisory.published_at),
        col(Advisory.modified_at),
    )
    statement = select(*columns).where(col(Advisory.id).in_(advisory_ids)).order_by(col(Advisory.id))
    return (await session.execute(statement)).all()


async def latest_sightings(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Sequence[Any]:
    statement = (
        select(
            col(ScanFinding.scan_id),
            col(Scan.reference),
            col(Scan.digest),
            col(ScanFinding.path),
            col(ScanFinding.layer_digest),
            col(ScanFinding.layer_index),
            col(Scan.scanned_at),
        )
        .join(Scan, col(Scan.id) == col(ScanFinding.scan_id))
        .where(tenant(ScanFinding, organization_id), col(ScanFinding.vulnerability_id) == vulnerability_id)
        .order_by(col(Scan.ordered_at).desc())
        .limit(SIGHTINGS)
    )
    return (await session.execute(statement)).all()


async def list_findings(
    session: AsyncSession,
    organization_id: str,
    scan_id: str,
    request: PageRequest,
    *,
    severities: Sequence[Severity] | None = None,
    fixable: bool | None = None,
    search: str | None = None,
) -> Page[Any]:
    """What one scan saw, worst first."""
    statement = (
        select(
            col(ScanFinding.id),
            col(ScanFinding.severity_key),
            col(ScanFinding.severity),
            col(ScanFinding.sources),
            col(ScanFinding.engines),
            col(ScanFinding.path),
            col(ScanFinding.layer_digest),
            col(ScanFinding.layer_index),
            col(ScanFinding.vulnerability_id),
            col(Vulnerability.cve_id),
            col(Vulnerability.aliases),
            col(Vulnerability.title),
            col(Vulnerability.cvss),
            col(Vulnerability.cvss_vectors),
            col(Vulnerability.package_name),
            col(Vulnerability.package_version),
            col(Vulnerability.package_type),
            col(Vulnerability.fixed_versions),
            col(Vulnerability.fixable),
            col(Vulnerability.status),
        )
        .join(Vulnerability, col(Vulnerability.id) == col(ScanFinding.vulnerability_id))
        .where(tenant(ScanFinding, organization_id), col(ScanFinding.scan_id) == scan_id)
    )
    if severities:
        statement = statement.where(col(ScanFinding.severity).in_(severities))
    if fixable is not None:
        statement = statement.where(col(Vulnerability.fixable).is_(fixable))
    if search:
        statement = statement.where(
            or_(
                contains(col(Vulnerability.cve_id), search),
                contains(col(Vulnerability.package_name), search),
                contains(col(Vulnerability.title), search),
            )
        )
    return await fetch_page(
        session, statement, request, keys=_FINDING_SORTS, default=_WORST_FIRST, row_id=col(ScanFinding.id)
    )
