"""All SQL of posture: sums of stored counters, and the figures of days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.attestations.models import Attestation, AttestationStatus
from schema.images.models import Image, Tag
from schema.kernel.rows import as_text
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing
from schema.organizations.models import Organization
from schema.organizations.policy.repository import load_policy
from schema.posture.flows import day_of
from schema.posture.models import DailyFlow, Flow, PostureDay
from schema.posture.rules import coverage, posture_risk
from schema.registries.models import Registry
from schema.vulnerabilities.counts import EVERY_IMAGE
from schema.vulnerabilities.models import OPEN_STATUSES, VulnerabilityCount
from schema.vulnerabilities.records import Severity

EXPIRING_DAYS = 3
TAKEN_EVERY = timedelta(minutes=15)
_URGENT = (Severity.CRITICAL, Severity.HIGH)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCoverage:
    """How many of a registry's tags were scanned lately. No registry: images of a host that is none."""

    registry_id: str | None
    name: str | None
    total: int
    fresh: int


@dataclass(slots=True, kw_only=True)
class Figures:
    """An organization's figures as they are now."""

    open: Counter[Severity] = field(default_factory=Counter)  # neither fixed, dismissed nor attested
    grades: dict[str | None, int] = field(default_factory=dict)
    overdue: int = 0
    urgent_overdue: int = 0  # of severity critical and high, as the next
    urgent_with_deadline: int = 0
    excepted: int = 0  # vulnerabilities
    registries: Sequence[RegistryCoverage] = ()
    freshness_days: int = 30
    exceptions: int = 0  # attestations
    exceptions_expiring: int = 0
    next_review_at: datetime | None = None
    fixed: Mapping[Severity, tuple[int, int]] = field(default_factory=dict)  # (how many, seconds in all)

    @property
    def total_tags(self) -> int:
        return sum(each.total for each in self.registries)

    @property
    def fresh_tags(self) -> int:
        return sum(each.fresh for each in self.registries)

    @property
    def risk_score(self) -> int:
        covered = coverage(self.fresh_tags, self.total_tags)
        return posture_risk(self.open, overdue=self.urgent_overdue, covered=covered)


async def figures(session: AsyncSession, organization_id: str, *, now: datetime) -> Figures:
    found = Figures()
    await _count_vulnerabilities(session, organization_id, found)
    found.freshness_days = (await load_policy(session, organization_id)).freshness_threshold_days
    found.registries = await _coverage(session, organization_id, since=now - timedelta(days=found.freshness_days))
    graded = select(as_text(Image.grade), func.count()).where(tenant(Image, organization_id)).group_by(col(Image.grade))
    found.grades = {row[0]: row[1] for row in await session.execute(graded)}
    soon = case((col(Attestation.expires_at) <= now + timedelta(days=EXPIRING_DAYS), 1), else_=0)
    exceptions = select(func.count(), func.coalesce(func.sum(soon), 0), func.min(col(Attestation.expires_at))).where(
        tenant(Attestation, organization_id), col(Attestation.status) == AttestationStatus.ACTIVE
    )
    row = (await session.execute(exceptions)).one()
    found.exceptions, found.exceptions_expiring, found.next_review_at = row[0], row[1], row[2]
    found.fixed = await _fixed(session, organization_id)
    return found


async def _count_vulnerabilities(session: AsyncSession, organization_id: str, found: Figures) -> None:
    table = VulnerabilityCount
    statement = select(table).where(tenant(table, organization_id), col(table.image_id) == EVERY_IMAGE)
    for group in (await session.execute(statement)).scalars():
        found.excepted += group.count * group.excepted
        if group.status not in OPEN_STATUSES or group.excepted:
            continue
        found.open[group.severity] += group.count
        found.overdue += group.count * group.breached
        if group.severity in _URGENT and group.has_deadline:
            found.urgent_with_deadline += group.count
            found.urgent_overdue += group.count * group.breached


