"""Alpine's secdb: a fixed version is a range, `0` is none, and a line may name a flaw more than once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.advisories.alpine import parse_secdb
from schema.advisories.matching import is_affected
from schema.advisories.osv import AdvisoryFormatError
from schema.advisories.records import AdvisoryRecord
from tests.schema.advisories.factories import match, package

AS_OF = datetime(2026, 5, 1, tzinfo=UTC)


def secdb(*packages: Any, release: str = "v3.20", repository: str = "main") -> dict[str, Any]:
    """A document in the shape secdb publishes."""
    return {
        "apkurl": "{{urlprefix}}/{{distroversion}}/{{reponame}}/{{arch}}/{{pkg.name}}-{{pkg.ver}}.apk",
        "archs": ["x86_64"],
        "reponame": repository,
        "urlprefix": "https://dl-cdn.alpinelinux.org/alpine",
        "distroversion": release,
        "packages": list(packages),
    }


def fixed(name: str, **versions: list[str]) -> dict[str, Any]:
    return {"pkg": {"name": name, "secfixes": {key.strip("v").replace("_", "."): ids for key, ids in versions.items()}}}


def parse(*documents: Any) -> tuple[dict[str, AdvisoryRecord], list[str]]:
    named = [(f"{place}.json", document) for place, document in enumerate(documents)]
    outcomes = [outcome for _, outcome in parse_secdb(named, release="v3.20", as_of=AS_OF)]
    records = {outcome.id: outcome for outcome in outcomes if isinstance(outcome, AdvisoryRecord)}
    return records, [str(outcome) for outcome in outcomes if isinstance(outcome, AdvisoryFormatError)]


def test_a_fix_is_a_range() -> None:
    records, refused = parse(secdb(fixed("curl", v8_5_0=["CVE-2023-46218"])))
    assert refused == []
    record = records["ALPINE-CVE-2023-46218"]
    assert record.aliases == ("CVE-2023-46218",)
    (affected,) = record.affected
    assert (affected.ecosystem, affected.name) == ("Alpine:v3.20", "curl")
    assert [is_affected(affected, version) for version in ("8.4.9-r9", "8.5.0", "8.5.0-r1")] == [True, False, False]


def test_zero_says_that_it_was_never_there() -> None:
    records, _ = parse(secdb(fixed("curl", v0=["CVE-2021-22897"])))
    (affected,) = records["ALPINE-CVE-2021-22897"].affected
    assert not any(is_affected(affected, version) for version in ("0", "0_alpha1", "1.0-r0"))


def test_a_line_may_name_a_flaw_more_than_once() -> None:
    records, refused = parse(
        secdb(
            fixed(
                "xen",
                v4_11=[
                    "CVE-2018-19961 XSA-275",
                    "CVE-2018-19966 CVE-2018-19967 XSA-282",
                    "CVE-2017-2616 (+ regression fix)",
                ],
                v4_12=["XSA-999", "", "no id at all", "GHSA-7p63-w6x9-6gr7 ALPINE-13661"],
            )
        )
    )
    assert refused == []
    assert {record.id: record.aliases for record in records.values()} == {
        "ALPINE-CVE-2018-19961": ("CVE-2018-19961", "XSA-275"),
        "ALPINE-CVE-2018-19966": ("CVE-2018-19966",),
        "ALPINE-CVE-2018-19967": ("CVE-2018-19967",),
        "ALPINE-CVE-2017-2616": ("CVE-2017-2616",),
        "ALPINE-XSA-999": ("XSA-999",),
        "ALPINE-GHSA-7p63-w6x9-6gr7": ("GHSA-7p63-w6x9-6gr7",),
    }


def test_both_repositories_are_one_release() -> None:
    records, _ = parse(
        secdb(fixed("a", v1_0=["CVE-2024-0001"])), secdb(fixed("b", v2_0=["CVE-2024-0001"]), repository="community")
    )
    assert [each.name for each in records["ALPINE-CVE-2024-0001"].affected] == ["a", "b"]


def test_a_flaw_that_was_fixed_twice_is_fixed_by_the_second() -> None:
    records, _ = parse(secdb(fixed("a", v1_0=["CVE-2024-0001"], v1_2=["CVE-2024-0001"])))
    (found,) = match(package("Alpine:v3.20", "a", "1.1"), *records.values())
    assert found.fixed_versions == ("1.2",)
    (older,) = match(package("Alpine:v3.20", "a", "0.9"), *records.values())
    assert older.fixed_versions == ("1.2",), "1.0 still has what the second fix was for"


def test_zero_beside_a_fix_takes_nothing_away() -> None:
    records, _ = parse(secdb(fixed("a", v0=["CVE-2024-0001"], v1_2=["CVE-2024-0001"])))
    assert len(match(package("Alpine:v3.20", "a", "1.1"), *records.values())) == 1


def test_another_release_and_what_is_no_secdb_are_refused_as_a_whole() -> None:
    documents: list[object] = [secdb(release="v3.19"), {}, [], None, {"distroversion": "v3.20", "packages": {}}]
    for document in documents:
        with pytest.raises(AdvisoryFormatError):
            parse(secdb(), document)


@pytest.mark.parametrize(
    "broken",
    [
        None,
        {"pkg": None},
        {"pkg": {"name": ""}},
        {"pkg": {"name": "a", "secfixes": []}},
        {"pkg": {"name": "a", "secfixes": {"1": ["CVE-2024-0002", 1]}}},
        {"pkg": {"name": "a", "secfixes": {"1\x00": ["CVE-2024-0002"]}}},
    ],
)
def test_a_package_that_cannot_be_read_costs_no_other(broken: object) -> None:
    records, refused = parse(secdb(broken, fixed("b", v1_0=["CVE-2024-0001"])))
    assert list(records) == ["ALPINE-CVE-2024-0001"]
    assert len(refused) == 1


_LINE = st.lists(st.sampled_from(["CVE-2024-0001", "CVE-2024-0002", "XSA-1", "(fix)", "", "ALPINE-1"]), max_size=4).map(
    " ".join
) | st.text(max_size=10)
_ANY = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=2)
_PACKAGE = st.fixed_dictionaries(
    {
        "pkg": st.fixed_dictionaries(
            {"name": _ANY, "secfixes": st.dictionaries(st.text(max_size=5), st.lists(_LINE) | _ANY)}
        )
    }
)


@given(st.lists(_PACKAGE | _ANY, max_size=4))
def test_nothing_makes_it_fail(packages: list[Any]) -> None:
    records, _ = parse(secdb(*packages))
    for record in records.values():
        assert record.id not in record.aliases
