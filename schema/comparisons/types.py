"""Comparisons as the schema shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.comparisons.rules import FindingChange, PackageChange
from schema.vulnerabilities.enums import Grade, PackageType, Severity

strawberry.enum(
    FindingChange, description="CHANGED: the severity, a fixed version or the package's version is another."
)
strawberry.enum(PackageChange, description="CHANGED: other versions of it are there.")


@strawberry.type(description="A scan that is compared.")
class ComparedScan:
    scan_id: strawberry.ID = strawberry.field(description="`scn-…`.")
    reference: str = strawberry.field(name="image", description="The reference that was scanned, in full.")
    digest: str | None = strawberry.field(description="The digest that was scanned.")
    grade: Grade | None = strawberry.field(description="A-D; null when it could not be judged.")
    risk_score: int | None = strawberry.field(description="0-100; null without a grade's evidence.")
    scanned_at: datetime = strawberry.field(description="When that scan ended.")


@strawberry.type(description="How one scan saw a flaw of a package.")
class FindingSide:
    versions: list[str] = strawberry.field(description="Versions of the package that have it.")
    severity: Severity = strawberry.field(description="The worst of their severities.")
    fixed_versions: list[str] = strawberry.field(description="Versions that fix it.")


@strawberry.type(description="A flaw of a package that is not the same in both scans.")
class FindingDifference:
    change: FindingChange = strawberry.field(description="What happened to it.")
    cve_id: str = strawberry.field(description="The flaw's id.")
    title: str = strawberry.field(description="One line on what it is.")
    package_name: str = strawberry.field(description="The package it is in.")
    package_type: PackageType = strawberry.field(description="Kind of package.")
    base: FindingSide | None = strawberry.field(description="In the base; null when it was not there.")
    target: FindingSide | None = strawberry.field(description="In the target; null when it is not there any more.")


@strawberry.type(description="How findings differ: the counts are of all, the items of the page that was asked for.")
class FindingDifferences:
    added: int = strawberry.field(description="Findings only the target has.")
    fixed: int = strawberry.field(description="Findings only the base has.")
    changed: int = strawberry.field(description="Findings both have, not the same.")
    unchanged: int = strawberry.field(description="Findings that are the same in both.")
    items: list[FindingDifference] = strawberry.field(
        description="What differs: added, fixed, changed, of each the most severe first."
    )


@strawberry.type(description="A package that is not the same in both scans.")
class PackageDifference:
    change: PackageChange = strawberry.field(description="What happened to it.")
    name: str = strawberry.field(description="Name of the package.")
    type: PackageType = strawberry.field(description="Kind of package.")
    base_versions: list[str] = strawberry.field(description="Versions the base holds.")
    target_versions: list[str] = strawberry.field(description="Versions the target holds.")


@strawberry.type(description="How packages differ: the counts are of all, the items of the page that was asked for.")
class PackageDifferences:
    added: int = strawberry.field(description="Packages only the target has.")
    removed: int = strawberry.field(description="Packages only the base has.")
    changed: int = strawberry.field(description="Packages both have, in other versions.")
    unchanged: int = strawberry.field(description="Packages that are the same in both.")
    items: list[PackageDifference] = strawberry.field(
        description="What differs: added, removed, changed, of each by type and name."
    )


@strawberry.type(description="What changed from one scan to another.")
class ScanComparison:
    base: ComparedScan = strawberry.field(description="The scan that is compared with.")
    target: ComparedScan = strawberry.field(description="The scan that is looked at.")
    findings: FindingDifferences = strawberry.field(description="Flaws of packages.")
    packages: PackageDifferences = strawberry.field(description="Packages.")
