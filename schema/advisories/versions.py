"""Comparing versions as each ecosystem does.

A version becomes a key: a tuple whose plain comparison is the ecosystem's order. Parsing is the slow part, so it's done
once per text and cached; comparing keys is what tuples do natively. Keys of one ecosystem are totally ordered, and no
text raises: what does not follow the grammar sorts where the ecosystem's own tool puts it, or has no key at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

from packaging.version import InvalidVersion, Version

from schema.advisories.ecosystems import APK, DPKG, RPM, ecosystem_base

VersionKey: TypeAlias = tuple[Any, ...]  # ints, strings and tuples of them, placed so that like meets like
_Scheme: TypeAlias = Callable[[str], "VersionKey | None"]

MAX_LENGTH = 500  # characters; a longer text is no version, and Python refuses to read numbers of 4,300 digits
_CACHED = 65_536  # keys, about 25 MB when full

_DIGIT = re.compile(r"[0-9]")


# dpkg: deb-version(7). Epoch, upstream version and revision are compared in turn, each as alternating runs of
# non-digits and digits. In a run of non-digits `~` sorts before its end, the end before letters, letters before the rest.

_DPKG_RUNS = re.compile(r"([^0-9]*)([0-9]*)")
_END = 0
_TILDE = -1
_AFTER_LETTERS = 256


def _dpkg_key(text: str) -> VersionKey:
    epoch, colon, rest = text.partition(":")
    if not (colon and _is_number(epoch)):
        epoch, rest = "0", text
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return (int(epoch), _dpkg_part(upstream), _dpkg_part(revision))


def _dpkg_part(text: str) -> tuple[int, ...]:
    """Flat: each run's characters, an end, its number; and a last end, where a longer version goes on."""
    key: list[int] = []
    for run, number in _DPKG_RUNS.findall(text):
        if run or number or not key:
            key.extend(_dpkg_order(character) for character in run)
            key += (_END, int(number or 0))
    key.append(_END)
    return tuple(key)


def _dpkg_order(character: str) -> int:
    if character == "~":
        return _TILDE
    return ord(character) + (0 if character.isascii() and character.isalpha() else _AFTER_LETTERS)


# rpm: rpm-version(7). Epoch, version, release; each as runs of letters or digits, everything else only separates.
# `~` sorts before the end of a version, `^` after it but before anything that continues the version.

_RPM_RUNS = re.compile(r"[0-9]+|[A-Za-z]+|[~^]")
_RPM_TILDE, _RPM_END, _RPM_CARET, _RPM_LETTERS, _RPM_NUMBER = range(5)


def _rpm_key(text: str) -> VersionKey:
    epoch, colon, rest = text.partition(":")
    if not (colon and (not epoch or _is_number(epoch))):
        epoch, rest = "0", text
    version, dash, release = rest.rpartition("-") if "-" in rest else (rest, "", "")
    # A release, whatever it is, comes after none.
    return (int(epoch or 0), _rpm_part(version), (1, *_rpm_part(release)) if dash else (0,))


def _rpm_part(text: str) -> VersionKey:
    key: list[int | str] = []
    for run in _RPM_RUNS.findall(text):
        if run == "~":
            key.append(_RPM_TILDE)
        elif run == "^":
            key.append(_RPM_CARET)
        elif _is_number(run):
            key += (_RPM_NUMBER, int(run))
        else:
            key += (_RPM_LETTERS, run)
    key.append(_RPM_END)
    return tuple(key)


# apk: apk-package(5), the order of apk-tools 3. digits{.digits}{letter}{_suffix{digits}}{~hash}{-rN}. Where two versions
# go on differently, the kind of what follows decides, in the order of these ranks.

_APK = re.compile(
    r"([0-9]+)((?:\.[0-9]+)*)(?:([a-z])([0-9]*))?((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*)"
    r"(?:~([0-9a-f]+))?(?:-r([0-9]+))?(.*)",
    re.DOTALL,
)
_APK_SUFFIX = re.compile(r"_([a-z]+)([0-9]*)")
_APK_BEFORE = {"alpha": 0, "beta": 1, "pre": 2, "rc": 3}
_APK_AFTER = {"cvs": 0, "svn": 1, "git": 2, "hg": 3, "p": 4}
(
    _APK_PRERELEASE,
    _APK_INVALID,
    _APK_END,
    _APK_REVISION,
    _APK_HASH,
    _APK_SUFFIX_NUMBER,
    _APK_PATCH,
    _APK_LETTER,
    _APK_NUMBER,
) = range(9)


