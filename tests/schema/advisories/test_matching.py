"""From packages and advisories to findings: OSV's evaluation, aliases, bulletins, severity, fixes, coverage."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from schema.advisories.debian import parse_tracker
from schema.advisories.matching import covering_ecosystems, is_affected, lookup_keys, uncovered_ecosystems
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord, AffectedPackage
from schema.dependencies.records import PackageRecord
from schema.vulnerabilities.records import FindingRecord, Severity
from tests.schema.advisories.factories import advisory, entry, filed, match, package

CRITICAL = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}  # 9.8
HIGH = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}  # 7.5
MEDIUM_V4 = {"type": "CVSS_V4", "score": "CVSS:4.0/AV:L/AC:L/AT:N/PR:H/UI:N/VC:L/VI:L/VA:N/SC:N/SI:N/SA:N"}
DEBIAN = "Debian:12"


def affected(
    *events: tuple[str, str], kind: str = "ECOSYSTEM", ecosystem: str = "PyPI", **more: Any
) -> AffectedPackage:
    (found,) = advisory("X-1", entry(ecosystem, "thing", *events, kind=kind, **more)).affected
    return found


# --- Evaluation


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        # every version
        ([("introduced", "0")], ["0", "0.dev0", "1.0", "99"], []),
        # up to a fix
        ([("introduced", "0"), ("fixed", "1.0.2")], ["0.1", "1.0.1", "1.0.2rc1"], ["1.0.2", "1.0.2.post1", "2"]),
        # two ranges in one list
        (
            [("introduced", "1.0.0"), ("fixed", "1.0.2"), ("introduced", "3.0.0"), ("fixed", "3.2.5")],
            ["1.0.0", "1.0.1", "3.0.0", "3.2.4"],
            ["0.9", "1.0.2", "2.9", "3.2.5", "4"],
        ),
        # the same, in an order of somebody's own
        (
            [("fixed", "3.2.5"), ("introduced", "3.0.0"), ("fixed", "1.0.2"), ("introduced", "1.0.0")],
            ["1.0.0", "1.0.1", "3.0.0", "3.2.4"],
            ["0.9", "1.0.2", "2.9", "3.2.5", "4"],
        ),
        # up to and with
        ([("introduced", "1.0"), ("last_affected", "1.5")], ["1.0", "1.5"], ["0.9", "1.5.0.1", "1.6"]),
        # one version
        ([("introduced", "1.0"), ("last_affected", "1.0")], ["1.0", "1.0.0"], ["0.9", "1.0.1"]),
        # a limit, several limits, and the one that is none
        ([("introduced", "1.0"), ("limit", "2.0")], ["1.0", "1.9"], ["0.9", "2.0", "3"]),
        ([("introduced", "1.0"), ("limit", "2.0"), ("limit", "3.0")], ["1.0", "2.5"], ["3.0"]),
        ([("introduced", "1.0"), ("limit", "2.0"), ("limit", "*")], ["1.0", "2.5", "9"], ["0.9"]),
        # an empty range, and a branch that begins where the one before was fixed: the document's order decides
        ([("introduced", "1.0"), ("fixed", "1.0")], [], ["0.9", "1.0", "1.1"]),
        ([("introduced", "0"), ("fixed", "2.0"), ("introduced", "2.0"), ("fixed", "2.1")], ["1.9", "2.0"], ["2.1"]),
    ],
)
def test_evaluation(events: list[tuple[str, str]], inside: list[str], outside: list[str]) -> None:
    found = affected(*events)
    assert [version for version in inside if not is_affected(found, version)] == []
    assert [version for version in outside if is_affected(found, version)] == []


def test_one_range_of_several_is_enough() -> None:
    (found,) = advisory(
        "X-1",
        {
            "package": {"ecosystem": "npm", "name": "thing"},
            "ranges": [
                {"type": "SEMVER", "events": [{"introduced": "1.0.0"}, {"fixed": "1.1.0"}]},
                {"type": "SEMVER", "events": [{"introduced": "2.0.0"}, {"fixed": "2.1.0"}]},
            ],
        },
    ).affected
    assert [is_affected(found, version) for version in ("1.0.5", "1.5.0", "2.0.0", "2.1.0")] == [
        True,
        False,
        True,
        False,
    ]


def test_listed_versions_count_beside_ranges() -> None:
    found = affected(("introduced", "0"), ("fixed", "1.0"), versions=["3.0"])
    assert [is_affected(found, version) for version in ("0.9", "1.5", "3.0")] == [True, False, True]


def test_a_list_alone_knows_other_spellings() -> None:
    found = affected(versions=["1.0", "2.0rc1"])
    assert [is_affected(found, version) for version in ("1.0", "1.0.0", "2.0-RC.1", "2.0")] == [True, True, True, False]
    unordered = affected(versions=["abc"], ecosystem="GHC")
    assert is_affected(unordered, "abc")
    assert not is_affected(unordered, "abd")


def test_the_type_of_a_range_chooses_the_order() -> None:
    by_ecosystem = affected(("introduced", "0"), ("fixed", "1.0.post1"))
    by_semver = affected(("introduced", "0"), ("fixed", "1.0.0"), kind="SEMVER")
    assert is_affected(by_ecosystem, "1.0")
    assert is_affected(by_semver, "1.0.0-rc.1")
    assert not is_affected(by_semver, "1.0.0+build")


def test_a_version_without_order_is_in_no_range() -> None:
    found = affected(("introduced", "0"), ecosystem="Go", kind="SEMVER")
    assert is_affected(found, "v1.2.3")
    assert not is_affected(found, "(devel)")
    assert not is_affected(affected(("introduced", "0"), ("fixed", "2"), ecosystem="GHC"), "1")


@given(
    st.lists(st.tuples(st.sampled_from(["fixed", "last_affected", "limit"]), st.text(max_size=6)), max_size=5),
    st.text(),
)
def test_no_events_and_no_version_raise(events: list[tuple[str, str]], version: str) -> None:
    named = [(kind, text.replace("\x00", "")) for kind, text in events]
    found = affected(("introduced", "0"), *((kind, text) for kind, text in named if text))
    assert is_affected(found, version) in (True, False)


# --- One flaw, one finding


def only(findings: list[FindingRecord]) -> FindingRecord:
    (finding,) = findings
    return finding


def test_records_of_one_flaw_are_one_finding_with_all_ids() -> None:
    django = package("PyPI", "Django", "3.2.1")
    found = only(
        match(
            django,
            advisory(
                "PYSEC-2021-98",
                entry("PyPI", "django", ("introduced", "3.2"), ("fixed", "3.2.4")),
                aliases=["CVE-2021-33203"],
                details="A flaw in Django.\n\nMore of it.",
            ),
            advisory(
                "GHSA-68w8-qjq3-2gfm",
                entry("PyPI", "Django", ("introduced", "3.0"), ("fixed", "3.2.4")),
                aliases=["CVE-2021-33203"],
                severity=[HIGH],
                summary="Path Traversal in Django",
            ),
            advisory("CVE-2021-33203", entry("PyPI", "django", ("introduced", "0"), ("fixed", "3.1.12"))),
        )
    )
    assert found.vulnerability_id == "CVE-2021-33203"
    assert found.aliases == ("GHSA-68w8-qjq3-2gfm", "PYSEC-2021-98")
    assert found.advisory_ids == ("GHSA-68w8-qjq3-2gfm", "PYSEC-2021-98")  # the third is not about this version
    assert found.severity is Severity.HIGH
    assert found.cvss_score == 7.5
    assert found.fixed_versions == ("3.2.4",)
    assert found.title == "Path Traversal in Django"
    assert found.package is django


def test_aliases_join_through_a_third_record() -> None:
    events = ("introduced", "0")
    found = match(
        package("npm", "a", "1.0.0"),
        advisory("GHSA-aaaa-aaaa-aaaa", entry("npm", "a", events), aliases=["SNYK-1"]),
        advisory("NPM-7", entry("npm", "a", events), aliases=["OTHER-2"]),
        advisory("OTHER-2", entry("npm", "a", events), aliases=["SNYK-1"]),
        advisory("NPM-8", entry("npm", "a", events)),
    )
    assert [finding.vulnerability_id for finding in found] == ["GHSA-aaaa-aaaa-aaaa", "NPM-8"]
    assert found[0].aliases == ("NPM-7", "OTHER-2", "SNYK-1")


def test_related_records_stay_apart() -> None:
    found = match(
        package("npm", "a", "1.0.0"),
        advisory("GHSA-a", entry("npm", "a", ("introduced", "0")), related=["GHSA-b", "CVE-2020-0001"]),
        advisory("GHSA-b", entry("npm", "a", ("introduced", "0"))),
    )
    assert [finding.vulnerability_id for finding in found] == ["GHSA-a", "GHSA-b"]


def test_cve_ids_are_compared_as_numbers() -> None:
    found = match(
        package("npm", "a", "1.0.0"),
        advisory("GHSA-a", entry("npm", "a", ("introduced", "0")), aliases=["CVE-2020-10000"]),
        advisory("NPM-1", entry("npm", "a", ("introduced", "0")), aliases=["GHSA-a", "CVE-2020-9999"]),
    )
    assert only(found).vulnerability_id == "CVE-2020-9999"
    assert only(found).aliases == ("CVE-2020-10000", "GHSA-a", "NPM-1")


def bulletin(*cves: str, fixed: str = "1.0-3", **more: Any) -> Any:
    return advisory("DSA-9-1", entry(DEBIAN, "ssl", ("introduced", "0"), ("fixed", fixed)), upstream=list(cves), **more)


def test_a_bulletin_of_three_cves_is_three_findings() -> None:
    found = match(package(DEBIAN, "ssl", "1.0-2"), bulletin("CVE-2024-0001", "CVE-2024-0003", "CVE-2024-0002"))
    assert [finding.vulnerability_id for finding in found] == ["CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003"]
    assert all(finding.advisory_ids == ("DSA-9-1",) for finding in found)
    assert all(finding.aliases == () for finding in found)
    assert all(finding.fixed_versions == ("1.0-3",) for finding in found)


def test_a_bulletin_does_not_glue_the_flaws_it_covers() -> None:
    low = advisory(
        "DEBIAN-CVE-2024-0001",
        entry(DEBIAN, "ssl", ("introduced", "0"), ("fixed", "1.0-3"), ecosystem_specific={"urgency": "low"}),
        upstream=["CVE-2024-0001"],
    )
    found = match(package(DEBIAN, "ssl", "1.0-2"), low, bulletin("CVE-2024-0001", "CVE-2024-0002", severity=[CRITICAL]))
    assert [(finding.vulnerability_id, finding.severity) for finding in found] == [
        ("CVE-2024-0001", Severity.LOW),  # a bulletin's rating is that of its worst flaw
        ("CVE-2024-0002", Severity.CRITICAL),
    ]
    assert [finding.advisory_ids for finding in found] == [("DEBIAN-CVE-2024-0001", "DSA-9-1"), ("DSA-9-1",)]
    assert found[0].aliases == ("DEBIAN-CVE-2024-0001",)


def test_a_flaws_own_record_knows_better_than_a_bulletin() -> None:
    fixed_earlier = advisory(
        "DEBIAN-CVE-2024-0002",
        entry(DEBIAN, "ssl", ("introduced", "0"), ("fixed", "1.0-1")),
        upstream=["CVE-2024-0002"],
    )
    found = match(package(DEBIAN, "ssl", "1.0-2"), fixed_earlier, bulletin("CVE-2024-0001", "CVE-2024-0002"))
    assert [finding.vulnerability_id for finding in found] == ["CVE-2024-0001"]


def test_a_notice_names_cves_by_the_distributions_ids() -> None:
    notice = advisory(
        "USN-5001-1",
        entry("Ubuntu:20.04:LTS", "linux", ("introduced", "0"), ("fixed", "5.10.0-1033.34")),
        upstream=["UBUNTU-CVE-2020-24586", "UBUNTU-CVE-2021-3609"],
    )
    own = advisory(
        "UBUNTU-CVE-2021-3609",
        entry("Ubuntu:20.04:LTS", "linux", ("introduced", "0"), ("fixed", "5.10.0-1033.34")),
        upstream=["CVE-2021-3609"],
        severity=[CRITICAL, {"type": "Ubuntu", "score": "medium"}],
    )
    found = match(package("Ubuntu:20.04:LTS", "linux", "5.10.0-1008.9"), notice, own)
    assert [(finding.vulnerability_id, finding.severity) for finding in found] == [
        ("CVE-2020-24586", Severity.UNKNOWN),
        ("CVE-2021-3609", Severity.MEDIUM),
    ]
    assert found[1].advisory_ids == ("UBUNTU-CVE-2021-3609", "USN-5001-1")


def test_withdrawn_advisories_do_not_count() -> None:
    withdrawn = advisory("GHSA-a", entry("npm", "a", ("introduced", "0")), withdrawn="2024-06-01T00:00:00Z")
    assert match(package("npm", "a", "1.0.0"), withdrawn) == []


# --- Several feeds


def tracked(fixed: str | None, *, cve: str = "CVE-2024-0001") -> AdvisoryRecord:
    """A record of Debian's tracker; "0": never affected."""
    state: dict[str, Any] = {"status": "open"} if fixed is None else {"status": "resolved", "fixed_version": fixed}
    dump = {"ssl": {cve: {"releases": {"bookworm": {"urgency": "not yet assigned", **state}}}}}
    ((_, record),) = parse_tracker(dump.items(), as_of=datetime(2026, 5, 1, tzinfo=UTC))
    assert isinstance(record, AdvisoryRecord)
    return filed("debian", record)


