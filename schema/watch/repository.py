"""All SQL of the CVE watch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row, and_, false, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories.models import Advisory, AdvisoryFeed
from schema.advisories.repository import is_visible
from schema.cves.models import Cve
from schema.images.models import Image, Tag
from schema.jobs.models import Job, JobKind, JobState
from schema.jobs.repository import queue_job, queue_job_once
from schema.kernel.errors import not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_text, as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import tenant
from schema.kernel.upsert import insert_missing
from schema.scans.models import Scan
from schema.scans.rematching import ACTOR
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.watch.models import AlertStatus, CveAlert, CveWatch
from schema.watch.rules import Known

ASKED_PRIORITY = 5  # somebody waits for it
PRIORITY = -20
SHOWN_IMAGES = 100  # of an alert

ALERTS = Listing(
    CveAlert,
    columns={
        **{
            name: getattr(CveAlert, name)
            for name in ("id", "cve_id", "package_name", "title", "cvss", "kev", "fixed_version", "changes")
        },
        "severity": as_text(CveAlert.severity),
        "source": as_text(CveAlert.source),
        "status": as_text(CveAlert.status),
        "published_at": as_time(CveAlert.published_at),
        "detected_at": as_time(CveAlert.detected_at),
        "updated_at": as_time(CveAlert.updated_at),
    },
    filters={
        "severities": col(CveAlert.severity).in_(any_of("severities")),
        "statuses": col(CveAlert.status).in_(any_of("statuses")),
        "package": col(CveAlert.package_name) == parameter("package"),
        "kev": col(CveAlert.kev) == parameter("kev"),
        "search": contains(CveAlert.cve_id, "search") | contains(CveAlert.title, "search"),
    },
    sorts={"detectedAt": col(CveAlert.detected_at), "severity": col(CveAlert.severity_key)},
    default=SortOrder(column="detectedAt", descending=True),
)
_AFFECTED = "affected_images"


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedImage:
    """A tag in whose latest scan the flaw is."""

    image_id: str
    image_name: str
    tag_id: str
    tag: str
    package_name: str
    installed_version: str


async def list_alerts(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    severities: Sequence[Severity] | None = None,
    statuses: Sequence[AlertStatus] | None = None,
    package: str | None = None,
    kev: bool | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    given = {
        "severities": severities,
        "statuses": statuses,
        "package": package or None,
        "kev": kev,
        "search": pattern(search),
    }
    if wanted is not None and _AFFECTED in wanted:
        wanted |= {"cve_id"}
    page = await fetch_page(session, ALERTS, organization_id, request, filters=given, wanted=wanted)
    if wanted is None or _AFFECTED in wanted:
        return Page(items=await _with_images(session, organization_id, page.items), meta=page.meta)
    return page


async def get_alert(session: AsyncSession, organization_id: str, alert_id: str) -> Any:
    statement = ALERTS.one(col(CveAlert.id) == alert_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Alert")
    return (await _with_images(session, organization_id, [row]))[0]


async def _with_images(session: AsyncSession, organization_id: str, rows: Sequence[Any]) -> list[Any]:
    images = await affected_images(session, organization_id, [row.cve_id for row in rows]) if rows else {}
    return [SimpleNamespace(**row._asdict(), affected_images=images.get(row.cve_id, [])) for row in rows]


async def affected_images(
    session: AsyncSession, organization_id: str, cves: Sequence[str]
) -> Mapping[str, list[AffectedImage]]:
    """The tags that have each flaw now, by name, SHOWN_IMAGES at most."""
    place = func.row_number().over(
        partition_by=col(Vulnerability.cve_id),
        order_by=(col(Image.name), col(Tag.name), col(Vulnerability.package_name), col(Vulnerability.id)),
    )
    found = (
        select(
            col(Vulnerability.cve_id),
            col(Image.id).label("image_id"),
            col(Image.name).label("image_name"),
            col(Tag.id).label("tag_id"),
            col(Tag.name).label("tag"),
            col(Vulnerability.package_name),
            col(Vulnerability.package_version).label("installed_version"),
            place.label("place"),
        )
        .join(Tag, col(Tag.image_id) == col(Vulnerability.image_id))
        .join(Scan, col(Scan.id) == col(Tag.last_scan_id))
        .join(
            ScanFinding,
            and_(
                col(ScanFinding.scan_id) == func.coalesce(col(Scan.findings_of), col(Scan.id)),
                col(ScanFinding.vulnerability_id) == col(Vulnerability.id),
            ),
        )
        .join(Image, col(Image.id) == col(Vulnerability.image_id))
        .where(
            tenant(Vulnerability, organization_id),
            tenant(ScanFinding, organization_id),
            tenant(Scan, organization_id),
            tenant(Tag, organization_id),
            tenant(Image, organization_id),
            col(Vulnerability.cve_id).in_(cves),
            col(Vulnerability.is_present),
        )
        .subquery()
    )
    statement = select(found).where(found.c.place <= SHOWN_IMAGES).order_by(found.c.cve_id, found.c.place)
    images: defaultdict[str, list[AffectedImage]] = defaultdict(list)
    for cve_id, image_id, image_name, tag_id, tag, package, version, _ in (await session.execute(statement)).all():
        images[cve_id].append(
            AffectedImage(
                image_id=image_id,
                image_name=image_name,
                tag_id=tag_id,
                tag=tag,
                package_name=package,
                installed_version=version,
            )
        )
    return images


async def count_alerts(session: AsyncSession, organization_id: str) -> Sequence[tuple[AlertStatus, int, int]]:
    """(status, alerts, those that are exploited)."""
    statement: Any = (
        select(col(CveAlert.status), func.count(), func.count().filter(col(CveAlert.kev)))
        .where(tenant(CveAlert, organization_id))
        .group_by(col(CveAlert.status))
    )
    return [(status, count, kev) for status, count, kev in (await session.execute(statement)).all()]


# --- Settings


async def load_watch(session: AsyncSession, organization_id: str) -> CveWatch:
    statement = select(CveWatch).where(tenant(CveWatch, organization_id))
    found = (await session.execute(statement)).scalar_one_or_none()
    return CveWatch(organization_id=organization_id) if found is None else found


async def hold_watch(session: AsyncSession, organization_id: str) -> CveWatch:
    """Until the transaction ends nobody else tells this organization anything."""
    defaults = CveWatch(organization_id=organization_id).model_dump()
    await insert_missing(session, CveWatch, defaults, unique=("organization_id",))
    statement = select(CveWatch).where(tenant(CveWatch, organization_id)).with_for_update()
    return (await session.execute(statement)).scalar_one()


async def change_watch(session: AsyncSession, organization_id: str, **values: Any) -> None:
    await session.execute(update(CveWatch).where(tenant(CveWatch, organization_id)).values(**values))


# --- Jobs


async def pending_look(session: AsyncSession, organization_id: str) -> str | None:
    """The job that waits or runs, if there is one."""
    statement = select(col(Job.id)).where(
        tenant(Job, organization_id),
        col(Job.kind) == JobKind.WATCH,
        col(Job.state).in_((JobState.QUEUED, JobState.RUNNING)),
    )
    return (await session.execute(statement.order_by(col(Job.id)).limit(1))).scalar_one_or_none()


async def ask_for_look(session: AsyncSession, organization_id: str, *, now: datetime) -> str:
    """The id of the job."""
    return await queue_job(
        session, organization_id, kind=JobKind.WATCH, subject_id=new_id(IdPrefix.JOB), priority=ASKED_PRIORITY, now=now
    )


async def look_after(session: AsyncSession, organization_id: str, job_id: str, *, now: datetime) -> None:
    """Queues a look for what a job has changed."""
    subject = blake2b(job_id.encode(), digest_size=16).hexdigest()
    await queue_job_once(
        session, organization_id, kind=JobKind.WATCH, subject_id=f"wat-{subject}", priority=PRIORITY, now=now
    )


# --- What a look compares


async def flaws_there(session: AsyncSession, organization_id: str) -> Mapping[str, Known]:
    """Every flaw that is in an image and not attested, by id."""
    kev = func.coalesce(col(Cve.kev), false())
    statement = (
        select(
            col(Vulnerability.cve_id),
            func.max(col(Vulnerability.severity_key)),
            kev,
            func.count().filter(col(Vulnerability.fixable)) > 0,
        )
        .outerjoin(Cve, col(Cve.id) == col(Vulnerability.cve_id))
        .where(
            tenant(Vulnerability, organization_id),
            col(Vulnerability.is_present),
            col(Vulnerability.exception_id).is_(None),
        )
        .group_by(col(Vulnerability.cve_id), kev)
    )
    rows = (await session.execute(statement)).all()
    return {
        cve: Known(severity_key=severity_key, kev=bool(kev), has_fix=bool(fix)) for cve, severity_key, kev, fix in rows
    }


async def told(
    session: AsyncSession, organization_id: str, cves: Sequence[str] | None = None
) -> Mapping[str, Row[Any]]:
    """What was told, by flaw; of all of them, or of these."""
    columns = ("id", "cve_id", "severity_key", "kev", "fixed_version", "status", "changes")
    statement = select(*(col(getattr(CveAlert, name)) for name in columns)).where(tenant(CveAlert, organization_id))
    if cves is not None:
        statement = statement.where(col(CveAlert.cve_id).in_(cves))
    return {row.cve_id: row for row in (await session.execute(statement)).all()}


async def worst_of(session: AsyncSession, organization_id: str, cves: Sequence[str]) -> Mapping[str, Row[Any]]:
    """Of each flaw the vulnerability that says most: fixable, then severe, then by the package's name."""
    place = func.row_number().over(
        partition_by=col(Vulnerability.cve_id),
        order_by=(
            col(Vulnerability.fixable).desc(),
            col(Vulnerability.severity_key).desc(),
            col(Vulnerability.package_name),
            col(Vulnerability.id),
        ),
    )
    ranked = (
        select(col(Vulnerability.id), place.label("place"))
        .where(
            tenant(Vulnerability, organization_id),
            col(Vulnerability.cve_id).in_(cves),
            col(Vulnerability.is_present),
            col(Vulnerability.exception_id).is_(None),
        )
        .subquery()
    )
    columns = ("cve_id", "package_name", "title", "cvss", "fixed_versions", "advisory_ids")
    statement = (
        select(*(col(getattr(Vulnerability, name)) for name in columns))
        .join(ranked, and_(ranked.c.id == col(Vulnerability.id), ranked.c.place == 1))
        .where(tenant(Vulnerability, organization_id))
    )
    return {row.cve_id: row for row in (await session.execute(statement)).all()}


