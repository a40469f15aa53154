"""Deadlines that are near or have passed: each is announced once, in the transaction that marks it so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.events.models import EventType
from schema.events.repository import emit_all
from schema.images.models import Image
from schema.images.repository import hold_images
from schema.kernel.clock import iso_utc
from schema.kernel.columns import UtcDateTime
from schema.kernel.parameters import parameter
from schema.kernel.rows import as_text
from schema.kernel.tenancy import across_tenants, tenant, tenant_rows
from schema.organizations.models import CompliancePolicy, Organization
from schema.organizations.policy.repository import load_sla
from schema.vulnerabilities import counts
from schema.vulnerabilities.models import IS_BREACHING, IS_WARNING, Vulnerability

AT_ONCE = 500  # of one organization in one transaction
_LEADS = range(31)  # days; what a policy may demand
_DEFAULT_LEAD = 3


async def organizations_with_news(session: AsyncSession, *, now: datetime) -> Sequence[str]:
    """Those in which a deadline has passed or is near, of which nobody was told."""
    reason = "the reconciler serves everybody"
    vulnerability = and_(
        across_tenants(Vulnerability, because=reason), col(Vulnerability.organization_id) == col(Organization.id)
    )
    horizon = case(
        {lead: parameter(f"in_{lead}", UtcDateTime()) for lead in _LEADS},
        value=func.coalesce(col(CompliancePolicy.sla_breach_lead_time_days), _DEFAULT_LEAD),
    )
    breaches = select(col(Vulnerability.id)).where(
        vulnerability, IS_BREACHING, col(Vulnerability.due_at) <= parameter("now", UtcDateTime())
    )
    warnings = select(col(Vulnerability.id)).where(vulnerability, IS_WARNING, col(Vulnerability.due_at) <= horizon)
    statement = (
        select(col(Organization.id))
        .outerjoin(CompliancePolicy, col(CompliancePolicy.organization_id) == col(Organization.id))
        .where(
            across_tenants(CompliancePolicy, because=reason),
            or_(breaches.correlate(Organization).exists(), warnings.correlate(Organization, CompliancePolicy).exists()),
        )
        .order_by(col(Organization.id))
    )
    times = {f"in_{lead}": now + timedelta(days=lead) for lead in _LEADS}
    return (await session.execute(statement, {"now": now, **times})).scalars().all()


async def announce_deadlines(session: AsyncSession, organization_id: str, *, now: datetime) -> int:
    """Announces some of them; returns how many, so that whoever calls it knows whether there may be more."""
    sla = await load_sla(session, organization_id)
    breached = await _announce(
        session,
        organization_id,
        EventType.SLA_BREACH,
        and_(IS_BREACHING, col(Vulnerability.due_at) <= now),
        {"breached_at": now},
        now=now,
    )
    near = and_(
        IS_WARNING, col(Vulnerability.due_at) > now, col(Vulnerability.due_at) <= now + timedelta(sla.lead_days)
    )
    warned = await _announce(session, organization_id, EventType.SLA_WARNING, near, {"warned_at": now}, now=now)
    return breached + warned


async def _announce(
    session: AsyncSession,
    organization_id: str,
    type: EventType,  # noqa: A002 -- what the column is called
    condition: ColumnElement[bool],
    mark: dict[str, Any],
    *,
    now: datetime,
) -> int:
    own = (tenant(Vulnerability, organization_id), condition)
    found = select(col(Vulnerability.id), col(Vulnerability.image_id)).where(*own).limit(AT_ONCE)
    rows = (await session.execute(found.order_by(col(Vulnerability.due_at)))).all()
    if not rows:
        return 0
    images = sorted({row.image_id for row in rows})
    await hold_images(session, organization_id, images)
    # Again, now that nobody else changes them: somebody may have decided, or announced them, in the meantime.
    marked = (
        update(Vulnerability)
        .where(tenant_rows(Vulnerability, organization_id, [row.id for row in rows]), condition)
        .values(**mark)
        .returning(col(Vulnerability.id))
    )
    ids = list((await session.execute(marked)).scalars())
    told: Any = (
        select(
            col(Vulnerability.id),
            col(Vulnerability.cve_id),
            col(Vulnerability.package_name),
            as_text(Vulnerability.severity).label("severity"),
            col(Vulnerability.due_at),
            col(Image.name).label("image"),
        )
        .join(Image, col(Image.id) == col(Vulnerability.image_id))
        .where(tenant_rows(Vulnerability, organization_id, ids), tenant(Image, organization_id))
    )
    happened = [
        (
            row.id,
            f"{row.id}:{iso_utc(row.due_at)}",
            {
                "cveId": row.cve_id,
                "package": row.package_name,
                "severity": row.severity,
                "image": row.image,
                "slaDeadline": iso_utc(row.due_at),
            },
        )
        for row in await session.execute(told)
        if row.due_at is not None
    ]
    await emit_all(session, organization_id, type, happened, now=now)
    if type is EventType.SLA_BREACH:
        await counts.refresh(session, organization_id, images)
    return len(rows)