def from_osv(identity: str, *events: tuple[str, str], **more: Any) -> AdvisoryRecord:
    return filed(
        "osv:Debian", advisory(identity, entry(DEBIAN, "ssl", *events), modified="2030-01-01T00:00:00Z", **more)
    )


OSV_OPEN = from_osv("DEBIAN-CVE-2024-0001", ("introduced", "0"), upstream=["CVE-2024-0001"])


def test_debians_tracker_goes_before_what_osv_has_of_it() -> None:
    installed = package(DEBIAN, "ssl", "1.0-2")
    assert len(match(installed, OSV_OPEN)) == 1
    assert match(installed, OSV_OPEN, tracked("1.0-2")) == []
    assert only(match(installed, OSV_OPEN, tracked("1.0-3"))).fixed_versions == ("1.0-3",)


@pytest.mark.parametrize("fixed", ["0", "1.0-2"])
def test_what_the_tracker_clears_no_other_record_brings_back(fixed: str) -> None:
    installed = package(DEBIAN, "ssl", "1.0-2")
    alone = from_osv("DSA-1-1", ("introduced", "0"), upstream=["CVE-2024-0001"])
    several = from_osv("DSA-2-1", ("introduced", "0"), upstream=["CVE-2024-0001", "CVE-2024-0002"])
    found = match(installed, tracked(fixed), OSV_OPEN, alone, several)
    assert [finding.vulnerability_id for finding in found] == ["CVE-2024-0002"]