def _apk_key(text: str) -> VersionKey:
    match = _APK.fullmatch(text)
    if match is None:
        return (-1, text)
    first, numbers, letter, patch, suffixes, digest, revision, rest = match.groups()
    key: list[int | str] = [int(first)]
    for number in numbers.split(".")[1:]:
        key += _apk_number(number)
    if letter:
        key += (_APK_LETTER, letter)
        if patch:
            key += _apk_number(patch)
    for name, number in _APK_SUFFIX.findall(suffixes):
        key += (_APK_PRERELEASE, _APK_BEFORE[name]) if name in _APK_BEFORE else (_APK_PATCH, _APK_AFTER[name])
        if number:
            key += (_APK_SUFFIX_NUMBER, int(number))
    if digest:
        key += (_APK_HASH, digest)
    if revision:
        key += (_APK_REVISION, int(revision))
    key += (_APK_INVALID, rest) if rest else (_APK_END,)
    return tuple(key)


def _apk_number(digits: str) -> tuple[int, int, int | str]:
    """A number with a leading zero is a fraction: 1.010 < 1.09 < 1.1. The first number of a version never is."""
    return (_APK_NUMBER, 0, digits) if digits.startswith("0") else (_APK_NUMBER, 1, int(digits))


# PEP 440. Legacy versions of before it sort below all that follow it, as pip once did.


def _pep440_key(text: str) -> VersionKey:
    try:
        return (1, Version(text))
    except InvalidVersion:
        return (0, text)


# Semantic Versioning 2.0, section 11, read leniently: a leading `v`, missing or additional numbers, a prerelease without
# its hyphen (1.0.0rc1). Build metadata does not count, except for Pub, where it follows the version it was built from.

_SEMVER = re.compile(
    r"[v=\s]*([0-9]+(?:\.[0-9]+)*)(?:-([0-9A-Za-z.-]+)|\.?([A-Za-z][0-9A-Za-z.-]*))?(?:\+(.*))?", re.DOTALL
)
_GO_RELEASE = re.compile(r"(?:go)?([0-9]+\.[0-9]+(?:\.[0-9]+)?)(rc|beta)([0-9]+)")
_SEMVER_PRERELEASE, _SEMVER_RELEASE = 0, 1


def _semver_key(text: str) -> VersionKey | None:
    parsed = _read_semver(text)
    return parsed[0] if parsed else None


def _pub_key(text: str) -> VersionKey | None:
    parsed = _read_semver(text)
    if parsed is None:
        return None
    key, build = parsed
    return (*key, (1, *_identifiers(build)) if build else (0,))


def _nuget_key(text: str) -> VersionKey | None:
    """NuGet compares a fourth number, and prereleases without case."""
    return _semver_key(text.lower())


def _go_key(text: str) -> VersionKey | None:
    """Module versions are semantic versions; the standard library's own are not: go1.21rc2 is 1.21.0-rc.2."""
    if release := _GO_RELEASE.fullmatch(text):
        return _semver_key(f"{release[1]}-{release[2]}.{release[3]}")
    return _semver_key(text.removeprefix("go"))


def _read_semver(text: str) -> tuple[VersionKey, str] | None:
    match = _SEMVER.match(text)
    if match is None:
        return None
    numbers, hyphened, joined, build = match.groups()
    prerelease = hyphened or joined
    order = (_SEMVER_PRERELEASE, *_identifiers(prerelease)) if prerelease else (_SEMVER_RELEASE,)
    return (_without_zeros(numbers), order), build or ""


def _identifiers(text: str) -> tuple[tuple[int, int | str], ...]:
    """Numeric identifiers in their order, below all others, which are in ASCII order."""
    return tuple((0, int(part)) if _is_number(part) else (1, part) for part in text.split("."))


