"""When an organization is told of a flaw, and when again. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank
from schema.watch.models import AlertStatus, WatchSource

RECENT = timedelta(days=30)  # so long after its publication a flaw is news, whoever found it


class AlertChange(StrEnum):
    """What there is to tell. Published, so append-only."""

    DETECTED = "detected"
    KEV_ADDED = "kev_added"
    FIX_APPEARED = "fix_appeared"
    SEVERITY_ROSE = "severity_rose"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What matters of a flaw, as it is or as it was told."""

    severity_key: int
    kev: bool
    has_fix: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Of what an organization wants to be told."""

    min_severity: Severity
    sources: Collection[WatchSource]

    def is_kev(self, *, kev: bool) -> bool:
        return kev and WatchSource.CISA_KEV in self.sources

    def wants(self, known: Known) -> bool:
        """What is exploited whatever its severity, else what is severe enough."""
        return known.kev or known.severity_key >= severity_rank(self.min_severity)

    def source_of(self, known: Known, advisory_ids: Sequence[str], *, by_nvd: bool) -> WatchSource | None:
        """Who is named as having told it; None when no wanted source knows of it. Who names the package goes before NVD."""
        if known.kev:
            return WatchSource.CISA_KEV
        says = {WatchSource.GHSA if name.startswith("GHSA-") else WatchSource.OSV for name in advisory_ids}
        says |= {WatchSource.NVD} if by_nvd else set()
        order = (WatchSource.GHSA, WatchSource.OSV, WatchSource.NVD)
        return next((source for source in order if source in says and source in self.sources), None)


def changes_of(before: Known | None, now: Known) -> Sequence[AlertChange]:
    """What there is to tell of a flaw of which `before` was told last, the most important first."""
    if before is None:
        return [AlertChange.DETECTED]
    found = {
        AlertChange.KEV_ADDED: now.kev and not before.kev,
        AlertChange.FIX_APPEARED: now.has_fix and not before.has_fix,
        AlertChange.SEVERITY_ROSE: now.severity_key > before.severity_key,
    }
    return [change for change, happened in found.items() if happened]


def first_status(*, kev: bool, by_watch: bool, published_at: datetime | None, now: datetime) -> AlertStatus:
    """Of a flaw that is told for the first time. A scan tells by itself what it brings, so only news are announced."""
    is_recent = published_at is not None and published_at >= now - RECENT
    return AlertStatus.PENDING if kev or by_watch or is_recent else AlertStatus.DIGESTED


def status_after(status: AlertStatus) -> AlertStatus:
    """After a change: to be announced, unless nobody wants to hear of the flaw."""
    return status if status is AlertStatus.SUPPRESSED else AlertStatus.PENDING
