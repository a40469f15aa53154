"""The watch of an organization, put together from its settings and its alerts."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from schema.watch import repository
from schema.watch.models import AlertStatus, WatchSource
from schema.watch.types import AlertCounts, CveWatch


async def show_watch(session: AsyncSession, organization_id: str) -> CveWatch:
    watch = await repository.load_watch(session, organization_id)
    counted = await repository.count_alerts(session, organization_id)
    running = await repository.pending_look(session, organization_id)
    alerts = {status: count for status, count, _ in counted}
    return CveWatch(
        enabled=watch.enabled,
        min_severity_filter=watch.min_severity,
        sources=[WatchSource(source) for source in watch.sources],
        last_polled_at=watch.polled_at,
        running=running is not None,
        alerts=AlertCounts(
            total=sum(alerts.values()),
            kev=sum(kev for _, _, kev in counted),
            **{status.value: alerts.get(status, 0) for status in AlertStatus},
        ),
        updated_by=watch.updated_by,
        updated_at=watch.updated_at,
    )
