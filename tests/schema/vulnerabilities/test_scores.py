"""Grade and risk at their boundaries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade, SeverityCounts, grade, risk_score

_FINDING = st.tuples(st.sampled_from(Severity), st.none() | st.floats(0, 1), st.booleans())


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


@pytest.mark.parametrize(
    ("findings", "total"),
    [
        ([], 0),
        ([(Severity.CRITICAL, None, False)], 10),
        ([(Severity.HIGH, None, False)], 5),
        ([(Severity.MEDIUM, None, False)], 2),
        ([(Severity.LOW, None, False)], 1),
        ([(Severity.UNKNOWN, 1.0, True)], 0),
        ([(Severity.HIGH, 0.5, False)], 7.5),
        ([(Severity.HIGH, 1.0, False)], 10),
        ([(Severity.HIGH, 0.5, True)], 10),  # known to be exploited doubles it, whatever EPSS says
        ([(Severity.CRITICAL, None, True)] * 7 + [(Severity.LOW, None, False)] * 3, 143),
    ],
)
def test_risk_is_the_documented_curve(findings: list[tuple[Severity, float | None, bool]], total: float) -> None:
    assert risk_score(findings) == round(100 * (1 - math.exp(-total / 200)))


def test_risk_of_known_images() -> None:
    assert risk_score([(Severity.CRITICAL, None, False)] * 20) == 63
    assert risk_score([(Severity.LOW, None, False)]) == 0
    assert risk_score([(Severity.MEDIUM, None, False)]) == 1
    assert risk_score([(Severity.CRITICAL, None, True)] * 1000) == 100


@given(st.lists(_FINDING, max_size=50), _FINDING)
def test_one_more_finding_never_lowers_the_risk(
    findings: list[tuple[Severity, float | None, bool]], another: tuple[Severity, float | None, bool]
) -> None:
    before, after = risk_score(findings), risk_score([*findings, another])
    assert 0 <= before <= after <= 100
