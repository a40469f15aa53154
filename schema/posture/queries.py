"""Reading posture."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import strawberry

from schema.dashboard.types import GradeCount
from schema.kernel.errors import bad_request
from schema.kernel.operations import Info, query_field
from schema.posture import repository
from schema.posture.flows import day_of
from schema.posture.models import Flow
from schema.posture.models import PostureDay as DayRow
from schema.posture.repository import Figures
from schema.posture.rules import compliance, coverage
from schema.posture.types import (
    Coverage,
    MttrBySeverity,
    OpenExceptions,
    Posture,
    PostureDay,
    RegistryCoverage,
    SlaCompliance,
)
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade
from schema.vulnerabilities.types import SeverityCounts

MAX_DAYS = 365
_DAY_SECONDS = 86_400


def _mttr(fixed: int, seconds: int) -> float | None:
    return round(seconds / fixed / _DAY_SECONDS, 3) if fixed else None


def _counts(by_severity: Mapping[Severity, int]) -> SeverityCounts:
    return SeverityCounts(
        **{severity.value.lower(): by_severity.get(severity, 0) for severity in Severity},
        total=sum(by_severity.values()),
    )


def _coverage(found: Figures) -> Coverage:
    total, fresh = found.total_tags, found.fresh_tags
    return Coverage(
        coverage=coverage(fresh, total),
        total_tags=total,
        scanned_tags=fresh,
        outdated_count=total - fresh,
        freshness_threshold_days=found.freshness_days,
        registries=[
            RegistryCoverage(
                registry_id=strawberry.ID(each.registry_id) if each.registry_id else None,
                name=each.name,
                total=each.total,
                fresh=each.fresh,
                coverage=each.fresh / each.total,
            )
            for each in found.registries
        ],
    )


def _day(row: DayRow, flows: Mapping[tuple[str, str], int]) -> PostureDay:
    fixed = flows.get((row.day, Flow.FIXED), 0)
    return PostureDay(
        day=row.day,
        risk_score=row.risk_score,
        open=_counts({severity: getattr(row, severity.value.lower()) for severity in Severity}),
        overdue=row.overdue,
        sla_compliance=compliance(row.with_deadline, row.breached),
        exceptions=row.exceptions,
        coverage=coverage(row.fresh_tags, row.total_tags),
        opened=flows.get((row.day, Flow.OPENED), 0),
        fixed=fixed,
        mttr_days=_mttr(fixed, flows.get((row.day, Flow.FIXED_SECONDS), 0)),
    )


@strawberry.type
class PostureQuery:
    @query_field("reports:view", description="How the organization stands now.")
    async def posture(self, info: Info) -> Posture:
        context, now = info.context, info.context.now()
        async with context.read() as session:
            found = await repository.figures(session, context.organization_id, now=now)
        fixed, seconds = (sum(each[index] for each in found.fixed.values()) for index in (0, 1))
        return Posture(
            risk_score=found.risk_score,
            open=_counts(found.open),
            grades=[GradeCount(grade=grade, count=found.grades.get(grade, 0)) for grade in (*Grade, None)],
            coverage=_coverage(found),
            mttr_days=_mttr(fixed, seconds),
            mttr_by_severity=[
                MttrBySeverity(severity=severity, days=_mttr(*found.fixed[severity]), fixed=found.fixed[severity][0])
                for severity in Severity
            ],
            sla_compliance=SlaCompliance(
                percent=compliance(found.urgent_with_deadline, found.urgent_overdue),
                with_deadline=found.urgent_with_deadline,
                breached=found.urgent_overdue,
                overdue=found.overdue,
            ),
            exceptions=OpenExceptions(
                open=found.exceptions,
                expiring=found.exceptions_expiring,
                next_review_at=found.next_review_at,
                vulnerabilities=found.excepted,
            ),
            generated_at=now,
        )

    @query_field("reports:view", description="How the organization stood day by day, oldest first.")
    async def posture_trend(
        self, info: Info, days: Annotated[int | None, strawberry.argument(description="1-365; default 30.")] = None
    ) -> list[PostureDay]:
        context, wanted = info.context, 30 if days is None else days
        if not 1 <= wanted <= MAX_DAYS:
            message = f"days must be between 1 and {MAX_DAYS}"
            raise bad_request(message)
        since = day_of(context.now() - timedelta(days=wanted - 1))
        async with context.read() as session:
            rows = await repository.days(session, context.organization_id, since=since)
            flows = await repository.flows(session, context.organization_id, since=since)
        return [_day(row, flows) for row in rows]
