"""Who said what stays known, and nothing counts twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from schema.scans.merging import Merged, MergedFinding, Voice, identity, merge
from schema.scans.models import Engine
from schema.vulnerabilities.records import FindingRecord, Severity
from tests.schema.scans.factories import finding, package

NATIVE, TRIVY, GRYPE = "native", "trivy", "grype"


def python(name: str, *, path: str = "site/METADATA") -> PackageRecord:
    return replace(package(name, "4.0", path=path), type=PackageType.PIP, ecosystem="PyPI", licenses=())


def named(identity: str, *aliases: str, of: PackageRecord | None = None, **values: object) -> FindingRecord:
    return replace(finding(identity, of=of), aliases=aliases, **values)  # type: ignore[arg-type]  # of a dataclass


def said(*voices: Voice) -> Merged:
    return merge(voices)


def only(*voices: Voice) -> MergedFinding:
    [merged] = said(*voices).findings
    return merged


def test_a_package_several_found_is_one() -> None:
    ours, theirs = python("Typing_Extensions"), python("typing-extensions")
    [merged] = said(Voice(source=NATIVE, packages=(ours,)), Voice(source=GRYPE, packages=(theirs,))).packages
    assert (merged.record.name, merged.sources) == ("Typing_Extensions", (NATIVE, GRYPE))


def test_a_package_in_two_places_is_two() -> None:
    both = (python("six", path="a"), python("six", path="b"))
    merged = said(Voice(source=NATIVE, packages=both), Voice(source=TRIVY, packages=both[1:])).packages
    assert [(each.record.path, each.sources) for each in merged] == [("a", (NATIVE,)), ("b", (NATIVE, TRIVY))]


def test_a_provider_that_tells_no_place_means_all_of_them() -> None:
    placeless, placed = package(path=""), package()
    for first, second in ((placeless, placed), (placed, placeless)):
        [merged] = said(Voice(source="1", packages=(first,)), Voice(source="2", packages=(second,))).packages
        assert (merged.record.path, merged.sources) == (placed.path, ("1", "2"))


@pytest.mark.parametrize(("ours", "theirs", "expected"), [(3, 1, 1), (1, 3, 1), (-1, 2, 2), (2, -1, 2), (-1, -1, -1)])
def test_the_lowest_layer_anybody_saw_brought_it(ours: int, theirs: int, expected: int) -> None:
    one, other = (replace(package(), layer_index=index, layer_digest=str(index)) for index in (ours, theirs))
    [merged] = said(Voice(source="1", packages=(one,)), Voice(source="2", packages=(other,))).packages
    assert (merged.record.layer_index, merged.record.layer_digest) == (expected, str(expected))


def test_versions_and_types_tell_packages_apart() -> None:
    packages = (package("a", "1"), package("a", "2"), replace(package("a", "1"), type=PackageType.NPM))
    assert len(said(Voice(source=NATIVE, packages=packages)).packages) == 3


def test_a_finding_several_reported_is_one_with_all_of_them() -> None:
    merged = only(
        Voice(source=NATIVE, engines=(Engine.OSV,), findings=(named("CVE-2024-1000", severity=Severity.HIGH),)),
        Voice(source=TRIVY, engines=(Engine.TRIVY,), findings=(named("CVE-2024-1000", severity=Severity.LOW),)),
    )
    assert (merged.sources, merged.engines) == ((NATIVE, TRIVY), (Engine.OSV, Engine.TRIVY))
    assert merged.record.severity is Severity.HIGH, "the first voice's"
    assert merged.severities == {NATIVE: Severity.HIGH, TRIVY: Severity.LOW}


def test_an_alias_is_the_same_flaw_and_a_cve_its_name() -> None:
    merged = only(
        Voice(source=GRYPE, findings=(named("GHSA-aaaa"),)),
        Voice(source=TRIVY, findings=(named("CVE-2024-1000", "GHSA-aaaa", "PYSEC-1"),)),
    )
    assert merged.record.vulnerability_id == "CVE-2024-1000"
    assert merged.record.aliases == ("GHSA-aaaa", "PYSEC-1")


def test_a_later_voice_may_tell_that_two_flaws_are_one() -> None:
    merged = only(
        Voice(source="1", findings=(named("CVE-2024-2000"), named("GHSA-aaaa"))),
        Voice(source="2", findings=(named("CVE-2024-2000", "GHSA-aaaa"),)),
    )
    assert (merged.record.vulnerability_id, merged.sources) == ("CVE-2024-2000", ("1", "2"))


def test_what_the_first_leaves_out_the_next_one_adds() -> None:
    bare = named("CVE-2024-1000", severity=Severity.UNKNOWN, cvss_score=None, fixed_versions=(), title="")
    full = named("CVE-2024-1000", severity=Severity.LOW, cvss_score=2.0, fixed_versions=("9",), title="t")
    merged = only(Voice(source="1", findings=(bare,)), Voice(source="2", findings=(full,)))
    record = merged.record
    assert (record.severity, record.cvss_score, record.fixed_versions, record.title) == (Severity.LOW, 2.0, ("9",), "t")
    assert merged.severities == {"1": Severity.UNKNOWN, "2": Severity.LOW}


def test_one_flaw_in_two_packages_is_two_findings() -> None:
    flaws = tuple(named("CVE-2024-1000", of=package(name)) for name in ("a", "b"))
    assert len(said(Voice(source=NATIVE, findings=flaws)).findings) == 2


def test_a_finding_is_about_the_package_as_it_is_listed() -> None:
    listed = python("Typing_Extensions")
    merged = only(
        Voice(source=NATIVE, packages=(listed,)),
        Voice(source=GRYPE, findings=(named("CVE-2024-1000", of=python("typing-extensions", path="")),)),
    )
    assert merged.record.package == listed


def test_one_source_counts_once() -> None:
    merged = only(Voice(source=NATIVE, findings=(named("CVE-2024-1000"), named("CVE-2024-1000"))))
    assert merged.sources == (NATIVE,)


IDS = st.sampled_from(["CVE-2024-1000", "CVE-2024-2000", "GHSA-a", "GHSA-b", "OSV-1", "OSV-2"])
FINDINGS = st.builds(
    lambda names, owner: named(names[0], *names[1:], of=package(owner)),
    st.lists(IDS, min_size=1, max_size=3, unique=True),
    st.sampled_from(["p", "q"]),
)
VOICES = st.lists(
    st.builds(
        lambda source, found: Voice(source=source, findings=tuple(found)), st.sampled_from("abc"), st.lists(FINDINGS)
    ),
    max_size=4,
)


@given(VOICES)
def test_no_name_is_in_two_findings_and_none_is_lost(voices: list[Voice]) -> None:
    merged = merge(voices).findings
    found = [
        (identity(each.record.package), name)
        for each in merged
        for name in (each.record.vulnerability_id, *each.record.aliases)
    ]
    given_names = {
        (identity(each.package), name)
        for voice in voices
        for each in voice.findings
        for name in (each.vulnerability_id, *each.aliases)
    }
    assert sorted(found) == sorted(given_names)
    assert merge(voices) == merge(voices)
    for voice in voices:
        for each in voice.findings:
            [home] = [
                other
                for other in merged
                if identity(other.record.package) == identity(each.package)
                and each.vulnerability_id in (other.record.vulnerability_id, *other.record.aliases)
            ]
            assert voice.source in home.sources
