"""What counts as the same, and what changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.comparisons.rules import FindingChange, PackageChange, compare_findings, compare_packages
from schema.documents.contents import FindingEntry, PackageEntry
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from tests.schema.documents.factories import FINDINGS, PACKAGES, finding, package


def test_only_the_target_or_only_the_base() -> None:
    found = compare_findings([finding("CVE-1")], [finding("CVE-2")])
    assert [(each.change, each.cve_id) for each in found.items] == [
        (FindingChange.ADDED, "CVE-2"),
        (FindingChange.FIXED, "CVE-1"),
    ]
    assert (found.added, found.fixed, found.changed, found.unchanged) == (1, 1, 0, 0)
    assert found.items[0].base is None
    assert found.items[1].target is None


@pytest.mark.parametrize(
    "values",
    [
        {"severity": Severity.CRITICAL},
        {"fixed_versions": ("3.0.2", "3.1")},
        {"fixed_versions": ()},
        {"package_version": "3.0.9"},
    ],
)
def test_another_severity_fix_or_version_is_a_change(values: dict[str, Any]) -> None:
    found = compare_findings([finding("CVE-1")], [finding("CVE-1", **values)])
    assert (found.added, found.fixed, found.changed, found.unchanged) == (0, 0, 1, 0)
    assert found.items[0].base != found.items[0].target


@pytest.mark.parametrize(
    "values", [{"path": "elsewhere"}, {"layer_index": 5}, {"title": "x"}, {"cvss": 1.0}, {"status": TriageStatus.FIXED}]
)
def test_place_words_and_triage_are_no_change(values: dict[str, Any]) -> None:
    found = compare_findings([finding("CVE-1")], [finding("CVE-1", **values)])
    assert (found.items, found.unchanged) == ((), 1)


def test_a_flaw_that_got_another_name_is_the_same() -> None:
    base = finding("GHSA-a-b-c", aliases=())
    target = finding("CVE-2024-9", aliases=("GHSA-a-b-c",))
    assert compare_findings([base], [target]).unchanged == 1
    assert compare_findings([target], [base]).unchanged == 1


def test_the_same_flaw_in_another_package_is_another_finding() -> None:
    found = compare_findings([finding("CVE-1")], [finding("CVE-1", package_name="libssl3")])
    assert (found.added, found.fixed) == (1, 1)


def test_several_versions_of_a_package_are_one_side() -> None:
    two = [finding("CVE-1", package_version="2"), finding("CVE-1", package_version="1", severity=Severity.CRITICAL)]
    (item,) = compare_findings(two, two[:1]).items
    assert item.base is not None
    assert (item.change, item.base.versions, item.base.severity) == (
        FindingChange.CHANGED,
        ("1", "2"),
        Severity.CRITICAL,
    )


def test_the_most_severe_come_first() -> None:
    low, high = finding("CVE-1", Severity.LOW), finding("CVE-2", Severity.HIGH)
    assert [each.cve_id for each in compare_findings([], [low, high]).items] == ["CVE-2", "CVE-1"]


def test_packages_are_compared_by_the_versions_there_are() -> None:
    base = [package("a", "1"), package("b", "1"), package("c", "1"), package("c", "2")]
    target = [package("b", "1"), package("c", "2"), package("c", "3"), package("d", "1"), package("d", "1", path="x")]
    found = compare_packages(base, target)
    assert [(each.change, each.name, each.base_versions, each.target_versions) for each in found.items] == [
        (PackageChange.ADDED, "d", (), ("1",)),
        (PackageChange.REMOVED, "a", ("1",), ()),
        (PackageChange.CHANGED, "c", ("1", "2"), ("2", "3")),
    ]
    assert (found.added, found.removed, found.changed, found.unchanged) == (1, 1, 1, 1)


@given(base=st.lists(FINDINGS, max_size=6), target=st.lists(FINDINGS, max_size=6))
def test_turned_round_what_was_added_is_fixed(base: list[FindingEntry], target: list[FindingEntry]) -> None:
    there, back = compare_findings(base, target), compare_findings(target, base)
    assert compare_findings(base, base).items == ()
    assert there.added + there.changed + there.unchanged <= len(target)
    assert there.added + there.fixed + there.changed == len(there.items)
    aliases = any(each.aliases for each in (*base, *target))
    if not aliases:
        assert (there.added, there.fixed, there.changed) == (back.fixed, back.added, back.changed)


@given(base=st.lists(PACKAGES, max_size=6), target=st.lists(PACKAGES, max_size=6))
def test_packages_turned_round(base: list[PackageEntry], target: list[PackageEntry]) -> None:
    there, back = compare_packages(base, target), compare_packages(target, base)
    assert compare_packages(base, base).items == ()
    assert (there.added, there.removed, there.changed) == (back.removed, back.added, back.changed)
