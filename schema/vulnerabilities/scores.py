"""Grade and risk: how counts and findings become a verdict. One implementation each."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from schema.vulnerabilities.records import Severity


class Grade(StrEnum):
    """A: nothing critical or high. B: up to 3 high. C: more than 3 high. D: anything critical."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityCounts:
    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, severities: Iterable[Severity]) -> SeverityCounts:
        listed = list(severities)
        return cls(**{severity.value.lower(): listed.count(severity) for severity in Severity})


MAX_HIGH_FOR_B = 3
WEIGHTS = {Severity.CRITICAL: 10, Severity.HIGH: 5, Severity.MEDIUM: 2, Severity.LOW: 1, Severity.UNKNOWN: 0}


def grade(counts: SeverityCounts) -> Grade:
    if counts.critical:
        return Grade.D
    if counts.high > MAX_HIGH_FOR_B:
        return Grade.C
    return Grade.B if counts.high else Grade.A


def risk_score(findings: Iterable[tuple[Severity, float | None, bool]]) -> int:
    """0-100 from (severity, EPSS or None, known to be exploited)."""
    total = sum(WEIGHTS[severity] * (2 if kev else 1 + (epss or 0)) for severity, epss, kev in findings)
    return round(100 * (1 - math.exp(-total / 200)))
