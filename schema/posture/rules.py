"""How an organization's figures become its posture. One implementation each, no I/O."""

from __future__ import annotations

from collections.abc import Mapping

from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import WEIGHTS

_MAX_VULNERABILITIES, _MAX_OVERDUE, _MAX_UNCOVERED = 60, 25, 15
_OVERDUE_WEIGHT = 5


def coverage(fresh: int, total: int) -> float | None:
    """The share of tags that were scanned lately, 0-1; None where there is no tag."""
    return fresh / total if total else None


def posture_risk(open_by_severity: Mapping[Severity, int], *, overdue: int, covered: float | None) -> int:
    """0-100: `min(60, S)` of what is open, `min(25, 5 x overdue)` of severity critical and high, `15 x (1 - coverage)`.

    S sums the weights of what is open and not attested. Without a tag there is nothing to cover, and nothing is added.
    """
    weight = sum(WEIGHTS[severity] * count for severity, count in open_by_severity.items())
    uncovered = 0.0 if covered is None else 1 - covered
    return round(
        min(_MAX_VULNERABILITIES, weight) + min(_MAX_OVERDUE, _OVERDUE_WEIGHT * overdue) + _MAX_UNCOVERED * uncovered
    )


def compliance(with_deadline: int, breached: int) -> float | None:
    """The share of open critical and high vulnerabilities with a deadline that have not missed it, in percent."""
    return None if with_deadline == 0 else 100 * (with_deadline - breached) / with_deadline
