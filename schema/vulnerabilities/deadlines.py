"""Service-level deadlines: by when a vulnerability has to be fixed. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from schema.kernel.errors import Issue
from schema.vulnerabilities.records import Severity

MIN_DAYS = 1
MAX_DAYS = 365
DEFAULT_DAYS: Mapping[Severity, int | None] = {
    Severity.CRITICAL: 1,
    Severity.HIGH: 3,
    Severity.MEDIUM: 7,
    Severity.LOW: 14,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlaPolicy:
    """Days to fix by severity; none for a severity that has no deadline, as UNKNOWN never has."""

    days: Mapping[Severity, int | None]
    auto: bool = True  # deadlines are set when a vulnerability is found
    lead_days: int = 3  # so long before a deadline it is announced

    def due(self, severity: Severity, since: datetime) -> datetime | None:
        """The deadline of a vulnerability that is open since then."""
        days = self.days.get(severity) if self.auto else None
        return None if days is None else since + timedelta(days=days)


def policy_issues(days: Mapping[Severity, int | None], path: str) -> list[Issue]:
    """What is wrong with the days: each 1-365, and the worse the flaw, the sooner. Only low may have none."""
    issues: list[Issue] = []
    before: tuple[str, int] | None = None
    for severity in (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW):
        name, value = severity.value.lower(), days.get(severity)
        if value is None:
            if severity is not Severity.LOW:
                issues.append(Issue(f"{path}.{name}", "Required"))
            continue
        if not MIN_DAYS <= value <= MAX_DAYS:
            issues.append(Issue(f"{path}.{name}", f"must be between {MIN_DAYS} and {MAX_DAYS} days"))
        elif before is not None and value <= before[1]:
            issues.append(Issue(f"{path}.{name}", f"must be more than {before[0]}, which has {before[1]} days"))
        before = (name, value)
    return issues
