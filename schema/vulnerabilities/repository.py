"""All SQL of vulnerabilities and of what scans found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, and_, case, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories.models import Advisory, AdvisoryFeed
from schema.advisories.repository import is_visible
from schema.images.models import Image
from schema.kernel.errors import not_found
from schema.kernel.listing import Join, Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_text, as_time
from schema.kernel.search import contains, pattern
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


def _says(name: str) -> ColumnElement[bool]:
    """Whether a vulnerability's own words contain a parameter."""
    columns = (col(Vulnerability.cve_id), col(Vulnerability.package_name), col(Vulnerability.title))
    return or_(*(contains(column, name) for column in columns))


def _images(condition: ColumnElement[bool]) -> Select[str]:
    return select(col(Image.id)).where(tenant(Image, parameter(ORGANIZATION)), condition)


def _of_finding(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the vulnerability of a finding satisfies a condition."""
    own = (tenant(Vulnerability, parameter(ORGANIZATION)), col(Vulnerability.id) == col(ScanFinding.vulnerability_id))
    return select(col(Vulnerability.id)).where(*own, condition).exists()


_LAST_SEEN: ColumnElement[datetime] = case(
    (col(Vulnerability.is_present), func.coalesce(col(Image.last_scanned_at), col(Vulnerability.last_seen_at))),
    else_=col(Vulnerability.last_seen_at),
)
VULNERABILITIES = Listing(
    Vulnerability,
    columns={
        **_FLAW,
        "id": col(Vulnerability.id),
        "severity": as_text(Vulnerability.severity),
        "sources": col(Vulnerability.sources),
        "severities": col(Vulnerability.severities),
        "agreement": col(Vulnerability.agreement),
        "image_id": col(Vulnerability.image_id),
        "image": col(Image.name),
        "detected_at": as_time(Vulnerability.detected_at),
        "last_seen_at": as_time(_LAST_SEEN),
        "is_present": col(Vulnerability.is_present),
        "remediated_at": as_time(Vulnerability.remediated_at),
    },
    joins=[
        Join(
            target=Image,
            on=col(Image.id) == col(Vulnerability.image_id),
            columns=frozenset({"image", "last_seen_at"}),
        )
    ],
    filters={
        # The rank says the same as the severity, and is in the index of the default order.
        "severity_ranks": col(Vulnerability.severity_key).in_(any_of("severity_ranks")),
        "statuses": col(Vulnerability.status).in_(any_of("statuses")),
        "scanner": contains(cast(col(Vulnerability.sources), String), "scanner"),
        "image": or_(
            col(Vulnerability.image_id) == parameter("image"),
            col(Vulnerability.image_id).in_(_images(col(Image.name) == parameter("image"))),
        ),
        "package": col(Vulnerability.package_name) == parameter("package"),
        "cve_id": col(Vulnerability.cve_id) == parameter("cve_id"),
        "search": or_(_says("search"), col(Vulnerability.image_id).in_(_images(contains(col(Image.name), "search")))),
    },
    sorts={
        "severity": col(Vulnerability.severity_key),
        "cveId": col(Vulnerability.cve_id),
        "detectedAt": col(Vulnerability.detected_at),
        "cvss": col(Vulnerability.cvss_key),
        "triageStatus": col(Vulnerability.status),
    },
    default=SortOrder(column="severity", descending=True),
)
# Rows may be another scan's, which this one shares because nothing has changed since: then nothing is new.
_IS_NEW = and_(col(ScanFinding.is_new), col(ScanFinding.scan_id) == parameter("seen_in"))
FINDINGS = Listing(
    ScanFinding,
    columns={
        **_FLAW,
        "id": col(ScanFinding.id),
        "severity": as_text(ScanFinding.severity),
        "sources": col(ScanFinding.sources),
        "agreement": col(ScanFinding.agreement),
        "severities": col(ScanFinding.severities),
        "engines": col(ScanFinding.engines),
        "is_new": _IS_NEW,
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
    scope=[col(ScanFinding.scan_id) == parameter("scan_id")],
    filters={
        "severity_ranks": col(ScanFinding.severity_key).in_(any_of("severity_ranks")),
        "new": parameter("new") == _IS_NEW,
        "fixable": _of_finding(col(Vulnerability.fixable) == parameter("fixable")),
        "search": _of_finding(_says("search")),
    },
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
    given = {
        "severity_ranks": _ranks(severities),
        "statuses": statuses,
        # A provider's name in a JSON list of names: quoted, so that `osv` does not find `osv-scanner`.
        "scanner": pattern(f'"{scanner}"') if scanner else None,
        "image": image or None,
        "package": package or None,
        "cve_id": cve_id or None,
        "search": pattern(search),
    }
    is_stored = not any((scanner, image, package, cve_id, search))
    total = counts.total(by_severity=bool(severities), by_status=bool(statuses)) if is_stored else None
    return await fetch_page(
        session, VULNERABILITIES, organization_id, request, filters=given, wanted=wanted, total=total
    )


def _ranks(severities: Sequence[Severity] | None) -> list[int]:
    return [severity_rank(severity) for severity in severities or ()]


async def get_vulnerability(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Any:
    statement = VULNERABILITIES.one(col(Vulnerability.id) == vulnerability_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
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
    statement = (
        select(*columns)
        .join(AdvisoryFeed, is_visible())
        .where(col(Advisory.id).in_(advisory_ids))
        .order_by(col(Advisory.id), col(Advisory.feed))
    )
    return (await session.execute(statement)).all()


async def latest_sightings(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Sequence[Any]:
    columns: tuple[Any, ...] = (
        col(Scan.id).label("scan_id"),
        col(Scan.reference),
        col(Scan.digest),
        col(ScanFinding.path),
        col(ScanFinding.layer_digest),
        col(ScanFinding.layer_index),
        col(Scan.scanned_at),
    )
    sees = or_(col(Scan.id) == col(ScanFinding.scan_id), col(Scan.findings_of) == col(ScanFinding.scan_id))
    statement = (
        select(*columns)
        .join_from(ScanFinding, Scan, and_(tenant(Scan, organization_id), sees))
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
    seen_in: str,
    severities: Sequence[Severity] | None = None,
    fixable: bool | None = None,
    new: bool | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """What the scan `seen_in` saw, worst first; the rows are those of `scan_id`, which may be another one."""
    given = {"severity_ranks": _ranks(severities), "fixable": fixable, "new": new, "search": pattern(search)}
    scope = {"scan_id": scan_id, "seen_in": seen_in}
    return await fetch_page(session, FINDINGS, organization_id, request, scope=scope, filters=given, wanted=wanted)
