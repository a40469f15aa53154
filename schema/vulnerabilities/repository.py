"""All SQL of vulnerabilities and of what scans found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, case, false, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from schema.advisories.models import Advisory, AdvisoryFeed
from schema.advisories.repository import is_visible
from schema.cves.models import Cve
from schema.images.models import Image
from schema.kernel.errors import not_found
from schema.kernel.listing import Join, Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_text, as_time
from schema.kernel.search import pattern
from schema.kernel.tenancy import tenant
from schema.organizations.models import User
from schema.scans.models import EngineRun, Scan
from schema.vulnerabilities import counts
from schema.vulnerabilities.filters import BRANCHES, FILTERS, IS_EXCEPTED, IS_OVERDUE, VulnerabilityFilter, says
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

SIGHTINGS = 20
OTHER_IMAGES = 20

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
        "epss": col(Cve.epss),
        "epss_percentile": col(Cve.epss_percentile),
        "kev": func.coalesce(col(Cve.kev), false()),
        "assignee_id": col(Vulnerability.assignee_id),
        "assignee": col(User.email),
        "triage_reason": col(Vulnerability.triage_reason),
        "sla_deadline": as_time(Vulnerability.due_at),
        "overdue": IS_OVERDUE,
        "excepted": IS_EXCEPTED,
        "exception_id": col(Vulnerability.exception_id),
        "triaged_by": col(Vulnerability.triaged_by),
        "triaged_at": as_time(Vulnerability.triaged_at),
    },
    joins=[
        Join(
            target=Image,
            on=col(Image.id) == col(Vulnerability.image_id),
            columns=frozenset({"image", "last_seen_at"}),
        ),
        Join(
            target=Cve,
            on=col(Cve.id) == col(Vulnerability.cve_id),
            columns=frozenset({"epss", "epss_percentile", "kev"}),
            outer=True,
        ),
        Join(
            target=User,
            on=col(User.id) == col(Vulnerability.assignee_id),
            columns=frozenset({"assignee"}),
            outer=True,
        ),
    ],
    filters=FILTERS,
    branches=BRANCHES,
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
        "search": _of_finding(says("search")),
    },
    sorts={"severity": col(ScanFinding.severity_key)},
    default=SortOrder(column="severity", descending=True),
)


async def list_vulnerabilities(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    chosen: VulnerabilityFilter,
    *,
    wanted: Wanted = None,
) -> Page[Any]:
    given = {name: value for name, value in chosen.values().items() if value is not None and value != []}
    is_counted = given.keys() <= counts.COUNTED_FILTERS.keys()
    total = counts.total(frozenset(given)) if is_counted else None
    return await fetch_page(
        session, VULNERABILITIES, organization_id, request, filters=given, wanted=wanted, total=total
    )


async def matching_ids(
    session: AsyncSession, organization_id: str, chosen: VulnerabilityFilter, *, limit: int
) -> Sequence[str]:
    """The ids of what matches, at most so many."""
    given = {name: value for name, value in chosen.values().items() if value is not None and value != []}
    statement = VULNERABILITIES.ids(frozenset(given))
    return (await session.execute(statement, {ORGANIZATION: organization_id, "limit": limit, **given})).scalars().all()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDatabase:
    engine: str
    provider: str | None
    database_date: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A place where a scan saw a vulnerability, and who saw it."""

    scan_id: str
    reference: str
    digest: str | None
    path: str
    layer_digest: str
    layer_index: int
    scanned_at: datetime | None
    sources: Sequence[str]
    engines: Sequence[EngineDatabase]


async def latest_sightings(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Sequence[Sighting]:
    sees = or_(col(Scan.id) == col(ScanFinding.scan_id), col(Scan.findings_of) == col(ScanFinding.scan_id))
    statement = (
        select(Scan, ScanFinding)
        .join_from(ScanFinding, Scan, and_(tenant(Scan, organization_id), sees))
        .where(tenant(ScanFinding, organization_id), col(ScanFinding.vulnerability_id) == vulnerability_id)
        .order_by(col(Scan.ordered_at).desc())
        .limit(SIGHTINGS)
    )
    seen = (await session.execute(statement)).all()
    runs = select(EngineRun).where(
        tenant(EngineRun, organization_id), col(EngineRun.scan_id).in_([scan.id for scan, _ in seen])
    )
    by_scan: dict[str, dict[str, EngineRun]] = {}
    for each in (await session.execute(runs)).scalars():
        by_scan.setdefault(each.scan_id, {})[each.engine.value] = each
    return [
        Sighting(
            scan_id=scan.id,
            reference=scan.reference,
            digest=scan.digest,
            path=finding.path,
            layer_digest=finding.layer_digest,
            layer_index=finding.layer_index,
            scanned_at=scan.scanned_at,
            sources=finding.sources,
            engines=[
                EngineDatabase(engine=name, provider=run.provider, database_date=run.database_date)
                for name in finding.engines
                if (run := by_scan.get(scan.id, {}).get(name)) is not None
            ],
        )
        for scan, finding in seen
    ]


async def other_images(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Sequence[Any]:
    this = aliased(Vulnerability)
    own = (tenant(this, organization_id), col(this.id) == vulnerability_id)
    columns: tuple[Any, ...] = (
        col(Vulnerability.id),
        col(Vulnerability.image_id),
        col(Image.name).label("image"),
        col(Vulnerability.package_version),
        as_text(Vulnerability.status).label("status"),
        col(Vulnerability.is_present),
    )
    same = and_(
        col(this.cve_id) == col(Vulnerability.cve_id), col(this.package_name) == col(Vulnerability.package_name)
    )
    statement = (
        select(*columns)
        .join_from(this, Vulnerability, and_(tenant(Vulnerability, organization_id), same))
        .join(Image, col(Image.id) == col(Vulnerability.image_id))
        .where(*own, col(Vulnerability.image_id) != col(this.image_id))
        .order_by(col(Vulnerability.is_present).desc(), col(Image.name), col(Vulnerability.id))
        .limit(OTHER_IMAGES)
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
