"""OSV documents in the shapes feeds really have, and how a broken one is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.advisories import osv
from schema.advisories.feeds import UnreadableDocument
from schema.advisories.osv import AdvisoryFormatError, parse_osv
from schema.advisories.records import AffectedPackage, VersionRange
from schema.vulnerabilities.records import Severity
from tests.schema.advisories.factories import advisory, entry

VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"  # 7.5
OPEN = ("introduced", "0")


def test_a_whole_record() -> None:
    record = parse_osv(
        {
            "schema_version": "1.6.0",
            "id": "GHSA-aaaa-bbbb-cccc",
            "modified": "2024-03-04T05:06:07.123456789Z",
            "published": "2024-03-01T00:00:00+02:00",
            "withdrawn": "2024-04-01T00:00:00Z",
            "aliases": ["CVE-2024-0001", "CVE-2024-0001", "GHSA-aaaa-bbbb-cccc"],
            "related": ["CVE-2024-0002"],
            "summary": "A flaw",
            "details": "Long\r\ntext\x00.",
            "severity": [{"type": "CVSS_V3", "score": VECTOR}, {"type": "CVSS_V3", "score": "nonsense"}],
            "affected": [
                {
                    "package": {"ecosystem": "PyPI", "name": "Foo.Bar_baz", "purl": "pkg:pypi/foo-bar-baz"},
                    "ranges": [
                        {"type": "GIT", "repo": "https://example.org/x", "events": [{"introduced": "abc"}]},
                        {
                            "type": "ECOSYSTEM",
                            "events": [{"introduced": "0"}, {"fixed": "1.2"}],
                            "database_specific": {},
                        },
                    ],
                    "versions": ["1.0", "1.1"],
                    "database_specific": {"source": "https://example.org"},
                }
            ],
            "references": [
                {"type": "WEB", "url": "https://example.org/1"},
                {"type": "WEB", "url": "https://example.org/1"},
                {"type": "WEB", "url": "javascript:alert(1)"},
                {"type": "WEB"},
            ],
            "credits": [{"name": "somebody"}],
            "an unknown key": [1, 2, 3],
        }
    )
    assert record.id == "GHSA-aaaa-bbbb-cccc"
    assert record.aliases == ("CVE-2024-0001",)
    assert (record.summary, record.details) == ("A flaw", "Long\ntext.")
    assert record.modified == datetime(2024, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
    assert record.published == datetime(2024, 2, 29, 22, tzinfo=UTC)
    assert record.withdrawn == datetime(2024, 4, 1, tzinfo=UTC)
    assert (record.severity, record.cvss_score, record.cvss_vectors) == (Severity.HIGH, 7.5, (VECTOR,))
    assert record.references == ("https://example.org/1",)
    assert record.affected == (
        AffectedPackage(
            ecosystem="PyPI",
            name="foo-bar-baz",
            ranges=(VersionRange(type="ECOSYSTEM", events=(("introduced", "0"), ("fixed", "1.2"))),),
            versions=("1.0", "1.1"),
            severity=None,
            cvss_vectors=(),
        ),
    )


def test_the_least_record() -> None:
    record = parse_osv({"id": "X-1", "modified": "2024-01-01T00:00:00Z", "aliases": None, "affected": None})
    assert (record.aliases, record.affected, record.severity) == ((), (), Severity.UNKNOWN)


# --- Names of one flaw


@pytest.mark.parametrize(
    ("identity", "ecosystem", "more", "aliases"),
    [
        # A distribution's record of one CVE, old and new
        ("DEBIAN-CVE-2024-0001", "Debian:12", {"upstream": ["CVE-2024-0001"]}, ["CVE-2024-0001"]),
        ("ALPINE-CVE-2024-0001", "Alpine:v3.19", {}, ["CVE-2024-0001"]),
        ("UBUNTU-CVE-2024-0001", "Ubuntu:22.04:LTS", {"related": ["USN-1-1", "CVE-2024-0009"]}, ["CVE-2024-0001"]),
        ("CGA-1", "Wolfi", {"upstream": ["CVE-2024-0001", "GHSA-a"]}, ["CVE-2024-0001", "GHSA-a"]),
        # Bulletins
        (
            "USN-1-1",
            "Ubuntu:22.04:LTS",
            {"upstream": ["UBUNTU-CVE-2024-0001", "UBUNTU-CVE-2024-0002"]},
            ["UBUNTU-CVE-2024-0001", "UBUNTU-CVE-2024-0002", "CVE-2024-0001", "CVE-2024-0002"],
        ),
        (
            "RHSA-2024:1",
            "Red Hat:enterprise_linux:9::baseos",
            {"upstream": ["CVE-2024-0001"], "aliases": ["CVE-2024-0002"]},
            ["CVE-2024-0002", "CVE-2024-0001"],
        ),
        (
            "ALSA-2024:1",
            "AlmaLinux:9",
            {"related": ["CVE-2024-0001", "RHSA-2024:1", "CVE-2024-0002"]},
            ["CVE-2024-0001", "CVE-2024-0002"],
        ),
        # A library's related records are others; so is upstream, unless nothing else says which flaw it is
        ("GHSA-a", "PyPI", {"related": ["CVE-2024-0001"]}, []),
        ("GHSA-a", "PyPI", {"aliases": ["CVE-2024-0001"], "upstream": ["CVE-2024-0002"]}, ["CVE-2024-0001"]),
        ("GHSA-a", "PyPI", {"upstream": ["CVE-2024-0002"]}, ["CVE-2024-0002"]),
        ("GHSA-a", "PyPI", {"aliases": ["x" * 61]}, []),
    ],
)
def test_aliases(identity: str, ecosystem: str, more: dict[str, Any], aliases: list[str]) -> None:
    record = advisory(identity, entry(ecosystem, "thing", OPEN), **more)
    assert list(record.aliases) == aliases


# --- Severity


@pytest.mark.parametrize(
    ("ecosystem", "of_record", "of_entry", "expected"),
    [
        ("PyPI", {"severity": [{"type": "CVSS_V3", "score": VECTOR}]}, {}, (Severity.HIGH, None)),
        ("PyPI", {"database_specific": {"severity": "MODERATE"}}, {}, (Severity.MEDIUM, None)),
        # a library: the vector goes before the word derived from it
        (
            "PyPI",
            {"severity": [{"type": "CVSS_V3", "score": VECTOR}], "database_specific": {"severity": "LOW"}},
            {},
            (Severity.HIGH, None),
        ),
        # a distribution: its own word goes first
        (
            "Ubuntu:22.04:LTS",
            {"severity": [{"type": "CVSS_V3", "score": VECTOR}, {"type": "Ubuntu", "score": "low"}]},
            {},
            (Severity.LOW, None),
        ),
        ("Debian:12", {}, {"ecosystem_specific": {"urgency": "high**"}}, (Severity.HIGH, Severity.HIGH)),
        ("Debian:12", {}, {"ecosystem_specific": {"urgency": "not yet assigned"}}, (Severity.UNKNOWN, None)),
        ("npm", {}, {"severity": [{"type": "CVSS_V3", "score": VECTOR}]}, (Severity.HIGH, Severity.HIGH)),
        ("crates.io", {}, {"database_specific": {"cvss": VECTOR}}, (Severity.HIGH, Severity.HIGH)),
        ("npm", {}, {"ecosystem_specific": {"severity": "Critical"}}, (Severity.CRITICAL, Severity.CRITICAL)),
        ("npm", {"severity": [{"type": "CVSS_V3", "score": "9.1"}]}, {}, (Severity.CRITICAL, None)),
        ("npm", {"severity": [{"type": "CVSS_V3", "score": "91"}]}, {}, (Severity.UNKNOWN, None)),
        ("AlmaLinux:9", {"summary": "Important: openssl security update"}, {}, (Severity.HIGH, None)),
        ("npm", {"summary": "Important: read this"}, {}, (Severity.UNKNOWN, None)),
        ("npm", {"database_specific": {"severity": ["odd"]}, "severity": []}, {}, (Severity.UNKNOWN, None)),
        ("npm", {"database_specific": "odd"}, {}, (Severity.UNKNOWN, None)),
    ],
)
def test_severity(
    ecosystem: str, of_record: dict[str, Any], of_entry: dict[str, Any], expected: tuple[Severity, Severity | None]
) -> None:
    record = advisory("X-1", entry(ecosystem, "thing", OPEN, **of_entry), **of_record)
    assert (record.severity, record.affected[0].severity) == expected


def test_a_malicious_package_is_critical() -> None:
    assert advisory("MAL-2024-1", entry("npm", "thing", OPEN)).severity is Severity.CRITICAL


def test_a_record_is_as_bad_as_its_worst_entry() -> None:
    record = advisory(
        "DEBIAN-CVE-2024-0001",
        entry("Debian:12", "a", OPEN, ecosystem_specific={"urgency": "low"}),
        entry("Debian:11", "a", OPEN, ecosystem_specific={"urgency": "medium"}),
    )
    assert record.severity is Severity.MEDIUM


# --- Affected packages


@pytest.mark.parametrize(
    ("ecosystem", "name", "normalised"),
    [
        ("PyPI", "Zope.Interface__x--y", "zope-interface-x-y"),
        ("npm", "@Scope/Pkg", "@Scope/Pkg"),
        ("Packagist", "Vendor/Package", "vendor/package"),
        ("NuGet", "Newtonsoft.Json", "newtonsoft.json"),
        ("Go", "github.com/Foo/bar", "github.com/Foo/bar"),
        ("Maven", "org.Example:Thing", "org.Example:Thing"),
        ("Debian:12", "libsigc++-2.0", "libsigc++-2.0"),
    ],
)
def test_names_are_normalised(ecosystem: str, name: str, normalised: str) -> None:
    assert advisory("X-1", entry(ecosystem, name, OPEN)).affected[0].name == normalised


def test_what_nothing_can_match_is_left_out() -> None:
    git = {"ranges": [{"type": "GIT", "repo": "https://example.org", "events": [{"introduced": "0"}]}]}
    record = advisory(
        "X-1",
        git,
        {**git, "package": {"ecosystem": "PyPI", "name": "a"}},
        {"versions": ["1.0"]},
        {"package": {"ecosystem": "PyPI", "name": "b"}},
        entry("PyPI", "c", OPEN),
        entry("PyPI", "c", OPEN),  # once for each architecture, in some feeds
    )
    assert [package.name for package in record.affected] == ["c"]


def test_events_keep_their_order_and_two_in_one_are_both_meant() -> None:
    record = advisory(
        "X-1",
        {
            "package": {"ecosystem": "npm", "name": "a"},
            "ranges": [{"type": "SEMVER", "events": [{"fixed": "2.0.0", "introduced": "0"}, {"introduced": "3.0.0"}]}],
        },
    )
    assert record.affected[0].ranges[0].events == (("introduced", "0"), ("fixed", "2.0.0"), ("introduced", "3.0.0"))


# --- Bounds


def test_texts_for_people_are_cut() -> None:
    record = advisory(
        "X-1",
        summary="s" * 10_000,
        details="d" * 1_000_000,
        references=[{"url": f"https://example.org/{number}"} for number in range(1_000)],
    )
    assert (len(record.summary), len(record.details)) == (osv.MAX_SUMMARY, osv.MAX_DETAILS)
    assert len(record.references) == osv.MAX_REFERENCES


@pytest.mark.parametrize(
    ("details", "summary"),
    [
        ("", ""),
        ("\n\n# Impact \nMore", "Impact"),
        ("A sentence.\nAnother.", "A sentence."),
        ("x" * 1000, "x" * 199 + "…"),
    ],
)
def test_a_summary_is_taken_from_the_details(details: str, summary: str) -> None:
    assert advisory("X-1", details=details).summary == summary


def _broken(**changes: object) -> dict[str, Any]:
    return {"id": "X-1", "modified": "2024-01-01T00:00:00Z", **changes}


def _entry(**changes: object) -> dict[str, Any]:
    return _broken(affected=[{**entry("PyPI", "a", OPEN), **changes}])


def _range(**changes: object) -> dict[str, Any]:
    return _entry(ranges=[{"type": "ECOSYSTEM", "events": [{"introduced": "0"}], **changes}])


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, "not an OSV record: expected an object"),
        ([], "not an OSV record: expected an object"),
        ({}, "not an OSV record: `id` must be a text of 1-60 characters"),
        ({"id": 7}, "not an OSV record: `id`"),
        ({"id": "x" * 61}, "not an OSV record: `id`"),
        (UnreadableDocument("is not JSON: …"), "is not JSON"),
        ({"id": "X-1"}, "X-1: modified: Required"),
        (_broken(modified="yesterday"), "X-1: modified: expected a time"),
        (_broken(modified="9999-12-31T23:59:59-23:00"), "X-1: modified: expected a time"),
        (_broken(withdrawn=1), "X-1: withdrawn: expected a time"),
        (_broken(summary=["a"]), "X-1: summary: expected a text"),
        (_broken(aliases="CVE-2024-0001"), "X-1: aliases: expected a list"),
        (_broken(aliases=[1]), "X-1: aliases: expected a text"),
        (_broken(aliases=["A"] * (osv.MAX_ALIASES + 1)), "X-1: aliases: has 5001 entries"),
        (_broken(severity="HIGH"), "X-1: severity: expected a list"),
        (_broken(affected=["a"]), "X-1: affected.0: expected an object"),
        (_entry(package=[]), "X-1: affected.0.package: expected an object"),
        (_entry(package={"name": "a"}), "X-1: affected.0.package.ecosystem: expected a text"),
        (_entry(package={"ecosystem": "PyPI"}), "X-1: affected.0.package.name: expected a text of 1-300 characters"),
        (_entry(package={"ecosystem": "PyPI", "name": "a\x00b"}), "X-1: affected.0.package.name"),
        (_entry(versions=[1.1]), "X-1: affected.0.versions: expected a text"),
        (_entry(severity=[1]), "X-1: affected.0.severity.0: expected an object"),
        (_range(type="OTHER"), "X-1: affected.0.ranges.0.type: expected one of ECOSYSTEM, SEMVER, GIT"),
        (_range(type=None), "X-1: affected.0.ranges.0.type"),
        (_range(events=[]), "X-1: affected.0.ranges.0.events: needs an `introduced` event"),
        (_range(events=[{"fixed": "1"}]), "X-1: affected.0.ranges.0.events: needs an `introduced` event"),
        (_range(events=[{"introduced": 0}]), "X-1: affected.0.ranges.0.events: expected a text"),
        (_range(events=[{"introduced": "0"}] * (osv.MAX_EVENTS + 1)), "X-1: affected.0.ranges.0.events: has 2001"),
    ],
)
def test_a_broken_record_is_refused_by_name(document: object, message: str) -> None:
    with pytest.raises(AdvisoryFormatError) as raised:
        parse_osv(document)
    assert str(raised.value).startswith(message)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_KEYS = [
    "aliases",
    "upstream",
    "related",
    "summary",
    "details",
    "severity",
    "affected",
    "references",
    "published",
    "withdrawn",
    "database_specific",
]
_ENTRY_KEYS = ["package", "ranges", "versions", "severity", "ecosystem_specific", "database_specific"]


@given(
    st.dictionaries(st.sampled_from(_KEYS), _JSON),
    st.none() | st.lists(st.dictionaries(st.sampled_from(_ENTRY_KEYS), _JSON), max_size=2),
)
def test_t52_no_document_raises_anything_else(document: dict[str, Any], entries: list[Any] | None) -> None:
    whole = _broken(**document) if entries is None else _broken(**{**document, "affected": entries})
    try:
        outcome = parse_osv(whole).id
    except AdvisoryFormatError as error:
        outcome = str(error)
    assert outcome == "X-1" or outcome.startswith("X-1: ")