def test_the_tracker_says_nothing_of_a_release_it_does_not_name() -> None:
    older = package("Debian:11", "ssl", "1.0-2")
    record = filed("osv:Debian", advisory("DEBIAN-CVE-2024-0001", entry("Debian:11", "ssl", ("introduced", "0"))))
    assert len(match(older, tracked("0"), record)) == 1


def test_of_copies_the_one_that_changed_last_counts() -> None:
    def copy(feed: str, day: int, *events: tuple[str, str], **more: Any) -> AdvisoryRecord:
        changed = f"2024-05-{day:02}T00:00:00Z"
        return filed(feed, advisory("GHSA-a", entry("npm", "a", *events), modified=changed, **more))

    old = copy("local", 1, ("introduced", "0"), ("fixed", "1.1.0"))
    new = copy("osv:npm", 2, ("introduced", "0"), ("fixed", "1.2.0"))
    gone = copy("osv:npm", 3, ("introduced", "0"), withdrawn="2024-05-03T00:00:00Z")
    for records in ([old, new], [new, old]):
        assert only(match(package("npm", "a", "1.0.0"), *records)).fixed_versions == ("1.2.0",)
    assert match(package("npm", "a", "1.0.0"), old, gone) == []


def test_names_of_one_flaw_are_one_finding() -> None:
    """The shapes GitHub, PyPA, Go and the list of malicious packages publish."""
    ranges = (("introduced", "0"), ("fixed", "2.0"))
    found = match(
        package("PyPI", "thing", "1.0"),
        advisory("GHSA-a", entry("PyPI", "thing", *ranges), aliases=["CVE-2024-0001"], related=["CVE-2023-9999"]),
        advisory("PYSEC-2024-1", entry("PyPI", "thing", *ranges), aliases=["CVE-2024-0001", "GHSA-a"]),
        advisory("PYSEC-2024-2", entry("PyPI", "thing", *ranges), related=["CVE-2024-0001"]),
        advisory(
            "MAL-2024-1", entry("PyPI", "thing", ("introduced", "0")), upstream=["CVE-2024-0001"], aliases=["GHSA-b"]
        ),
    )
    assert [(finding.vulnerability_id, finding.aliases) for finding in found] == [
        ("CVE-2024-0001", ("GHSA-a", "GHSA-b", "MAL-2024-1", "PYSEC-2024-1")),
        ("PYSEC-2024-2", ()),
    ]
    go = match(
        package("Go", "example.org/a", "v1.0.0"),
        advisory(
            "GO-2024-1", entry("Go", "example.org/a", *ranges, kind="SEMVER"), aliases=["CVE-2024-0001", "GHSA-a"]
        ),
        advisory("GHSA-a", entry("Go", "example.org/a", *ranges, kind="SEMVER"), aliases=["CVE-2024-0001"]),
    )
    assert only(go).aliases == ("GHSA-a", "GO-2024-1")