async def found_by_advisories(session: AsyncSession, organization_id: str, cves: Sequence[str]) -> set[str]:
    """Those of the flaws that no scan of an image brought: stored packages were judged again, and had them."""
    earlier = ScanFinding.__table__.alias("earlier")  # type: ignore[attr-defined]
    first = (
        select(func.min(earlier.c.scan_id))
        .where(
            earlier.c.organization_id == organization_id,
            earlier.c.vulnerability_id == col(Vulnerability.id),
        )
        .correlate(Vulnerability)
        .scalar_subquery()
    )
    statement = (
        select(col(Vulnerability.cve_id))
        .join(Scan, col(Scan.id) == first)
        .where(
            tenant(Vulnerability, organization_id),
            tenant(Scan, organization_id),
            col(Vulnerability.cve_id).in_(cves),
            col(Scan.requested_by) == ACTOR,
        )
        .distinct()
    )
    return set((await session.execute(statement)).scalars())


async def published(session: AsyncSession, advisory_ids: Sequence[str]) -> Mapping[str, datetime]:
    """When advisories were first published, of those that say."""
    statement: Any = (
        select(col(Advisory.id), func.min(col(Advisory.published_at)))
        .where(col(Advisory.id).in_(advisory_ids), col(Advisory.published_at).is_not(None))
        .group_by(col(Advisory.id))
    )
    return {row[0]: row[1] for row in (await session.execute(statement)).all()}


async def listed_by_nvd(session: AsyncSession, cves: Sequence[str]) -> set[str]:
    """Those of the CVEs of which NVD has a record that it has not rejected."""
    statement = (
        select(col(Advisory.cve))
        .join(AdvisoryFeed, is_visible())
        .where(col(Advisory.cve).in_(cves), col(Advisory.feed).startswith("nvd:"), col(Advisory.withdrawn_at).is_(None))
    )
    return {cve for cve in (await session.execute(statement)).scalars() if cve}


async def insert_alerts(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        await session.execute(insert(CveAlert), rows)


async def change_alert(session: AsyncSession, organization_id: str, alert_id: str, values: Mapping[str, Any]) -> None:
    statement = update(CveAlert).where(tenant(CveAlert, organization_id), col(CveAlert.id) == alert_id)
    await session.execute(statement.values(**values))
