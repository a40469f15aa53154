"""How versions of packages of a type are ordered, and what a package is called whatever its version. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cmp_to_key, partial

from schema.advisories.versions import compare, version_key
from schema.dependencies.records import PackageType

# The ecosystem whose tool orders the versions of a type. What is GENERIC has no order.
_ORDERED_AS: Mapping[str, str] = {
    PackageType.DEB: "Debian",
    PackageType.APK: "Alpine",
    PackageType.RPM: "Red Hat",
    PackageType.NPM: "npm",
    PackageType.PIP: "PyPI",
    PackageType.GEM: "RubyGems",
    PackageType.GO: "Go",
    PackageType.CARGO: "crates.io",
    PackageType.MAVEN: "Maven",
    PackageType.COMPOSER: "Packagist",
    PackageType.NUGET: "NuGet",
}


def in_order(type_: str, versions: Iterable[str]) -> list[str]:
    """The newest first."""
    order = partial(compare, _ORDERED_AS.get(type_, ""))
    return sorted(set(versions), key=cmp_to_key(order), reverse=True)


def is_within(type_: str, version: str, *, from_: str | None, below: str | None) -> bool:
    """Whether a version is at least `from_` and less than `below`. One that has no order is within: better told than missed."""
    if from_ is None and below is None:
        return True
    ecosystem = _ORDERED_AS.get(type_, "")
    if version_key(ecosystem, version) is None:
        return True
    return (from_ is None or compare(ecosystem, version, from_) >= 0) and (
        below is None or compare(ecosystem, version, below) < 0
    )


def without_version(purl: str) -> str:
    """The package URL of the package, whatever its version: without that, qualifiers and subpath."""
    base = purl.partition("#")[0].partition("?")[0]
    name, separator, _version = base.rpartition("@")
    return name if separator else base