async def _coverage(session: AsyncSession, organization_id: str, *, since: datetime) -> list[RegistryCoverage]:
    """Of the tags that are there."""
    fresh = case((col(Tag.last_scanned_at) >= since, 1), else_=0)
    statement = (
        select(col(Registry.id), col(Registry.name), func.count(), func.sum(fresh))
        .join_from(Tag, Image, col(Image.id) == col(Tag.image_id))
        .outerjoin(Registry, and_(col(Registry.id) == col(Image.registry_id), tenant(Registry, organization_id)))
        .where(tenant(Tag, organization_id), tenant(Image, organization_id), col(Tag.absent_since).is_(None))
        .group_by(col(Registry.id), col(Registry.name))
        .order_by(col(Registry.name))
    )
    return [
        RegistryCoverage(registry_id=row[0], name=row[1], total=row[2], fresh=row[3] or 0)
        for row in await session.execute(statement)
    ]


async def _fixed(session: AsyncSession, organization_id: str) -> dict[Severity, tuple[int, int]]:
    statement = (
        select(col(DailyFlow.severity), col(DailyFlow.flow), func.sum(col(DailyFlow.count)))
        .where(tenant(DailyFlow, organization_id), col(DailyFlow.flow) != Flow.OPENED)
        .group_by(col(DailyFlow.severity), col(DailyFlow.flow))
    )
    sums: Counter[tuple[Severity, Flow]] = Counter()
    for severity, flow, count in await session.execute(statement):
        sums[(severity, flow)] = int(count)
    return {severity: (sums[(severity, Flow.FIXED)], sums[(severity, Flow.FIXED_SECONDS)]) for severity in Severity}


async def take(session: AsyncSession, organization_id: str, *, now: datetime) -> None:
    """Keeps the figures as those of today."""
    found = await figures(session, organization_id, now=now)
    values: dict[str, Any] = {
        "taken_at": now,
        **{severity.value.lower(): found.open[severity] for severity in Severity},
        "overdue": found.overdue,
        "with_deadline": found.urgent_with_deadline,
        "breached": found.urgent_overdue,
        "exceptions": found.exceptions,
        "total_tags": found.total_tags,
        "fresh_tags": found.fresh_tags,
        "risk_score": found.risk_score,
    }
    key = {"organization_id": organization_id, "day": day_of(now)}
    if not await insert_missing(session, PostureDay, values | key, unique=("organization_id", "day")):
        await session.execute(
            update(PostureDay)
            .where(tenant(PostureDay, organization_id), col(PostureDay.day) == key["day"])
            .values(**values)
        )


async def organizations_to_take(session: AsyncSession, *, now: datetime) -> Sequence[str]:
    """Those of which today's figures are missing or old; some of them."""
    statement = (
        select(col(Organization.id))
        .outerjoin(
            PostureDay,
            and_(
                across_tenants(PostureDay, because="the reconciler serves everybody"),
                col(PostureDay.organization_id) == col(Organization.id),
                col(PostureDay.day) == day_of(now),
            ),
        )
        .where(or_(col(PostureDay.taken_at).is_(None), col(PostureDay.taken_at) <= now - TAKEN_EVERY))
        .order_by(col(Organization.id))
        .limit(20)
    )
    return (await session.execute(statement)).scalars().all()


async def days(session: AsyncSession, organization_id: str, *, since: str) -> Sequence[PostureDay]:
    statement = select(PostureDay).where(tenant(PostureDay, organization_id), col(PostureDay.day) >= since)
    return (await session.execute(statement.order_by(col(PostureDay.day)))).scalars().all()


async def flows(session: AsyncSession, organization_id: str, *, since: str) -> dict[tuple[str, Flow], int]:
    """How much of each flow there was on each day."""
    statement = (
        select(col(DailyFlow.day), col(DailyFlow.flow), func.sum(col(DailyFlow.count)))
        .where(tenant(DailyFlow, organization_id), col(DailyFlow.day) >= since)
        .group_by(col(DailyFlow.day), col(DailyFlow.flow))
    )
    return {(day, flow): int(count) for day, flow, count in await session.execute(statement)}