@pytest.mark.parametrize(
    ("ecosystem", "bulletin_id", "key"),
    [
        (DEBIAN, "DLA-1-1", "upstream"),
        ("Ubuntu:22.04:LTS", "USN-1-1", "upstream"),
        ("Red Hat:enterprise_linux:9::baseos", "RHSA-2024:1", "upstream"),
        ("AlmaLinux:9", "ALSA-2024:1", "related"),
        ("Rocky Linux:9", "RLSA-2024:1", "upstream"),
    ],
)
def test_no_distributions_bulletin_joins_what_it_fixes(ecosystem: str, bulletin_id: str, key: str) -> None:
    cves = [f"CVE-2024-000{number}" for number in range(1, 6)]
    record = advisory(bulletin_id, entry(ecosystem, "ssl", ("introduced", "0"), ("fixed", "9")), **{key: cves})
    found = match(package(ecosystem, "ssl", "1"), record)
    assert [finding.vulnerability_id for finding in found] == cves
    assert not any(finding.aliases for finding in found)


# --- Severity and fixes


def one(*records: Any, version: str = "1.0") -> FindingRecord:
    return only(match(package("PyPI", "thing", version), *records))


def test_a_library_is_rated_by_the_newest_vector_of_all_its_records() -> None:
    open_range = ("introduced", "0")
    found = one(
        advisory("GHSA-a", entry("PyPI", "thing", open_range), aliases=["CVE-2024-0001"], severity=[CRITICAL]),
        advisory(
            "PYSEC-1",
            entry("PyPI", "thing", open_range),
            aliases=["CVE-2024-0001"],
            severity=[MEDIUM_V4, HIGH],
            database_specific={"severity": "CRITICAL"},
        ),
    )
    assert found.severity is Severity.MEDIUM
    assert found.cvss_vectors[0] == MEDIUM_V4["score"]
    assert set(found.cvss_vectors[1:]) == {CRITICAL["score"], HIGH["score"]}