def _without_zeros(numbers: str) -> tuple[int, ...]:
    """1.2 and 1.2.0 are one version."""
    found = [int(number) for number in numbers.split(".")]
    while found and not found[-1]:
        found.pop()
    return tuple(found)


# Maven: "Version Order Specification" of the POM reference. Tokens with the separator before them; what is empty (0,
# final, ga, release) before a qualifier, a hyphen or the end is dropped.

_MAVEN_TOKENS = re.compile(r"[0-9]+|[^0-9.\-_]+|[.\-_]")
_MAVEN_SHORT = {"a": "alpha", "b": "beta", "m": "milestone"}
_MAVEN_ALIASES = {"cr": "rc", "final": "", "ga": "", "release": ""}
_MAVEN_BEFORE = {"alpha": 0, "beta": 1, "milestone": 2, "rc": 3, "snapshot": 4}
_MAVEN_PRERELEASE, _MAVEN_EMPTY, _MAVEN_SP, _MAVEN_QUALIFIER, _MAVEN_HYPHENED, _MAVEN_DOTTED = range(6)


def _maven_key(text: str) -> VersionKey:
    kept: list[tuple[bool, int | str]] = []
    for hyphened, token in _maven_tokens(text.lower()):
        if hyphened or isinstance(token, str):
            _drop_empty(kept)
        kept.append((hyphened, token))
    _drop_empty(kept)
    key: list[int | str] = []
    for hyphened, token in kept:
        key += _maven_number(token, hyphened=hyphened) if isinstance(token, int) else _maven_qualifier(token)
    key += (_MAVEN_EMPTY, 0)
    return tuple(key)


def _drop_empty(tokens: list[tuple[bool, int | str]]) -> None:
    while tokens and not tokens[-1][1]:
        tokens.pop()


def _maven_tokens(text: str) -> list[tuple[bool, int | str]]:
    """(after a hyphen, number or qualifier). A change between digits and letters counts as a hyphen, `_` as well."""
    tokens: list[tuple[bool, int | str]] = []
    hyphened, separated = False, True
    parts = _MAVEN_TOKENS.findall(text)
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if part in (".", "-", "_"):
            if separated:
                tokens.append((hyphened, 0))
            hyphened, separated = part != ".", True
            continue
        token: int | str = int(part) if _is_number(part) else part
        if isinstance(token, str):
            short = _MAVEN_SHORT.get(token) if _is_number(following) else None
            token = short or _MAVEN_ALIASES.get(token, token)
        tokens.append((hyphened or not separated, token))
        hyphened, separated = False, False
    return tokens


def _maven_number(number: int, *, hyphened: bool) -> tuple[int, int]:
    return (_MAVEN_HYPHENED if hyphened else _MAVEN_DOTTED, number)


def _maven_qualifier(qualifier: str) -> tuple[int, int | str]:
    if qualifier in _MAVEN_BEFORE:
        return (_MAVEN_PRERELEASE, _MAVEN_BEFORE[qualifier])
    if not qualifier:
        return (_MAVEN_EMPTY, 1)  # goes on with a number, so it is more than a version that ends here
    return (_MAVEN_SP, 0) if qualifier == "sp" else (_MAVEN_QUALIFIER, qualifier)


# RubyGems: Gem::Version. Segments of digits or letters; letters make a prerelease, a missing segment is 0, and zeros at
# the end of the numbers and at the end of the version do not count.

_GEM_SEGMENTS = re.compile(r"[0-9]+|[A-Za-z]+")
_GEM_LETTERS, _GEM_ZEROS_THEN_LETTERS, _GEM_END, _GEM_ZEROS_THEN_NUMBER, _GEM_NUMBER = range(5)


