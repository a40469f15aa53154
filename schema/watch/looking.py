"""Comparing what is known of an organization's flaws with what it was told, and telling what is new: each thing once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.events.models import EventType
from schema.events.repository import emit_all
from schema.kernel.clock import iso_utc
from schema.kernel.database import Database
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.upsert import batches
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank
from schema.watch import repository
from schema.watch.models import AlertStatus, CveWatch, WatchSource
from schema.watch.rules import AlertChange, Known, Wish, changes_of, first_status, status_after

Hold = Callable[[AsyncSession], Awaitable[None]]
_SEVERITIES = {severity_rank(severity): severity for severity in Severity}
_EVENTS = {
    AlertChange.KEV_ADDED: EventType.CVE_WATCH_KEV,
    AlertChange.FIX_APPEARED: EventType.FIX_AVAILABLE,
    AlertChange.SEVERITY_ROSE: EventType.CVE_WATCH_NEW,
}


async def look(database: Database, organization_id: str, *, hold: Hold, clock: Callable[[], datetime]) -> int:
    """How many alerts are new or have changed. `hold` is called in each transaction and raises if it is no longer ours.

    Some flaws a transaction: one that is killed leaves the rest to the next look, and nothing is told twice.
    """
    async with database.snapshot() as session:
        watch = await repository.load_watch(session, organization_id)
        if not watch.enabled:
            return 0
        there = await repository.flaws_there(session, organization_id)
        told = await repository.told(session, organization_id)
    changed = [cve for cve, known in sorted(there.items()) if _news(_wish(watch), told.get(cve), known)]
    written = 0
    for batch in batches(changed):
        async with database.write() as session:
            await hold(session)
            # What was wanted and told may have changed since.
            wish = _wish(await repository.hold_watch(session, organization_id))
            written += await _tell(session, organization_id, wish, {cve: there[cve] for cve in batch}, now=clock())
    async with database.write() as session:
        await hold(session)
        await repository.hold_watch(session, organization_id)
        await repository.change_watch(session, organization_id, polled_at=clock())
    return written


def _wish(watch: CveWatch) -> Wish:
    return Wish(min_severity=watch.min_severity, sources={WatchSource(source) for source in watch.sources})


def _known(wish: Wish, known: Known) -> Known:
    """Without what the organization does not want to hear of."""
    return Known(severity_key=known.severity_key, kev=wish.is_kev(kev=known.kev), has_fix=known.has_fix)


def _news(wish: Wish, told: Any, known: Known) -> Sequence[AlertChange]:
    known = _known(wish, known)
    if told is None:
        return changes_of(None, known) if wish.wants(known) else []
    before = Known(severity_key=told.severity_key, kev=told.kev, has_fix=told.fixed_version is not None)
    return changes_of(before, known)


async def _tell(
    session: AsyncSession, organization_id: str, wish: Wish, flaws: Mapping[str, Known], *, now: datetime
) -> int:
    cves = list(flaws)
    told = await repository.told(session, organization_id, cves)
    worst = await repository.worst_of(session, organization_id, cves)
    fresh = [cve for cve in cves if cve not in told]
    by_watch = await repository.found_by_advisories(session, organization_id, fresh)
    published = await repository.published(session, [name for row in worst.values() for name in row.advisory_ids])
    by_nvd = await repository.listed_by_nvd(session, cves) if WatchSource.NVD in wish.sources else set()
    rows: list[dict[str, Any]] = []
    events: list[tuple[EventType, str, str, dict[str, Any]]] = []
    written = 0
    for cve, raw in flaws.items():
        known, row, before = _known(wish, raw), worst.get(cve), told.get(cve)
        news = _news(wish, before, raw)
        if row is None or not news:  # it is gone by now, or somebody else has told it
            continue
        source = wish.source_of(known, row.advisory_ids or [cve], by_nvd=cve in by_nvd)
        if source is None:
            continue
        if before is None:
            moments = [published[name] for name in row.advisory_ids if name in published]
            alert = _new_alert(
                organization_id,
                known,
                row,
                source,
                published_at=min(moments, default=None),
                by_watch=cve in by_watch,
                now=now,
            )
            rows.append(alert)
            alert_id, status = alert["id"], alert["status"]
        else:
            values = _raised(before, known, row, news, now=now)
            alert_id, status = before.id, values["status"]
            await repository.change_alert(session, organization_id, alert_id, values)
        written += 1
        if status is AlertStatus.PENDING:
            events += [_event(change, alert_id, known, row) for change in news]
    await repository.insert_alerts(session, rows)
    for type_ in {event[0] for event in events}:
        happened = [(subject, key, details) for kind, subject, key, details in events if kind is type_]
        await emit_all(session, organization_id, type_, happened, now=now)
    return written


def _new_alert(
    organization_id: str,
    known: Known,
    row: Any,
    source: WatchSource,
    *,
    published_at: datetime | None,
    by_watch: bool,
    now: datetime,
) -> dict[str, Any]:
    severity = _SEVERITIES[known.severity_key]
    return {
        "id": new_id(IdPrefix.ALERT),
        "organization_id": organization_id,
        "cve_id": row.cve_id,
        "package_name": row.package_name,
        "title": row.title,
        "severity": severity,
        "severity_key": known.severity_key,
        "cvss": row.cvss,
        "source": source,
        "kev": known.kev,
        "fixed_version": _fix(row),
        "status": first_status(kev=known.kev, by_watch=by_watch, published_at=published_at, now=now),
        "published_at": published_at,
        "detected_at": now,
        "updated_at": now,
        "changes": [_entry(AlertChange.DETECTED, severity, now)],
    }


def _raised(before: Any, known: Known, row: Any, news: Sequence[AlertChange], *, now: datetime) -> dict[str, Any]:
    severity_key = max(before.severity_key, known.severity_key)
    severity = _SEVERITIES[severity_key]
    values: dict[str, Any] = {
        "severity": severity,
        "severity_key": severity_key,
        "cvss": row.cvss,
        "fixed_version": before.fixed_version or _fix(row),
        "status": status_after(before.status),
        "updated_at": now,
        "changes": [*before.changes, *(_entry(change, severity, now) for change in news)],
    }
    if known.kev:
        values |= {"kev": True, "source": WatchSource.CISA_KEV}
    return values


def _fix(row: Any) -> str | None:
    return row.fixed_versions[0] if row.fixed_versions else None


def _entry(change: AlertChange, severity: Severity, now: datetime) -> dict[str, Any]:
    return {"change": change.value, "severity": severity.value, "at": iso_utc(now)}


def _event(change: AlertChange, alert_id: str, known: Known, row: Any) -> tuple[EventType, str, str, dict[str, Any]]:
    """(type, subject, key, details). A severity rises to each value once; all else happens once."""
    severity = _SEVERITIES[known.severity_key].value
    if change is AlertChange.DETECTED:
        kind = EventType.CVE_WATCH_KEV if known.kev else EventType.CVE_WATCH_NEW
    else:
        kind = _EVENTS[change]
    key = f"{alert_id}:{severity}" if change is AlertChange.SEVERITY_ROSE else alert_id
    details = {
        "change": change.value,
        "cveId": row.cve_id,
        "severity": severity,
        "package": row.package_name,
        "kev": known.kev,
        "fixedVersion": _fix(row),
    }
    return kind, alert_id, key, details