def test_an_entry_with_its_own_vector_is_rated_by_it() -> None:
    found = one(advisory("GHSA-a", entry("PyPI", "thing", ("introduced", "0"), severity=[HIGH])))
    assert (found.severity, found.cvss_score) == (Severity.HIGH, 7.5)


def test_words_count_where_there_is_no_vector() -> None:
    open_range = ("introduced", "0")
    words = advisory("GHSA-a", entry("PyPI", "thing", open_range), database_specific={"severity": "MODERATE"})
    assert (one(words).severity, one(words).cvss_score) == (Severity.MEDIUM, None)
    number = advisory("GHSA-a", entry("PyPI", "thing", open_range), severity=[{"type": "CVSS_V3", "score": "8.1"}])
    assert (one(number).severity, one(number).cvss_score) == (Severity.HIGH, 8.1)
    nothing = advisory("GHSA-a", entry("PyPI", "thing", open_range))
    assert (one(nothing).severity, one(nothing).title) == (Severity.UNKNOWN, "GHSA-a")


def test_a_distributions_own_rating_goes_before_the_vector() -> None:
    def rated(urgency: str) -> FindingRecord:
        record = advisory(
            "DEBIAN-CVE-2024-0001",
            entry(DEBIAN, "ssl", ("introduced", "0"), ecosystem_specific={"urgency": urgency}),
            severity=[CRITICAL],
        )
        return only(match(package(DEBIAN, "ssl", "1.0-1"), record))

    assert (rated("unimportant").severity, rated("unimportant").cvss_score) == (Severity.LOW, 9.8)
    assert rated("not yet assigned").severity is Severity.CRITICAL


def test_fixes_are_those_above_the_installed_version_lowest_first() -> None:
    record = advisory(
        "GHSA-a",
        entry("PyPI", "thing", ("introduced", "3.0"), ("fixed", "3.10")),
        entry("PyPI", "thing", ("introduced", "2.0"), ("fixed", "2.9")),
        entry("PyPI", "thing", ("introduced", "1.0"), ("fixed", "1.5")),
    )
    assert one(record, version="2.1").fixed_versions == ("2.9", "3.10")
    assert one(record, version="1.1").fixed_versions == ("1.5", "2.9", "3.10")


