"""Counting by day what happens to vulnerabilities, in the transaction in which it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.upsert import add_counts
from schema.posture.models import DailyFlow, Flow
from schema.vulnerabilities.records import Severity


def day_of(moment: datetime) -> str:
    """The day in UTC, 2026-11-26."""
    return moment.astimezone(UTC).date().isoformat()


async def count_opened(
    session: AsyncSession, organization_id: str, severities: Iterable[Severity], *, now: datetime
) -> None:
    """`severities` of what was found, or found again."""
    counted = Counter((Severity(severity), Flow.OPENED) for severity in severities)
    await _add(session, organization_id, counted, now=now)


async def count_fixed(
    session: AsyncSession, organization_id: str, fixed: Iterable[tuple[Severity, datetime]], *, now: datetime
) -> None:
    """(severity, open since) of what was fixed now."""
    counted: Counter[tuple[Severity, Flow]] = Counter()
    for severity, since in fixed:
        counted[(Severity(severity), Flow.FIXED)] += 1
        counted[(Severity(severity), Flow.FIXED_SECONDS)] += max(0, int((now - since).total_seconds()))
    await _add(session, organization_id, counted, now=now)


async def uncount_fixed(
    session: AsyncSession, organization_id: str, unfixed: Iterable[tuple[Severity, datetime, datetime]]
) -> None:
    """Takes back, on the day it was counted, what was called fixed by mistake: (severity, open since, fixed at)."""
    by_day: dict[datetime, Counter[tuple[Severity, Flow]]] = {}
    for severity, since, fixed_at in unfixed:
        counted = by_day.setdefault(fixed_at, Counter())
        counted[(severity, Flow.FIXED)] -= 1
        counted[(severity, Flow.FIXED_SECONDS)] -= max(0, int((fixed_at - since).total_seconds()))
    for fixed_at, counted in sorted(by_day.items()):
        await _add(session, organization_id, counted, now=fixed_at)


async def _add(
    session: AsyncSession, organization_id: str, counted: Counter[tuple[Severity, Flow]], *, now: datetime
) -> None:
    rows = [
        {"organization_id": organization_id, "day": day_of(now), "severity": severity, "flow": flow, "count": count}
        for (severity, flow), count in sorted(counted.items())
    ]
    await add_counts(session, DailyFlow, rows, unique=("organization_id", "day", "severity", "flow"))
