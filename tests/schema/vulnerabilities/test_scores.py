"""Grade and risk at their boundaries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade, SeverityCounts, grade, risk_score


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (SeverityCounts(), Grade.A),
        (SeverityCounts(medium=1000, low=1000, unknown=1000), Grade.A),
        (SeverityCounts(high=1), Grade.B),
        (SeverityCounts(high=3), Grade.B),
        (SeverityCounts(high=4), Grade.C),
        (SeverityCounts(high=1000), Grade.C),
        (SeverityCounts(critical=1), Grade.D),
        (SeverityCounts(critical=1, high=4), Grade.D),
    ],
)
def test_grade(counts: SeverityCounts, expected: Grade) -> None:
    assert grade(counts) is expected


def test_counts_are_by_severity() -> None:
    severities = [Severity.HIGH, Severity.LOW, Severity.HIGH, Severity.UNKNOWN, Severity.CRITICAL, Severity.MEDIUM]
    counts = SeverityCounts.of(iter(severities))
    assert counts == SeverityCounts(critical=1, high=2, medium=1, low=1, unknown=1)
    assert counts.total == 6
    assert SeverityCounts.of([]).total == 0


@pytest.mark.parametrize("weight", [0, 1, 7.5, 10, 143, 200])
def test_risk_is_the_documented_curve(weight: float) -> None:
    assert risk_score(weight) == round(100 * (1 - math.exp(-weight / 200)))


def test_risk_of_known_weights() -> None:
    assert [risk_score(weight) for weight in (0, 1, 2, 200, 20_000)] == [0, 0, 1, 63, 100]


@given(st.floats(0, 10_000), st.floats(0, 20))
def test_more_weight_never_lowers_the_risk(weight: float, more: float) -> None:
    assert 0 <= risk_score(weight) <= risk_score(weight + more) <= 100