def test_the_first_fix_is_the_nearest_of_the_same_line() -> None:
    """As GitHub files a flaw of several release lines: a range each."""
    (found,) = match(
        package("npm", "thing", "4.17.0"),
        advisory(
            "GHSA-a",
            *(
                entry("npm", "thing", ("introduced", since), ("fixed", fix), kind="SEMVER")
                for since, fix in (("5.0.0", "5.0.3"), ("4.0.0", "4.18.2"), ("3.0.0", "3.21.5"))
            ),
        ),
    )
    assert found.fixed_versions == ("4.18.2", "5.0.3")


def test_a_line_without_a_fix_names_that_of_a_later_line() -> None:
    record = advisory(
        "GHSA-a",
        entry("PyPI", "thing", ("introduced", "1.0"), ("last_affected", "1.9")),
        entry("PyPI", "thing", ("introduced", "2.0"), ("fixed", "2.3")),
    )
    assert one(record, version="1.2").fixed_versions == ("2.3",)


def test_the_installed_version_is_no_fix_of_itself() -> None:
    record = advisory("GHSA-a", entry("PyPI", "thing", ("introduced", "0"), ("fixed", "1.0"), versions=["1.0"]))
    assert one(record, version="1.0").fixed_versions == ()


def test_a_fix_another_record_calls_affected_is_left_out() -> None:
    def disagreeing(*fixes: str) -> tuple[str, ...]:
        records = [
            advisory(name, entry("PyPI", "thing", ("introduced", "0"), *events), aliases=["CVE-2024-0001"])
            for name, events in zip(
                ("GHSA-a", "PYSEC-1"), [[("fixed", fix)] if fix else [] for fix in fixes], strict=True
            )
        ]
        return one(*records).fixed_versions

    assert disagreeing("1.1", "1.2") == ("1.2",)
    assert disagreeing("1.1", "1.1.0") == ("1.1",)  # two spellings of one version
    assert disagreeing("1.1", "") == ("1.1",)  # one record knows of no fix: the other's is better than none
    assert disagreeing("", "") == ()


# --- Where a package's advisories are filed


def test_distributions_are_looked_up_by_source() -> None:
    binary = package(DEBIAN, "libssl3", "3.0.11-1+b2", source=("openssl", "3.0.11-1"))
    record = advisory(
        "DEBIAN-CVE-2024-0001", entry(DEBIAN, "openssl", ("introduced", "0"), ("fixed", "3.0.11-1+deb12u1"))
    )
    assert lookup_keys(binary) == ((DEBIAN, "openssl"), ("Debian", "openssl"))
    assert only(match(binary, record)).package is binary
    assert match(package(DEBIAN, "openssl", "1.0", source=("other", "1.0")), record) == []


def test_some_distributions_also_file_binaries() -> None:
    binary = package("AlmaLinux:9", "bind-libs", "9.16.23-1.el9", source=("bind", "9.16.23-1.el9"))
    assert lookup_keys(binary) == (
        ("AlmaLinux:9", "bind"),
        ("AlmaLinux:9", "bind-libs"),
        ("AlmaLinux", "bind"),
        ("AlmaLinux", "bind-libs"),
    )
    record = advisory(
        "ALSA-2024:1",
        entry("AlmaLinux:9", "bind", ("introduced", "0"), ("fixed", "32:9.16.23-18.el9")),
        entry("AlmaLinux:9", "bind-libs", ("introduced", "0"), ("fixed", "32:9.16.23-18.el9")),
        related=["CVE-2023-4408"],
    )
    assert only(match(binary, record)).vulnerability_id == "CVE-2023-4408"


def test_languages_are_looked_up_by_normalised_name() -> None:
    assert lookup_keys(package("PyPI", "Foo_Bar.Baz", "1")) == (("PyPI", "foo-bar-baz"),)
    assert lookup_keys(package("npm", "@Scope/Name", "1")) == (("npm", "@Scope/Name"),)
    assert lookup_keys(package("Maven", "org.x:Y", "1")) == (("Maven", "org.x:Y"),)
    assert lookup_keys(package(None, "thing", "1")) == ()


