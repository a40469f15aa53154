"""CVSS vectors against scores published with them, feeds' words, and the choice among several vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import (
    choose_score,
    score_vector,
    severity_from_words,
    severity_of_score,
    severity_rank,
    worst_severity,
)

LOG4SHELL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"
HEARTBLEED_V2 = "AV:N/AC:L/Au:N/C:P/I:N/A:N"
V4 = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"


def test_ranks_are_ordered() -> None:
    ordered = [Severity.UNKNOWN, Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL]
    assert sorted(Severity, key=severity_rank) == ordered
    assert worst_severity([Severity.LOW, Severity.HIGH, Severity.UNKNOWN]) is Severity.HIGH
    assert worst_severity([]) is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("vector", "version", "score", "severity"),
    [
        (LOG4SHELL, "3.1", 10.0, Severity.CRITICAL),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "3.0", 9.8, Severity.CRITICAL),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", "3.1", 7.5, Severity.HIGH),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", "3.1", 6.1, Severity.MEDIUM),
        ("CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:L/I:N/A:N", "3.1", 2.5, Severity.LOW),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", "3.1", 0.0, Severity.LOW),
        (HEARTBLEED_V2, "2.0", 5.0, Severity.MEDIUM),
        (f"({HEARTBLEED_V2})", "2.0", 5.0, Severity.MEDIUM),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", "2.0", 10.0, Severity.HIGH),  # NVD's scale for 2.0 ends at HIGH
        (V4, "4.0", 9.3, Severity.CRITICAL),
        ("CVSS:4.0/AV:L/AC:L/AT:N/PR:L/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", "4.0", 8.5, Severity.HIGH),
        # A temporal metric does not change the base score.
        (f"{LOG4SHELL}/E:U/RL:O/RC:C", "3.1", 10.0, Severity.CRITICAL),
    ],
)
def test_vectors_are_scored(vector: str, version: str, score: float, severity: Severity) -> None:
    found = score_vector(vector)
    assert found is not None
    assert (found.version, found.score, found.severity) == (version, score, severity)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "9.8",
        "CVSS:3.1",
        "CVSS:3.1/",
        "CVSS:3.1/AV:N",
        "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:X",
        "CVSS:3.2/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        "CVSS:5.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
        "CVSS:4.0/AV:N",
        "AV:N/AC:L/Au:N",
        f"{LOG4SHELL}/AV:N",
        LOG4SHELL * 20,
    ],
)
def test_malformed_vectors_are_none(text: str) -> None:
    assert score_vector(text) is None


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*LOG4SHELL.split("/"), *V4.split("/"), *HEARTBLEED_V2.split("/"), ""])).map("/".join)
)
def test_no_text_raises(text: str) -> None:
    found = score_vector(text)
    assert found is None or 0.0 <= found.score <= 10.0


def test_newest_version_is_chosen_then_the_highest_score() -> None:
    milder = "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N"
    mild_v4 = "CVSS:4.0/AV:L/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"
    assert choose_score([]) is None
    assert choose_score(["nonsense"]) is None
    for vectors, expected in [
        ([HEARTBLEED_V2, milder], milder),
        ([LOG4SHELL, mild_v4, HEARTBLEED_V2], mild_v4),
        ([milder, LOG4SHELL, "nonsense"], LOG4SHELL),
        (["CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", milder], milder),
    ]:
        chosen = choose_score(vectors)
        assert chosen is not None
        assert chosen.vector == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("CRITICAL", Severity.CRITICAL),
        ("High", Severity.HIGH),
        ("IMPORTANT", Severity.HIGH),
        ("MODERATE", Severity.MEDIUM),
        (" medium** ", Severity.MEDIUM),
        ("low", Severity.LOW),
        ("NEGLIGIBLE", Severity.LOW),
        ("unimportant", Severity.LOW),
        ("not yet assigned", None),
        ("end-of-life", None),
        ("untriaged", None),
        ("", None),
    ],
)
def test_feeds_words(words: str, expected: Severity | None) -> None:
    assert severity_from_words(words) is expected


def test_bands_begin_at_their_bounds() -> None:
    assert [severity_of_score(score) for score in (9.0, 8.9, 7.0, 6.9, 4.0, 3.9)] == [
        Severity.CRITICAL,
        Severity.HIGH,
        Severity.HIGH,
        Severity.MEDIUM,
        Severity.MEDIUM,
        Severity.LOW,
    ]
    assert severity_of_score(9.9, version="2.0") is Severity.HIGH
