"""Debian's security tracker: its states become ranges and ratings, and nothing it says is lost in silence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.advisories.debian import parse_tracker
from schema.advisories.matching import is_affected
from schema.advisories.osv import AdvisoryFormatError
from schema.advisories.records import AdvisoryRecord
from schema.vulnerabilities.records import Severity

AS_OF = datetime(2026, 5, 1, tzinfo=UTC)


def state(status: str = "open", **more: Any) -> dict[str, Any]:
    """One release's part of an entry, in the shape of the tracker's dump."""
    return {"status": status, "repositories": {"bookworm": "1.0-1"}, "urgency": "not yet assigned", **more}


def dump(*, package: str = "openssl", flaw: str = "CVE-2024-0001", **releases: Any) -> dict[str, Any]:
    return {package: {flaw: {"description": "A flaw.", "scope": "remote", "releases": releases}}}


def parse(document: dict[str, Any]) -> tuple[dict[str, AdvisoryRecord], list[str]]:
    """(records by id, what was refused)."""
    outcomes = [outcome for _, outcome in parse_tracker(document.items(), as_of=AS_OF)]
    records = {outcome.id: outcome for outcome in outcomes if isinstance(outcome, AdvisoryRecord)}
    return records, [str(outcome) for outcome in outcomes if isinstance(outcome, AdvisoryFormatError)]


def one(document: dict[str, Any]) -> AdvisoryRecord:
    records, refused = parse(document)
    assert refused == []
    (record,) = records.values()
    return record


def test_a_record_of_all_releases() -> None:
    record = one(
        dump(
            bookworm=state("resolved", fixed_version="3.0.9-1", urgency="low"),
            trixie=state("open", urgency="medium"),
            sid=state("open"),
        )
    )
    assert (record.id, record.aliases, record.modified) == ("DEBIAN-CVE-2024-0001", ("CVE-2024-0001",), AS_OF)
    assert [(each.ecosystem, each.name, each.severity) for each in record.affected] == [
        ("Debian:12", "openssl", Severity.LOW),
        ("Debian:13", "openssl", Severity.MEDIUM),
    ]
    fixed, still_open = record.affected
    assert [is_affected(fixed, version) for version in ("3.0.8-1", "3.0.9-1")] == [True, False]
    assert is_affected(still_open, "99")


def test_a_release_that_never_had_it() -> None:
    (affected,) = one(dump(bookworm=state("resolved", fixed_version="0"))).affected
    assert not any(is_affected(affected, version) for version in ("0", "0~20200101-1", "1.0-1"))


def test_packages_of_one_flaw_are_one_record() -> None:
    record = one(dump(bookworm=state()) | dump(package="nodejs", bookworm=state("resolved", fixed_version="0")))
    assert {each.name for each in record.affected} == {"openssl", "nodejs"}


@pytest.mark.parametrize(
    ("more", "severity", "note"),
    [
        ({"nodsa": "Minor issue", "nodsa_reason": ""}, Severity.LOW, "openssl in bookworm: no DSA: Minor issue"),
        ({"nodsa": "Too intrusive", "nodsa_reason": "ignored"}, Severity.LOW, "no DSA (ignored): Too intrusive"),
        ({"nodsa": "Minor issue", "urgency": "medium"}, Severity.MEDIUM, "no DSA: Minor issue"),
        ({"urgency": "unimportant"}, Severity.LOW, ""),
        ({"urgency": "high**"}, Severity.HIGH, ""),
        ({"urgency": "end-of-life"}, None, ""),
        ({"status": "undetermined"}, None, "not yet determined"),
    ],
)
def test_what_debian_thinks_of_it(more: dict[str, Any], severity: Severity | None, note: str) -> None:
    record = one(dump(bookworm={**state(), **more}))
    (affected,) = record.affected
    assert is_affected(affected, "1.0-1"), "a lower rating is no silence"
    assert affected.severity is severity
    assert note in record.details


def test_a_rating_of_one_release_says_nothing_of_another() -> None:
    record = one(dump(bullseye=state(nodsa="Minor issue"), bookworm=state()))
    assert [each.severity for each in record.affected] == [Severity.LOW, None]
    assert record.severity is Severity.UNKNOWN


def test_a_flaw_without_a_cve() -> None:
    record = one(dump(flaw="TEMP-0841856-B18BAF", bookworm=state()))
    assert (record.id, record.aliases) == ("DEBIAN-TEMP-0841856-B18BAF", ())


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        {"releases": []},
        {"releases": {"bookworm": None}},
        {"releases": {"bookworm": {"status": "new"}}},
        {"releases": {"bookworm": {"status": "resolved"}}},
        {"releases": {"bookworm": {"status": "resolved", "fixed_version": "1\x00"}}},
        {"releases": {"bookworm": {"status": "resolved", "fixed_version": 1}}},
    ],
)
def test_an_entry_that_cannot_be_read_costs_no_other(entry: object) -> None:
    records, refused = parse(dump(bookworm=state()) | {"bad": {"CVE-2024-0002": entry}, "worse": []})
    assert list(records) == ["DEBIAN-CVE-2024-0001"]
    assert len(refused) == 2


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_STATE = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("status", "fixed_version", "urgency", "nodsa"), _JSON)
) | st.builds(state, st.sampled_from(["open", "resolved", "undetermined"]), fixed_version=st.text(max_size=6))
_ENTRY = st.fixed_dictionaries(
    {"releases": st.dictionaries(st.sampled_from(["bookworm", "sid", "x"]), _STATE | _JSON, max_size=3)}
)
_FLAWS = st.dictionaries(st.sampled_from(["CVE-2024-0001", "CVE-x", ""]), _ENTRY | _JSON, max_size=3)


@given(st.dictionaries(st.text(max_size=6), _FLAWS | _JSON, max_size=3))
def test_nothing_makes_it_fail(document: dict[str, Any]) -> None:
    for _, outcome in parse_tracker(document.items(), as_of=AS_OF):
        assert isinstance(outcome, AdvisoryRecord | AdvisoryFormatError)
