"""All SQL of what is known of CVEs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories.catalog import ABOUT_CVES
from schema.advisories.models import Advisory, AdvisoryFeed
from schema.advisories.repository import is_visible
from schema.cves.models import Cve
from schema.jobs.models import JobKind
from schema.jobs.repository import queue_job_once
from schema.kernel.columns import metadata
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import upsert_rows
from schema.vulnerabilities.models import Vulnerability

REVIEW_PRIORITY = -20  # behind whatever somebody waits for, and behind judging again
IMAGES_AT_ONCE = 20
ADVISORIES_AT_MOST = 100


async def released_at(session: AsyncSession, feed: str) -> datetime | None:
    """Of when the data of a feed is that is stored."""
    statement = select(col(AdvisoryFeed.database_date)).where(col(AdvisoryFeed.name) == feed)
    return (await session.execute(statement)).scalar_one_or_none()


async def told(session: AsyncSession, columns: Sequence[str], nothing: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """What is stored in some columns, of the CVEs that have anything there."""
    table = metadata.tables[str(Cve.__tablename__)].c
    known = or_(*(table[name].is_distinct_from(value) for name, value in zip(columns, nothing, strict=True)))
    connection = await session.connection()  # past the ORM: there are hundreds of thousands
    rows = await connection.execute(select(table.id, *(table[name] for name in columns)).where(known))
    return {row[0]: tuple(row[1:]) for row in rows}


async def tell(session: AsyncSession, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Stores the columns of some CVEs; what others told of them stays."""
    await upsert_rows(session, Cve, rows, unique=("id",), columns=columns)


async def find_cve(session: AsyncSession, cve: str) -> Cve | None:
    return (await session.execute(select(Cve).where(col(Cve.id) == cve))).scalar_one_or_none()


async def advisories_about(session: AsyncSession, cve: str) -> Sequence[Any]:
    """What readers see of those that bear its name or are about it alone; at most so many as anybody reads."""
    statement = (
        select(
            col(Advisory.id),
            col(Advisory.feed),
            col(Advisory.summary),
            col(Advisory.details),
            col(Advisory.severity),
            col(Advisory.cvss_vectors),
            col(Advisory.references),
            col(Advisory.published_at),
            col(Advisory.modified_at),
            col(Advisory.withdrawn_at),
        )
        .join(AdvisoryFeed, is_visible())
        .where(or_(col(Advisory.cve) == cve, col(Advisory.id) == cve))
        .order_by(col(Advisory.feed), col(Advisory.id))
        .limit(ADVISORIES_AT_MOST)
    )
    return (await session.execute(statement)).all()


async def seen_here(session: AsyncSession, organization_id: str, cve: str) -> Any:
    """`vulnerabilities` and `images`: how many have it now; `title`: what they call it."""
    statement = select(
        func.count().label("vulnerabilities"),
        func.count(col(Vulnerability.image_id).distinct()).label("images"),
        func.min(col(Vulnerability.title)).label("title"),
    ).where(tenant(Vulnerability, organization_id), col(Vulnerability.cve_id) == cve, col(Vulnerability.is_present))
    return (await session.execute(statement)).one()


async def state_of_knowledge(session: AsyncSession) -> str:
    """Another text whenever what is known of CVEs has changed; empty while nothing is known."""
    statement = select(col(AdvisoryFeed.name), col(AdvisoryFeed.generation)).where(
        col(AdvisoryFeed.name).in_(ABOUT_CVES), col(AdvisoryFeed.generation) > 0
    )
    rows = (await session.execute(statement.order_by(col(AdvisoryFeed.name)))).all()
    return " ".join(f"{row.name}:{row.generation}" for row in rows)


async def queue_reviews(session: AsyncSession, state: str, *, now: datetime) -> int:
    """A job for each organization that has vulnerabilities, once for each state of what is known of CVEs."""
    everybody = across_tenants(Vulnerability, because="what is known of CVEs is shared by every organization")
    found = select(col(Vulnerability.organization_id)).where(everybody).distinct()
    queued = 0
    for organization_id in (await session.execute(found)).scalars().all():
        subject = blake2b(f"{organization_id} {state}".encode(), digest_size=16).hexdigest()
        queued += await queue_job_once(
            session,
            organization_id,
            kind=JobKind.REVIEW,
            subject_id=f"rev-{subject}",
            priority=REVIEW_PRIORITY,
            now=now,
        )
    return queued


async def images_to_review(session: AsyncSession, organization_id: str, *, after: str) -> Sequence[str]:
    """A page of the images with a vulnerability of which a feed may have told something, by id."""
    statement = (
        select(col(Vulnerability.image_id))
        .where(tenant(Vulnerability, organization_id), col(Vulnerability.image_id) > after)
        .distinct()
        .order_by(col(Vulnerability.image_id))
        .limit(IMAGES_AT_ONCE)
    )
    return (await session.execute(statement)).scalars().all()
