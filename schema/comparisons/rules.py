"""What changed from one scan to another. Pure.

A finding is the same in both if it is about the same package, whatever its version, and shares the flaw's id or an alias; a
package is the same if type and name agree. So an upgrade that does not help is a change, not one thing fixed and one
found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from schema.dependencies.records import PackageType
from schema.documents.contents import FindingEntry, PackageEntry
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank, worst_severity


class FindingChange(StrEnum):
    ADDED = "ADDED"
    FIXED = "FIXED"
    CHANGED = "CHANGED"


class PackageChange(StrEnum):
    ADDED = "ADDED"
    REMOVED = "REMOVED"
    CHANGED = "CHANGED"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSide:
    """How one scan saw a flaw of a package: in which versions, the worst severity, and what fixes it."""

    versions: tuple[str, ...]
    severity: Severity
    fixed_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingDifference:
    change: FindingChange
    cve_id: str
    title: str
    package_name: str
    package_type: PackageType
    base: FindingSide | None
    target: FindingSide | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDifference:
    """Versions are sorted as text: an image may hold several."""

    change: PackageChange
    name: str
    type: PackageType
    base_versions: tuple[str, ...]
    target_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingDifferences:
    """How many there are of each kind, and all that differ: added, fixed, changed, of each the most severe first."""

    added: int
    fixed: int
    changed: int
    unchanged: int
    items: tuple[FindingDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDifferences:
    """How many there are of each kind, and all that differ: added, removed, changed, of each by type and name."""

    added: int
    removed: int
    changed: int
    unchanged: int
    items: tuple[PackageDifference, ...]


_Subject: TypeAlias = "tuple[PackageType, str, str]"  # a package's type and name, and a name of the flaw
_Sides: TypeAlias = "tuple[list[FindingEntry], list[FindingEntry]]"


def compare_findings(base: Sequence[FindingEntry], target: Sequence[FindingEntry]) -> FindingDifferences:
    subjects = _by_subject(base, target)
    items = [each for sides in subjects.values() if (each := _finding_difference(*sides))]
    items.sort(key=_finding_order)
    counted = Counter(each.change for each in items)
    return FindingDifferences(
        added=counted[FindingChange.ADDED],
        fixed=counted[FindingChange.FIXED],
        changed=counted[FindingChange.CHANGED],
        unchanged=len(subjects) - len(items),
        items=tuple(items),
    )


def _by_subject(base: Sequence[FindingEntry], target: Sequence[FindingEntry]) -> dict[_Subject, _Sides]:
    """Advisories get a CVE id later than others, so the first name that is known joins two findings."""
    known: dict[_Subject, _Subject] = {}
    subjects: dict[_Subject, _Sides] = defaultdict(lambda: ([], []))
    for side, findings in enumerate((base, target)):
        for finding in findings:
            names = [(finding.package_type, finding.package_name, name) for name in (finding.flaw, *finding.aliases)]
            subject = next((known[name] for name in names if name in known), names[0])
            for name in names:
                known.setdefault(name, subject)
            subjects[subject][side].append(finding)
    return subjects


def _finding_difference(base: list[FindingEntry], target: list[FindingEntry]) -> FindingDifference | None:
    before, after = _side(base), _side(target)
    if before == after:
        return None
    change = FindingChange.ADDED if before is None else FindingChange.FIXED if after is None else FindingChange.CHANGED
    shown = (target or base)[0]
    return FindingDifference(
        change=change,
        cve_id=shown.flaw,
        title=shown.title,
        package_name=shown.package_name,
        package_type=shown.package_type,
        base=before,
        target=after,
    )


def _side(findings: list[FindingEntry]) -> FindingSide | None:
    if not findings:
        return None
    return FindingSide(
        versions=tuple(sorted({finding.package_version for finding in findings})),
        severity=worst_severity(finding.severity for finding in findings),
        fixed_versions=tuple(sorted({version for finding in findings for version in finding.fixed_versions})),
    )


def _finding_order(difference: FindingDifference) -> tuple[object, ...]:
    side = difference.target or difference.base
    rank = severity_rank(side.severity) if side else 0
    subject = (difference.cve_id, difference.package_type, difference.package_name)
    return ([*FindingChange].index(difference.change), -rank, *subject)


def compare_packages(base: Iterable[PackageEntry], target: Iterable[PackageEntry]) -> PackageDifferences:
    versions: dict[tuple[PackageType, str], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for side, packages in enumerate((base, target)):
        for package in packages:
            versions[package.type, package.name][side].add(package.version)
    items = [
        PackageDifference(
            change=PackageChange.CHANGED
            if before and after
            else PackageChange.REMOVED
            if before
            else PackageChange.ADDED,
            name=name,
            type=kind,
            base_versions=tuple(sorted(before)),
            target_versions=tuple(sorted(after)),
        )
        for (kind, name), (before, after) in versions.items()
        if before != after
    ]
    items.sort(key=lambda each: ([*PackageChange].index(each.change), each.type, each.name))
    counted = Counter(each.change for each in items)
    return PackageDifferences(
        added=counted[PackageChange.ADDED],
        removed=counted[PackageChange.REMOVED],
        changed=counted[PackageChange.CHANGED],
        unchanged=len(versions) - len(items),
        items=tuple(items),
    )