def test_many_packages_of_one_source_each_get_its_findings() -> None:
    built = [package(DEBIAN, f"libssl{number}", "1.0-2", source=("ssl", "1.0-2")) for number in range(3)]
    found = match(built, bulletin("CVE-2024-0001", "CVE-2024-0002"))
    assert [(finding.package.name, finding.vulnerability_id) for finding in found] == [
        (binary.name, cve) for binary in built for cve in ("CVE-2024-0001", "CVE-2024-0002")
    ]


def test_what_a_distribution_brought_is_judged_as_the_distributions() -> None:
    """Debian's python3-urllib3 says it is 1.26.12, and has the fix of 1.26.17 since 1.26.12-1+deb12u1."""
    flaw = advisory("GHSA-v845-jxx5-vc9f", entry("PyPI", "urllib3", ("introduced", "0"), ("fixed", "1.26.17")))
    debians = advisory(
        "DEBIAN-CVE-2023-43804",
        entry("Debian:12", "python-urllib3", ("introduced", "0"), ("fixed", "1.26.12-1+deb12u1")),
        upstream=["CVE-2023-43804"],
    )
    own = package("PyPI", "urllib3", "1.26.12")
    owned = replace(own, owner="python3-urllib3")
    for version, found in (("1.26.12-1", ["CVE-2023-43804"]), ("1.26.12-1+deb12u1", [])):
        deb = package("Debian:12", "python3-urllib3", version, source=("python-urllib3", version))
        assert [each.vulnerability_id for each in match([deb, owned], flaw, debians)] == found
    assert [each.vulnerability_id for each in match(own, flaw)] == ["GHSA-v845-jxx5-vc9f"]
    assert lookup_keys(owned) == ()
    assert uncovered_ecosystems([own, owned], []) == {"PyPI": 1}


def test_modules_and_other_builds_of_an_rpm_are_not_compared() -> None:
    record = advisory(
        "RLSA-2024:1",
        entry("Rocky Linux:8", "nodejs", ("introduced", "0"), ("fixed", "1:18.19.0-1.module+el8.9.0+1606+da3ca5e5")),
        upstream=["CVE-2024-0001"],
    )
    module = package("Rocky Linux:8", "nodejs", "1:18.1.0-1.module+el8.6.0+1+aaaaaaaa")
    other = package("Rocky Linux:8", "nodejs", "1:10.1.0-1.el8")
    assert [finding.package for finding in match([module, other], record)] == [module]


LTS = "Ubuntu:22.04:LTS"
PRO = "Ubuntu:Pro:22.04:LTS"


@pytest.mark.parametrize(
    ("version", "fixes"),
    [
        ("8.12.1-1", ()),  # affected, and the fix is for subscribers
        ("8.12.1-1ubuntu0.1~esm1", None),
        ("8.12.1-1ubuntu0.1~esm0", ("8.12.1-1ubuntu0.1~esm1",)),
    ],
)
def test_ubuntu_pro_tells_which_builds_are_fixed(version: str, fixes: tuple[str, ...] | None) -> None:
    record = advisory(
        "UBUNTU-CVE-2025-29769",
        entry(LTS, "vips", ("introduced", "0")),
        entry(PRO, "vips", ("introduced", "0"), ("fixed", "8.12.1-1ubuntu0.1~esm1")),
        upstream=["CVE-2025-29769"],
    )
    found = match(package(LTS, "vips", version), record)
    assert [finding.fixed_versions for finding in found] == ([] if fixes is None else [fixes])


def test_a_release_that_only_subscribers_get_fixes_for_is_still_judged() -> None:
    record = advisory("UBUNTU-CVE-2025-1", entry(PRO, "vips", ("introduced", "0"), ("fixed", "1-2+esm1")))
    found = only(match(package(LTS, "vips", "1-1"), record))
    assert found.fixed_versions == ()


def test_uncovered_ecosystems_are_counted() -> None:
    packages = [
        package(DEBIAN, "a", "1"),
        package(DEBIAN, "b", "1"),
        package("Debian:13", "a", "1"),
        package("PyPI", "a", "1"),
        package(None, "a", "1"),
        package(None, "b", "1"),
        package(LTS, "a", "1"),
    ]
    assert uncovered_ecosystems(packages, {DEBIAN, "npm"}) == {
        "Debian:13": 1,
        "PyPI": 1,
        "unknown distribution": 2,
        LTS: 1,
    }
    assert uncovered_ecosystems(packages, {"Debian", "PyPI", "Ubuntu:22.04"}) == {"unknown distribution": 2}
    assert covering_ecosystems(LTS, {"Ubuntu", LTS, "Ubuntu:20.04:LTS"}) == (LTS, "Ubuntu")