def _gem_key(text: str) -> VersionKey:
    found = _GEM_SEGMENTS.findall(text.replace("-", ".pre."))
    segments: list[int | str] = [int(part) if _is_number(part) else part for part in found]
    letters = next((index for index, segment in enumerate(segments) if isinstance(segment, str)), len(segments))
    key: list[int | str] = []
    zeros = 0
    for segment in [*_trimmed(segments[:letters]), *_trimmed(segments[letters:])]:
        if segment == 0:
            zeros += 1
            continue
        is_text = isinstance(segment, str)
        if zeros:
            # A version that ended here would go on with zeros for ever: letters after the zeros are below it, and the
            # later they come the closer they are to it.
            key += (_GEM_ZEROS_THEN_LETTERS, zeros) if is_text else (_GEM_ZEROS_THEN_NUMBER, -zeros)
            zeros = 0
        key += (_GEM_LETTERS if is_text else _GEM_NUMBER, segment)
    key.append(_GEM_END)
    return tuple(key)


def _trimmed(segments: list[int | str]) -> list[int | str]:
    end = len(segments)
    while end and segments[end - 1] == 0:
        end -= 1
    return segments[:end]


# Packagist: Composer's normalized versions. Numbers, a stability with its own numbers, and `-dev` before each of them.

_COMPOSER = re.compile(
    r"v?([0-9]+(?:\.[0-9]+)*)"
    r"(?:[._-]?(stable|alpha|a|beta|b|rc|patch|pl|p)[.-]?([0-9]+(?:[.-][0-9]+)*)?)?([.-]?dev)?(?:\+.*)?",
    re.DOTALL,
)
_COMPOSER_DEV = 0
_COMPOSER_STABILITIES = {"alpha": 1, "a": 1, "beta": 2, "b": 2, "rc": 3, "stable": 4, "patch": 5, "pl": 5, "p": 5}


def _composer_key(text: str) -> VersionKey | None:
    """None for a branch (dev-main, 1.x-dev): a branch is ahead of and behind its releases at once."""
    match = _COMPOSER.fullmatch(text.lower())
    if match is None:
        return None
    numbers, stability, patch, dev = match.groups()
    if dev and not stability:
        return (_without_zeros(numbers), _COMPOSER_DEV, (), 0)
    level = _COMPOSER_STABILITIES[stability or "stable"]
    return (_without_zeros(numbers), level, _without_zeros(patch.replace("-", ".")) if patch else (), 0 if dev else 1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


_SCHEMES: dict[str, _Scheme] = {
    **dict.fromkeys(DPKG, _dpkg_key),
    **dict.fromkeys(RPM, _rpm_key),
    **dict.fromkeys(APK, _apk_key),
    "PyPI": _pep440_key,
    "Maven": _maven_key,
    "RubyGems": _gem_key,
    "Packagist": _composer_key,
    "Go": _go_key,
    "NuGet": _nuget_key,
    "Pub": _pub_key,
    **dict.fromkeys(("npm", "crates.io", "Hex", "SwiftURL", "GitHub Actions", "Bitnami"), _semver_key),
}


@lru_cache(maxsize=_CACHED)
def version_key(ecosystem: str, text: str) -> VersionKey | None:
    """The sort key of a version in its ecosystem ("Debian:12", "PyPI"). Compare it with keys of the same ecosystem only.

    None where there is no order to rely on: an ecosystem we do not know, a text without a digit ("(devel)", "latest"),
    one of more than 500 characters, or one the ecosystem itself does not order.
    """
    scheme = _SCHEMES.get(ecosystem_base(ecosystem))
    return None if scheme is None else _key(scheme, text)


@lru_cache(maxsize=_CACHED)
def semver_key(text: str) -> VersionKey | None:
    """The key by Semantic Versioning 2.0, which OSV ranges of type SEMVER use in any ecosystem."""
    return _key(_semver_key, text)


def _key(scheme: _Scheme, text: str) -> VersionKey | None:
    if len(text) > MAX_LENGTH or not _DIGIT.search(text):
        return None
    return scheme(text.strip())


def compare(ecosystem: str, left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is before, equal to or after `right`. Texts without a key are first, in their own order."""
    left_key, right_key = version_key(ecosystem, left), version_key(ecosystem, right)
    if left_key is None or right_key is None:
        if left_key is right_key:
            return (left > right) - (left < right)
        return -1 if left_key is None else 1
    return (left_key > right_key) - (left_key < right_key)
