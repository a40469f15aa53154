"""Version orders: chains written from each ecosystem's rules, its own tool where there is one, and laws of any order."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import InvalidVersion, Version
from univers.debian import Version as UniversDebian
from univers.gem import GemVersion
from univers.rpm import RpmVersion
from univers.versions import GolangVersion, MavenVersion, NugetVersion, SemverVersion

from schema.advisories.versions import MAX_LENGTH, compare, semver_key, version_key

# Ascending; versions in one group are equal.
Chain = list[list[str]]

DPKG: Chain = [
    ["0~1"],
    ["0", "0-0", "0:0", "00"],
    ["0a"],
    ["0+"],
    ["0.0~rc1"],
    ["0.0"],
    ["1.0~~"],
    ["1.0~~a"],
    ["1.0~"],
    ["1.0~alpha1-1"],
    ["1.0~rc1-1"],
    ["1.0~rc1-2"],
    ["1.0~rc2-1"],
    ["1.0", "1.0-0", "0:1.0", "1.00"],
    ["1.0-1~bpo12+1"],
    ["1.0-1", "1.0-01"],
    ["1.0-1ubuntu0.1"],
    ["1.0-1+b1"],
    ["1.0-1+deb12u1"],
    ["1.0-1+deb12u2"],
    ["1.0-1+deb12u10"],
    ["1.0-1.1"],
    ["1.0-2~"],
    ["1.0-2"],
    ["1.0a-1"],
    ["1.0a1-1"],
    ["1.0aa-1"],
    ["1.0+dfsg-1"],
    ["1.0+dfsg1-1"],
    ["1.0-1-1"],
    ["1.0.1-1"],
    ["1.9-1"],
    ["1.10-1"],
    ["5.10.0-1033.34"],
    ["20230311"],
    ["1:0.1"],
    ["1:1.0-1"],
    ["2:0~1"],
]

RPM: Chain = [
    ["0~a-1"],
    ["1.0~beta-1"],
    ["1.0~beta.2-1"],
    ["1.0~rc1-1"],
    ["1.0~rc1^git1-1"],
    ["1.0"],
    ["1.0-1", "0:1.0-1", "1_0-1", "1.00-1", "1.0.-1"],
    ["1.0-1.el9"],
    ["1.0-1.el9_2"],
    ["1.0-1.el9_2.1"],
    ["1.0-1.el9_10"],
    ["1.0-1.1"],
    ["1.0-2~rc1"],
    ["1.0-2"],
    ["1.0-2^1"],
    ["1.0-10"],
    ["1.0^20230101-1"],
    ["1.0^20230101.1-1"],
    ["1.0a-1", "1.0.a-1"],
    ["1.0ab-1"],
    ["1.0b-1"],
    ["1.0.1-1"],
    ["1.0.10-1"],
    ["1.1.1k-12.el8"],
    ["1.1.1l-1.el8"],
    ["1.2a-1"],
    ["1.2.1-1"],
    ["2-1"],
    ["10-1"],
    ["1:0.5-1"],
    ["2:0.1-1"],
]

APK: Chain = [
    ["0"],
    ["0-r0"],
    ["0.1_alpha"],
    ["0.1_alpha1"],
    ["0.1_alpha2"],
    ["0.1_alpha10"],
    ["0.1_beta"],
    ["0.1_pre20191002222144-r0"],
    ["0.1_pre20210530193627-r0"],
    ["0.1_rc1"],
    ["0.1_rc1-r1"],
    ["0.1_rc1_p1"],
    ["0.1"],
    ["0.1-r0"],
    ["0.1-r1", "0.1-r01"],
    ["0.1-r10"],
    ["0.1_cvs1"],
    ["0.1_svn1"],
    ["0.1_git20200101"],
    ["0.1_hg1"],
    ["0.1_p1"],
    ["0.1_p2-r3"],
    ["0.1_p10"],
    ["0.1a"],
    ["0.1a-r1"],
    ["0.1b_alpha"],
    ["0.1b"],
    ["0.1.0"],
    ["0.1.001"],
    ["0.1.010"],
    ["0.1.09"],
    ["0.1.1"],
    ["0.1.9"],
    ["0.1.10"],
    ["0.9.8c-r1"],
    ["0.9.8d"],
    ["1.3.5-r9"],
    ["1.3.5-r10"],
    ["2.5.1-r8"],
    ["2.5.1a-r1"],
    ["006", "6"],
    ["10.2.22-r0"],
    ["20050718-r1"],
]

PEP440: Chain = [
    ["2004d-final"],  # legacy
    ["1.0.dev0", "1.0dev"],
    ["1.0a1.dev1"],
    ["1.0a1", "1.0.alpha-1"],
    ["1.0a2"],
    ["1.0b1"],
    ["1.0rc1", "1.0c1", "1.0-RC.1"],
    ["1.0", "1", "1.0.0", "v1.0"],
    ["1.0+local"],
    ["1.0+local.2"],
    ["1.0+1"],
    ["1.0.post1.dev1"],
    ["1.0.post1", "1.0-1"],
    ["1.0.1"],
    ["1.9"],
    ["1.10"],
    ["2023.7.22"],
    ["1!0.1"],
]

SEMVER: Chain = [
    ["1.0.0-0"],
    ["1.0.0-2"],
    ["1.0.0-11"],
    ["1.0.0--"],
    ["1.0.0-ALPHA"],
    ["1.0.0-alpha", "v1.0.0-alpha", "1.0.0-alpha+001", "1-alpha"],
    ["1.0.0-alpha.1"],
    ["1.0.0-alpha.beta"],
    ["1.0.0-alpha1"],
    ["1.0.0-beta"],
    ["1.0.0-beta.2"],
    ["1.0.0-beta.11"],
    ["1.0.0-rc.1"],
    ["1.0.0-x-y-z.4"],
    ["1.0.0", "1.0.0+20130313144700", "v1.0.0", "=1.0.0", "1", "1.0"],
    ["1.0.1-0"],
    ["1.0.1"],
    ["1.2.0"],
    ["1.10.0"],
    ["2.0.0"],
    ["10.0.0"],
]

GO: Chain = [
    ["v0.0.0-20190101000000-aaaaaaaaaaaa"],
    ["v0.0.0-20210101000000-000000000000"],
    ["v0.0.1"],
    ["v1.2.3-pre.0.20210101000000-abcdefabcdef"],
    ["v1.2.3", "1.2.3"],
    ["v1.2.4-0.20210101000000-abcdefabcdef"],
    ["v1.2.4"],
    ["1.20.14", "go1.20.14"],
    ["go1.21beta1", "1.21.0-beta.1"],
    ["go1.21rc2", "1.21.0-rc.2"],
    ["go1.21rc10", "1.21.0-rc.10"],
    ["go1.21", "1.21.0"],
    ["go1.21.3", "1.21.3", "go1.21.3 X:boringcrypto"],
    ["v2.0.0+incompatible", "v2.0.0"],
]

NUGET: Chain = [
    ["1.0.0-alpha", "1.0.0-ALPHA", "1.0-alpha"],
    ["1.0.0-beta.2"],
    ["1.0.0-beta.10"],
    ["1.0.0-RC1"],
    ["1.0.0", "1.0", "1.0.0.0", "1.0.0+meta", "01.0.0"],
    ["1.0.0.1"],
    ["1.0.1"],
]

PUB: Chain = [
    ["1.0.0-pre"],
    ["1.0.0-pre+build"],
    ["1.0.0"],
    ["1.0.0+1"],
    ["1.0.0+2"],
    ["1.0.0+10"],
    ["1.0.0+a"],
    ["1.0.1"],
]

MAVEN: Chain = [
    ["1-alpha-1", "1-a1", "1-ALPHA-1", "1.0.0-alpha1", "1.alpha1"],
    ["1-alpha-2"],
    ["1-alpha-10"],
    ["1-beta1", "1-b1"],
    ["1-milestone-1", "1.0-M1", "1.0m1"],
    ["1-rc1", "1-CR1", "1.0.0.RC1"],
    ["1-rc2"],
    ["1-SNAPSHOT", "1.0-snapshot"],
    ["1", "1.0", "1.0.0", "1-0", "1.", "1-", "1.ga", "1-final", "1.0.RELEASE", "1.0.0.Final", "1.0.0-0.0.0"],
    ["1-ga.1"],
    ["1-sp", "1.0.SP"],
    ["1-sp-1", "1-sp1"],
    ["1-sp.1"],
    ["1-abc"],
    ["1-foo", "1.foo", "1.0.0-foo.0.0"],
    ["1-foo2"],
    ["1-foo10"],
    ["1-jre"],
    ["1-1", "1_1", "1-ga-1"],
    ["1-2"],
    ["1.0.1-SNAPSHOT"],
    ["1.0.1"],
    ["1.1"],
    ["1.7.K"],
    ["1.8.0_151"],
    ["1.8.0_181"],
    ["1.8.1"],
    ["2.9.10.8"],
    ["4.1.42.Final"],
    ["4.1.100.Final"],
    ["31.1-android"],
    ["31.1-jre"],
    ["32.0.0-android"],
]

GEM: Chain = [
    ["1.0.a", "1.a", "1.0.0.a"],
    ["1.0.a.1"],
    ["1.0.a.2"],
    ["1.0.b1"],
    ["1.0.b2"],
    ["1.0.pre"],
    ["1.0.pre.1", "1.0-1"],
    ["1.0.rc1"],
    ["1.0", "1", "1.0.0"],
    ["1.0.0.1"],
    ["1.0.1"],
    ["1.9.a"],
    ["1.9"],
    ["1.10.0.beta"],
    ["1.10"],
    ["5.0.0.1"],
]

COMPOSER: Chain = [
    ["1.0-dev", "1.0.0-dev"],
    ["1.0.0-alpha1-dev"],
    ["1.0.0-alpha1", "1.0-a1", "v1.0.0alpha1"],
    ["1.0.0-alpha2"],
    ["1.0.0-alpha10"],
    ["1.0.0-beta"],
    ["1.0.0-beta1", "1.0.0-b1", "1.0.0-beta.1"],
    ["1.0.0-RC1"],
    ["1.0.0", "1.0", "v1.0.0.0", "1.0.0-stable", "1.0.0+build"],
    ["1.0.0-patch1", "1.0.0-pl1", "1.0.0-p1"],
    ["1.0.0.1"],
    ["1.0.1"],
    ["2.0"],
]

CHAINS = {
    "Debian:12": DPKG,
    "Ubuntu:22.04:LTS": DPKG,
    "Rocky Linux:9": RPM,
    "Red Hat:enterprise_linux:9::baseos": RPM,
    "Alpine:v3.19": APK,
    "Wolfi": APK,
    "Chainguard": APK,
    "PyPI": PEP440,
    "npm": SEMVER,
    "crates.io": SEMVER,
    "Hex": SEMVER,
    "Go": GO,
    "NuGet": NUGET,
    "Pub": PUB,
    "Maven": MAVEN,
    "RubyGems": GEM,
    "Packagist": COMPOSER,
}


def _pairs(chain: Chain) -> list[tuple[str, str, int]]:
    """Every pair of a chain with its expected order."""
    ranked = [(text, rank) for rank, group in enumerate(chain) for text in group]
    return [
        (left, right, (left_rank > right_rank) - (left_rank < right_rank))
        for (left, left_rank), (right, right_rank) in itertools.product(ranked, repeat=2)
    ]


@pytest.mark.parametrize("ecosystem", CHAINS)
def test_every_pair_of_the_chain(ecosystem: str) -> None:
    wrong = [
        (left, right, expected)
        for left, right, expected in _pairs(CHAINS[ecosystem])
        if compare(ecosystem, left, right) != expected
    ]
    assert not wrong


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed; the chain stands for it")
def test_the_dpkg_chain_is_what_dpkg_says() -> None:
    script = "\n".join(
        f"dpkg --compare-versions '{left}' {'lt' if expected < 0 else 'gt' if expected else 'eq'} '{right}'"
        f" || echo '{left} {right}'"
        for left, right, expected in _pairs(DPKG)[::7]
    )
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout == ""


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is not installed; the chain stands for it")
@given(
    st.lists(
        st.from_regex(r"([0-9]:)?[0-9][0-9a-zA-B.+~]{0,5}(-[0-9a-z.+~]{1,4})?", fullmatch=True), min_size=2, max_size=12
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_dpkg_agrees(versions: list[str]) -> None:
    pairs = list(itertools.pairwise(versions))
    relation = {-1: "lt", 0: "eq", 1: "gt"}
    script = "\n".join(
        f"dpkg --compare-versions '{left}' {relation[compare('Debian', left, right)]} '{right}' || echo '{left} {right}'"
        for left, right in pairs
    )
    run = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout == ""


# Of the pairs apk-tools tests its own order with (test/version.data) those that show a rule each.
@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("1.0", "1.0bc"),  # no version: what is right of it decides
        ("4_beta", "23_foo"),
        ("1.06-r6", "006"),
        ("1.00_beta2", "1.39"),
        ("021109-r3", "20060512"),
        ("1.2.07.8", "1.6d"),
        ("1.2.07.8", "1.2.12.04"),
        ("1.07-r1", "1.07.5"),
        ("1.7", "1.7b"),
        ("4.5_p1", "4.5_p1-r1"),
        ("0.9.28-r2", "0.9.28.1"),
        ("0.1.0_alpha_pre2", "0.1.0_alpha"),
        ("1.3_pre1-r1", "1.3.2"),
    ],
)
def test_apk_tools_own_pairs(low: str, high: str) -> None:
    assert compare("Alpine:v3.19", low, high) == -1


def _rpm_says(pairs: list[tuple[str, str]]) -> list[int]:
    """From rpm 4.16 on its Lua compares epoch, version and release."""
    calls = " ".join(f"print(rpm.vercmp('{left}', '{right}') .. ' ')" for left, right in pairs)
    run = subprocess.run(["rpm", "--eval", f"%{{lua:{calls}}}"], check=True, capture_output=True, text=True)
    return [int(number) for number in run.stdout.split()]


needs_rpm = pytest.mark.skipif(shutil.which("rpm") is None, reason="rpm is not installed; the chain stands for it")


@needs_rpm
def test_the_rpm_chain_is_what_rpm_says() -> None:
    pairs = _pairs(RPM)
    said = _rpm_says([(left, right) for left, right, _ in pairs])
    assert [pair for pair, answer in zip(pairs, said, strict=True) if pair[2] != answer] == []


@needs_rpm
@given(
    st.lists(
        st.tuples(*[st.from_regex(r"([0-2]:)?[0-9ab.~^_+]{1,8}(-[0-9ab.~^]{1,4})?", fullmatch=True)] * 2),
        min_size=50,
        max_size=200,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rpm_agrees(pairs: list[tuple[str, str]]) -> None:
    versions = [(left, right) for left, right in pairs if all(re.search("[0-9]", text) for text in (left, right))]
    ours = [compare("Rocky Linux", left, right) for left, right in versions]
    assert list(zip(versions, ours, strict=True)) == list(zip(versions, _rpm_says(versions), strict=True))


_DEBIAN_TEXT = st.from_regex(r"[0-9]{1,2}(:[0-9])?[0-9a-c.+~]{0,6}(-[0-9a-c.+~]{1,4})?", fullmatch=True)
_RPM_TEXT = st.from_regex(r"([0-9]:)?[0-9][0-9ab.~^_]{0,6}-[0-9ab.~^]{1,4}", fullmatch=True)
_GEM_TEXT = st.from_regex(r"[0-2](\.[0-2ab]{1,2}){0,5}", fullmatch=True)

_SEMVER_TEXT = st.from_regex(r"(0|1|10)(\.(0|1|10)){2}(-(0|1|10|a|A|rc)(\.(0|1|b1|x-y))?)?", fullmatch=True)
_NUGET_TEXT = st.from_regex(r"(0|1|10)(\.(0|1|10)){2,3}(-(0|1|10|a|A|rc)(\.(0|1|b1|x-y))?)?", fullmatch=True)
_MAVEN_TEXT = st.from_regex(
    r"[0-2](\.[0-2]){0,3}(-(alpha|beta|M|rc|CR|SNAPSHOT|ga|sp|jre|foo)(|1|2|10|-1))?", fullmatch=True
)


# Independent implementations, without annotations. They are right, but too slow to match by. Not asked: univers takes
# Composer's versions for semantic ones, so that a patch (1.0-p1) is before its release and RC after beta only by chance.
_ORACLES: dict[str, Callable[[str], Any]] = {
    "Debian": UniversDebian.from_string,
    "Rocky Linux": RpmVersion.from_string,
    "RubyGems": GemVersion,
    "npm": SemverVersion,
    "crates.io": SemverVersion,
    "Go": GolangVersion,
    "NuGet": NugetVersion,
    "Maven": MavenVersion,
}


@pytest.mark.parametrize(
    ("ecosystem", "texts"),
    [
        ("Debian", _DEBIAN_TEXT),
        ("Rocky Linux", _RPM_TEXT),
        ("RubyGems", _GEM_TEXT),
        ("npm", _SEMVER_TEXT),
        ("crates.io", _SEMVER_TEXT),
        ("Go", _SEMVER_TEXT.map("v".__add__)),
        ("NuGet", _NUGET_TEXT),
        ("Maven", _MAVEN_TEXT),
    ],
)
@given(data=st.data())
def test_an_independent_implementation_agrees(
    ecosystem: str, texts: st.SearchStrategy[str], data: st.DataObject
) -> None:
    left, right = data.draw(texts), data.draw(texts)
    one, other = _ORACLES[ecosystem](left), _ORACLES[ecosystem](right)
    assert compare(ecosystem, left, right) == (one > other) - (one < other)


_PEP440_TEXT = st.from_regex(
    r"([01]!)?[0-2](\.[0-2]){0,2}((a|b|rc)[0-2])?(\.post[0-2])?(\.dev[0-2])?(\+[ab0-2](\.[ab0-2])?)?", fullmatch=True
)


@given(_PEP440_TEXT, _PEP440_TEXT)
def test_pep_440_agrees_with_packaging(left: str, right: str) -> None:
    one, other = Version(left), Version(right)
    assert compare("PyPI", left, right) == (one > other) - (one < other)


_ANY_TEXT = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="0123~^.-+_:abrcvpsn ", max_size=12),
    st.from_regex(
        r"v?[0-2](\.[0-2]){0,3}([-._]?(alpha|beta|rc|sp|ga|final|pre|dev|p|r)[.-]?[0-2]?){0,2}", fullmatch=True
    ),
)


@pytest.mark.parametrize("ecosystem", [*CHAINS, "No such ecosystem"])
@given(texts=st.lists(_ANY_TEXT, min_size=3, max_size=3))
@settings(max_examples=60)
def test_any_texts_are_totally_ordered(ecosystem: str, texts: list[str]) -> None:
    one, two, three = texts
    assert compare(ecosystem, one, one) == 0
    assert compare(ecosystem, one, two) == -compare(ecosystem, two, one)
    low, middle, high = sorted(texts, key=lambda text: _Ordered(ecosystem, text))
    assert compare(ecosystem, low, middle) <= 0
    assert compare(ecosystem, middle, high) <= 0
    assert compare(ecosystem, low, high) <= 0
    if compare(ecosystem, one, two) == 0:
        assert compare(ecosystem, one, three) == compare(ecosystem, two, three)


class _Ordered:
    def __init__(self, ecosystem: str, text: str) -> None:
        self.ecosystem, self.text = ecosystem, text

    def __lt__(self, other: _Ordered) -> bool:
        return compare(self.ecosystem, self.text, other.text) < 0


@pytest.mark.parametrize("ecosystem", CHAINS)
def test_what_is_no_version_has_no_key(ecosystem: str) -> None:
    for text in ("", "latest", "(devel)", "unknown", "1" * (MAX_LENGTH + 1)):
        assert version_key(ecosystem, text) is None
    assert version_key(ecosystem, "9" * MAX_LENGTH) is not None


def test_an_unknown_ecosystem_has_no_order() -> None:
    assert version_key("GHC", "1.0") is None
    assert compare("GHC", "1.0", "1.0") == 0


def test_a_branch_has_no_order() -> None:
    assert version_key("Packagist", "dev-main") is None
    assert version_key("Packagist", "1.x-dev") is None


@given(st.text(alphabet="0123456789abcdz.-+_ ", min_size=1, max_size=15))
def test_legacy_python_versions_are_before_all_others(text: str) -> None:
    try:
        Version(text)
    except InvalidVersion:
        key = version_key("PyPI", text)
        assert key is None or compare("PyPI", text, "0.dev0") == -1


def test_semver_ranges_use_semver_in_any_ecosystem() -> None:
    release, candidate = semver_key("1.0.0"), semver_key("1.0.0-rc.1")
    assert release is not None
    assert candidate is not None
    assert candidate < release