# --- Laws

_NAMES = st.sampled_from(["a", "b"])
_VERSIONS = st.sampled_from(["0.9", "1.0", "1.1", "1.2", "2.0"])
_IDS = ["CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003", "GHSA-a", "GHSA-b", "PYSEC-1"]


@st.composite
def _records(draw: st.DrawFn) -> list[Any]:
    count = draw(st.integers(0, 5))
    identities = draw(st.lists(st.sampled_from(_IDS), min_size=count, max_size=count, unique=True))
    return [
        advisory(
            identity,
            entry("PyPI", draw(_NAMES), ("introduced", "0"), ("fixed", draw(_VERSIONS))),
            aliases=draw(st.lists(st.sampled_from(_IDS), max_size=3, unique=True)),
        )
        for identity in identities
    ]


@given(st.lists(st.builds(package, st.just("PyPI"), _NAMES, _VERSIONS), max_size=4), _records())
def test_laws_of_matching(packages: list[PackageRecord], records: list[Any]) -> None:
    found = match(packages, *records)
    keys = [(id(finding.package), finding.vulnerability_id) for finding in found]
    assert len(set(keys)) == len(keys)
    for item in packages:
        mine = [finding for finding in found if finding.package is item]
        assert len({finding.vulnerability_id for finding in mine}) == len(mine)
        names = [{finding.vulnerability_id, *finding.aliases} for finding in mine]
        # No name stands for two flaws of one package, and every advisory that affects it is accounted for.
        assert sum(map(len, names)) == len(set().union(*names))
        affecting = {
            record.id
            for record in records
            for entry_of in record.affected
            if entry_of.name == item.name and is_affected(entry_of, item.version)
        }
        assert {identity for finding in mine for identity in finding.advisory_ids} <= affecting
        single = {record.id for record in records if record.id in affecting and len(_cves(record)) <= 1}
        assert single <= {identity for finding in mine for identity in finding.advisory_ids}
    assert found == match(packages, *reversed(records))


@given(
    st.lists(
        st.lists(st.sampled_from([f"GHSA-{letter}" for letter in "abcdefgh"]), min_size=1, max_size=3, unique=True),
        max_size=6,
    ),
    st.randoms(),
)
def test_joining_is_transitive_over_aliases_and_nothing_else(groups: list[list[str]], dice: Any) -> None:
    """Against the plainest way to say it: names are joined when a chain of records leads from one to the other."""
    records = [
        advisory(f"NPM-{place}", entry("npm", "a", ("introduced", "0")), aliases=names, related=["CVE-2024-0001"])
        for place, names in enumerate(groups)
    ]
    flaws: list[set[str]] = []
    for record in records:
        names = {record.id, *record.aliases}
        touching = [flaw for flaw in flaws if flaw & names]
        flaws = [flaw for flaw in flaws if flaw not in touching] + [names.union(*touching)]
    dice.shuffle(records)
    found = match(package("npm", "a", "1.0.0"), *records)
    assert sorted(sorted({finding.vulnerability_id, *finding.aliases}) for finding in found) == sorted(
        map(sorted, flaws)
    )


@given(
    st.lists(st.sampled_from(["1.0", "1.1", "1.2", "2.0", "2.1"]), min_size=1, max_size=4),
    st.sampled_from(["1.0", "1.5", "2.0"]),
)
def test_fixes_are_above_the_installed_version_and_in_order(fixes: list[str], version: str) -> None:
    events = [event for fix in sorted(fixes) for event in (("introduced", f"{fix}.dev0"), ("fixed", fix))]
    for finding in match(
        package("PyPI", "a", version), advisory("X-1", entry("PyPI", "a", ("introduced", "0"), *events))
    ):
        order = [Version(text) for text in (version, *finding.fixed_versions)]
        assert all(lower < higher for lower, higher in pairwise(order))


def _cves(record: Any) -> set[str]:
    return {name for name in (record.id, *record.aliases) if name.startswith("CVE-")}


def test_parsing_and_matching_meet_on_names() -> None:
    record = parse_osv(
        {
            "id": "GHSA-a",
            "modified": "2024-01-01T00:00:00Z",
            "affected": [entry("PyPI", "Foo.Bar", ("introduced", "0"))],
        }
    )
    assert len(match(package("PyPI", "foo_bar", "1"), record)) == 1
