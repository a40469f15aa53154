"""All SQL of vulnerabilities and of what scans found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import String, cast, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories.models import Advisory
from schema.images.models import Image
from schema.kernel.errors import not_found
from schema.kernel.pagination import Join, Listing, Page, PageRequest, SortOrder, Wanted, fetch_page
from schema.kernel.rows import as_text
from schema.kernel.search import contains
from schema.kernel.tenancy import tenant
from schema.scans.models import Scan
from schema.vulnerabilities import counts
from schema.vulnerabilities.models import ScanFinding, TriageStatus, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

SIGHTINGS = 20

# What the GraphQL types of a flaw read, by attribute.
_FLAW: dict[str, Any] = {
    "cve_id": col(Vulnerability.cve_id),
    "aliases": col(Vulnerability.aliases),
    "advisory_ids": col(Vulnerability.advisory_ids),
    "title": col(Vulnerability.title),
    "cvss": col(Vulnerability.cvss),
    "cvss_vectors": col(Vulnerability.cvss_vectors),
    "package_name": col(Vulnerability.package_name),
    "package_version": col(Vulnerability.package_version),
    "package_type": as_text(Vulnerability.package_type),
    "fixed_versions": col(Vulnerability.fixed_versions),
    "fixable": col(Vulnerability.fixable),
    "status": as_text(Vulnerability.status),
}
VULNERABILITIES = Listing(
    Vulnerability,
    columns={
        **_FLAW,
        "id": col(Vulnerability.id),
        "severity": as_text(Vulnerability.severity),
        "sources": col(Vulnerability.sources),
        "agreement": col(Vulnerability.agreement),
        "image_id": col(Vulnerability.image_id),
        "image": col(Image.name),
        "detected_at": col(Vulnerability.detected_at),
        "last_seen_at": col(Vulnerability.last_seen_at),
        "remediated_at": col(Vulnerability.remediated_at),
    },
    joins=[Join(target=Image, on=col(Image.id) == col(Vulnerability.image_id), columns=frozenset({"image"}))],
    sorts={
        "severity": col(Vulnerability.severity_key),
        "cveId": col(Vulnerability.cve_id),
        "detectedAt": col(Vulnerability.detected_at),
        "cvss": col(Vulnerability.cvss_key),
        "triageStatus": col(Vulnerability.status),
    },
    default=SortOrder(column="severity", descending=True),
)
FINDINGS = Listing(
    ScanFinding,
    columns={
        **_FLAW,
        "id": col(ScanFinding.id),
        "severity": as_text(ScanFinding.severity),
        "sources": col(ScanFinding.sources),
        "agreement": col(ScanFinding.agreement),
        "engines": col(ScanFinding.engines),
        "path": col(ScanFinding.path),
        "layer_digest": col(ScanFinding.layer_digest),
        "layer_index": col(ScanFinding.layer_index),
        "vulnerability_id": col(ScanFinding.vulnerability_id),
    },
    joins=[
        Join(
            target=Vulnerability,
            on=col(Vulnerability.id) == col(ScanFinding.vulnerability_id),
            columns=frozenset(_FLAW),
        )
    ],
    sorts={"severity": col(ScanFinding.severity_key)},
    default=SortOrder(column="severity", descending=True),
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
    wanted: Wanted = None,
) -> Page[Any]:
    """`image` is an image's id or its name; `scanner` a provider that reported the flaw itself."""
    matching = select(col(Vulnerability.id)).where(tenant(Vulnerability, organization_id))
    if severities:
        # The rank says the same as the severity, and is in the index of the default order.
        ranks = [severity_rank(severity) for severity in severities]
        matching = matching.where(col(Vulnerability.severity_key).in_(ranks))
    if statuses:
        matching = matching.where(col(Vulnerability.status).in_(statuses))
    if scanner:
        # A provider's name in a JSON list of names: quoted, so that `osv` does not find `osv-scanner`.
        matching = matching.where(contains(cast(col(Vulnerability.sources), String), f'"{scanner}"'))
    if image:
        images = select(col(Image.id)).where(tenant(Image, organization_id), col(Image.name) == image)
        matching = matching.where(or_(col(Vulnerability.image_id) == image, col(Vulnerability.image_id).in_(images)))
    if package:
        matching = matching.where(col(Vulnerability.package_name) == package)
    if cve_id:
        matching = matching.where(col(Vulnerability.cve_id) == cve_id)
    if search:
        images = select(col(Image.id)).where(tenant(Image, organization_id), contains(col(Image.name), search))
        matching = matching.where(
            or_(
                contains(col(Vulnerability.cve_id), search),
                contains(col(Vulnerability.package_name), search),
                contains(col(Vulnerability.title), search),
                col(Vulnerability.image_id).in_(images),
            )
        )
    is_counted = not (scanner or image or package or cve_id or search)
    total = counts.total(organization_id, severities=severities, statuses=statuses) if is_counted else None
    return await fetch_page(session, VULNERABILITIES, matching, request, wanted=wanted, total=total)


async def get_vulnerability(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Any:
    statement = (
        select(*VULNERABILITIES.all_columns())
        .join(Image, col(Image.id) == col(Vulnerability.image_id))
        .where(tenant(Vulnerability, organization_id), col(Vulnerability.id) == vulnerability_id)
    )
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
    wanted: Wanted = None,
) -> Page[Any]:
    """What one scan saw, worst first."""
    matching = select(col(ScanFinding.id)).where(
        tenant(ScanFinding, organization_id), col(ScanFinding.scan_id) == scan_id
    )
    if fixable is not None or search:
        matching = matching.join(Vulnerability, col(Vulnerability.id) == col(ScanFinding.vulnerability_id))
    if severities:
        ranks = [severity_rank(severity) for severity in severities]
        matching = matching.where(col(ScanFinding.severity_key).in_(ranks))
    if fixable is not None:
        matching = matching.where(col(Vulnerability.fixable).is_(fixable))
    if search:
        matching = matching.where(
            or_(
                contains(col(Vulnerability.cve_id), search),
                contains(col(Vulnerability.package_name), search),
                contains(col(Vulnerability.title), search),
            )
        )
    return await fetch_page(session, FINDINGS, matching, request, wanted=wanted)
