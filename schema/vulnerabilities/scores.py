"""Grade and risk: how counts and findings become a verdict. One implementation each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from schema.vulnerabilities.records import Severity

MAX_HIGH_FOR_B = 3
# A flaw nobody has rated weighs nothing: it is counted and shown, but a guess would be a made-up risk.
WEIGHTS = {Severity.CRITICAL: 10, Severity.HIGH: 5, Severity.MEDIUM: 2, Severity.LOW: 1, Severity.UNKNOWN: 0}
_SCALE = 200  # the sum of weights at which the score has reached 63 of 100


class Grade(StrEnum):
    """A: nothing critical or high. B: up to 3 high. C: more than 3 high. D: anything critical."""

    A = "A"
    B = "B"
    C = "C"
    D = "D"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityCounts:
    """How many findings there are of each severity."""

    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    unknown: int = 0

    @classmethod
    def of(cls, severities: Iterable[Severity]) -> SeverityCounts:
        counted = Counter(severities)
        return cls(**{severity.value.lower(): counted[severity] for severity in Severity})

    @property
    def total(self) -> int:
        return self.critical + self.high + self.medium + self.low + self.unknown


def grade(counts: SeverityCounts) -> Grade:
    """The grade of a scan, a tag or an image. Only critical and high findings decide it."""
    if counts.critical:
        return Grade.D
    if counts.high > MAX_HIGH_FOR_B:
        return Grade.C
    return Grade.B if counts.high else Grade.A


def risk_score(weight: float) -> int:
    """0-100 from what the open findings weigh together: each its severity's weight, doubled if it is known to be exploited,
    else times `1 + EPSS`.

    `round(100 * (1 - exp(-weight / 200)))`. The curve keeps one more finding visible without ever passing 100.
    """
    return round(100 * (1 - math.exp(-weight / _SCALE)))
