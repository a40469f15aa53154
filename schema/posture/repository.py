"""All SQL of posture: sums of stored counters, and the figures of days."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.attestations.models import Attestation, AttestationStatus
from schema.images.models import Image, Tag
from schema.kernel.parameters import ORGANIZATION, parameter
from schema.kernel.rows import as_text
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing
from schema.organizations.models import FRESHNESS_DAYS, CompliancePolicy, Organization
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
    freshness_days: int = FRESHNESS_DAYS
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


# Built once: they are asked for whenever somebody looks at the posture.
_OF = parameter(ORGANIZATION)
_FRESHNESS = select(col(CompliancePolicy.freshness_threshold_days)).where(tenant(CompliancePolicy, _OF))
_FRESH = case((col(Tag.last_scanned_at) >= parameter("since"), 1), else_=0)
_SOON = case((col(Attestation.expires_at) <= parameter("soon"), 1), else_=0)
_ALIKE: Sequence[Any] = (
    as_text(VulnerabilityCount.severity),
    as_text(VulnerabilityCount.status),
    col(VulnerabilityCount.excepted),
    col(VulnerabilityCount.has_deadline),
    col(VulnerabilityCount.breached),
)
_COUNTS = (
    select(*_ALIKE, func.sum(col(VulnerabilityCount.count)))
    .where(tenant(VulnerabilityCount, _OF), col(VulnerabilityCount.image_id) == EVERY_IMAGE)
    .group_by(*_ALIKE)
)
_GRADES = select(as_text(Image.grade), func.count()).where(tenant(Image, _OF)).group_by(col(Image.grade))
# Of the tags that are there.
_COVERAGE = (
    select(col(Registry.id), col(Registry.name), func.count(), func.sum(_FRESH))
    .join_from(Tag, Image, col(Image.id) == col(Tag.image_id))
    .outerjoin(Registry, and_(col(Registry.id) == col(Image.registry_id), tenant(Registry, _OF)))
    .where(tenant(Tag, _OF), tenant(Image, _OF), col(Tag.absent_since).is_(None))
    .group_by(col(Registry.id), col(Registry.name))
    .order_by(col(Registry.name))
)
_EXCEPTIONS = select(func.count(), func.coalesce(func.sum(_SOON), 0), func.min(col(Attestation.expires_at))).where(
    tenant(Attestation, _OF), col(Attestation.status) == AttestationStatus.ACTIVE
)
_FIXED = (
    select(as_text(DailyFlow.severity), as_text(DailyFlow.flow), func.sum(col(DailyFlow.count)))
    .where(tenant(DailyFlow, _OF), col(DailyFlow.flow) != Flow.OPENED)
    .group_by(col(DailyFlow.severity), col(DailyFlow.flow))
)
_FLOWS = (
    select(col(DailyFlow.day), as_text(DailyFlow.flow), func.sum(col(DailyFlow.count)))
    .where(tenant(DailyFlow, _OF), col(DailyFlow.day) >= parameter("day"))
    .group_by(col(DailyFlow.day), col(DailyFlow.flow))
)


async def figures(session: AsyncSession, organization_id: str, *, now: datetime) -> Figures:
    connection = await session.connection()
    values: dict[str, Any] = {ORGANIZATION: organization_id}
    days = (await connection.execute(_FRESHNESS, values)).scalar_one_or_none() or FRESHNESS_DAYS
    values |= {"since": now - timedelta(days=days), "soon": now + timedelta(days=EXPIRING_DAYS)}
    found = Figures(freshness_days=days)
    _count_vulnerabilities(await connection.execute(_COUNTS, values), found)
    found.registries = [
        RegistryCoverage(registry_id=row[0], name=row[1], total=row[2], fresh=row[3] or 0)
        for row in await connection.execute(_COVERAGE, values)
    ]
    found.grades = {row[0]: row[1] for row in await connection.execute(_GRADES, values)}
    row = (await connection.execute(_EXCEPTIONS, values)).one()
    found.exceptions, found.exceptions_expiring, found.next_review_at = row
    sums = {(severity, flow): int(count) for severity, flow, count in await connection.execute(_FIXED, values)}
    found.fixed = {
        severity: (sums.get((severity, Flow.FIXED), 0), sums.get((severity, Flow.FIXED_SECONDS), 0))
        for severity in Severity
    }
    return found


def _count_vulnerabilities(groups: Iterable[Any], found: Figures) -> None:
    for severity, status, excepted, has_deadline, breached, count in groups:
        found.excepted += count * excepted
        if status not in OPEN_STATUSES or excepted:
            continue
        found.open[Severity(severity)] += count
        found.overdue += count * breached
        if severity in _URGENT and has_deadline:
            found.urgent_with_deadline += count
            found.urgent_overdue += count * breached


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


async def flows(session: AsyncSession, organization_id: str, *, since: str) -> dict[tuple[str, str], int]:
    """How much of each flow there was on each day."""
    rows = await (await session.connection()).execute(_FLOWS, {ORGANIZATION: organization_id, "day": since})
    return {(day, flow): int(count) for day, flow, count in rows}
