"""Vulnerabilities as the schema shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import strawberry

from schema.kernel.pages import PageMeta
from schema.kernel.pagination import Page
from schema.vulnerabilities.enums import PackageType, Severity, TriageStatus


@strawberry.enum(description="Who reported a vulnerability: a tool itself, or our own native provider.")
class ScannerFilter(Enum):
    trivy = "trivy"
    grype = "grype"
    syft = "syft"
    dive = "dive"
    dockle = "dockle"
    osv = "osv"
    native = "native"


@strawberry.type(description="Open findings by severity.")
class SeverityCounts:
    critical: int = strawberry.field(description="Findings of severity CRITICAL.")
    high: int = strawberry.field(description="Findings of severity HIGH.")
    medium: int = strawberry.field(description="Findings of severity MEDIUM.")
    low: int = strawberry.field(description="Findings of severity LOW.")
    unknown: int = strawberry.field(description="Findings whose severity nobody states.")
    total: int = strawberry.field(description="All of them.")

    @classmethod
    def from_row(cls, row: Any) -> SeverityCounts:
        """From any row with the verdict columns."""
        return cls(
            critical=row.critical,
            high=row.high,
            medium=row.medium,
            low=row.low,
            unknown=row.unknown,
            total=row.critical + row.high + row.medium + row.low + row.unknown,
        )


@strawberry.type(description="A package a flaw is in.")
class VulnerablePackage:
    name: str = strawberry.field(description="Name of the package.")
    version: str = strawberry.field(description="Installed version.")
    type: PackageType = strawberry.field(description="Kind of package.")


@strawberry.type
class Flaw:
    """What a vulnerability and a sighting of it by one scan both say. Not a type of its own in the schema."""

    cve_id: str = strawberry.field(description="The flaw's id: a CVE id where it has one, else the advisory's.")
    aliases: list[str] = strawberry.field(description="All its other ids (GHSA, PYSEC, distribution ids).")
    title: str = strawberry.field(description="One line on what it is.")
    severity: Severity = strawberry.field(description="Severity by the documented rule.")
    cvss: float | None = strawberry.field(description="CVSS base score, 0.0-10.0.")
    cvss_vectors: list[str] = strawberry.field(description="CVSS vectors of every version that is published.")
    package: VulnerablePackage = strawberry.field(description="Where the flaw is.")
    fixed_versions: list[str] = strawberry.field(description="Versions that fix it, nearest first.")
    fixable: bool = strawberry.field(description="Whether a fixed version exists.")
    status: TriageStatus = strawberry.field(description="Triage status of the vulnerability.")
    sources: list[str] = strawberry.field(description="Providers that reported it, each once.")
    agreement: int = strawberry.field(description="How many distinct providers reported it.")


def flaw_fields(row: Any) -> dict[str, Any]:
    return {
        "cve_id": row.cve_id,
        "aliases": row.aliases,
        "title": row.title,
        "severity": row.severity,
        "cvss": row.cvss,
        "cvss_vectors": row.cvss_vectors,
        "package": VulnerablePackage(name=row.package_name, version=row.package_version, type=row.package_type),
        "fixed_versions": row.fixed_versions,
        "fixable": row.fixable,
        "status": row.status,
        "sources": row.sources,
        "agreement": len(row.sources),
    }


@strawberry.type(description="One flaw in one version of one package of one image, whatever number of scans saw it.")
class Vulnerability(Flaw):
    id: strawberry.ID = strawberry.field(description="`vuln-…`.")
    image_id: strawberry.ID = strawberry.field(description="The image it is in.")
    image: str = strawberry.field(description="Name of that image.")
    detected_at: datetime = strawberry.field(description="When a scan first saw it.")
    last_seen_at: datetime = strawberry.field(description="When a scan last saw it.")
    remediated_at: datetime | None = strawberry.field(description="When it was last found to be gone.")

    @classmethod
    def from_row(cls, row: Any) -> Vulnerability:
        return cls(**vulnerability_fields(row))


def vulnerability_fields(row: Any) -> dict[str, Any]:
    return {
        **flaw_fields(row),
        "id": strawberry.ID(row.id),
        "image_id": strawberry.ID(row.image_id),
        "image": row.image,
        "detected_at": row.detected_at,
        "last_seen_at": row.last_seen_at,
        "remediated_at": row.remediated_at,
    }


@strawberry.type(description="A page of vulnerabilities.")
class VulnerabilityPage:
    items: list[Vulnerability] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")

    @classmethod
    def of(cls, page: Page[Any]) -> VulnerabilityPage:
        return cls(items=[Vulnerability.from_row(row) for row in page.items], meta=PageMeta.of(page.meta))


@strawberry.type(description="What an advisory says about a flaw.")
class AdvisoryText:
    id: str = strawberry.field(description="Id of the advisory, as its publisher gave it.")
    summary: str = strawberry.field(description="One line.")
    details: str = strawberry.field(description="The full text, Markdown as published; treat as untrusted.")
    severity: Severity = strawberry.field(description="What this advisory alone says.")
    references: list[str] = strawberry.field(description="Links.")
    published_at: datetime | None = strawberry.field(description="When it was published.")
    modified_at: datetime = strawberry.field(description="When it last changed.")


@strawberry.type(description="A place where a scan saw a vulnerability.")
class Sighting:
    scan_id: strawberry.ID = strawberry.field(description="The scan.")
    reference: str = strawberry.field(description="The image reference that was scanned.")
    digest: str | None = strawberry.field(description="The digest that was scanned.")
    path: str = strawberry.field(description="File in the image that proves the package.")
    layer_digest: str = strawberry.field(description="Diff id of the layer that put it there.")
    layer_index: int = strawberry.field(description="0 is the lowest layer.")
    scanned_at: datetime | None = strawberry.field(description="When that scan ended.")


@strawberry.type(description="A vulnerability with its evidence: advisories, and where scans saw it.")
class VulnerabilityDetail(Vulnerability):
    advisories: list[AdvisoryText] = strawberry.field(description="Every advisory that says so.")
    sightings: list[Sighting] = strawberry.field(description="The latest scans that saw it, at most 20.")

    @classmethod
    def of(cls, row: Any, advisories: Sequence[Any], sightings: Sequence[Any]) -> VulnerabilityDetail:
        return cls(
            **vulnerability_fields(row),
            advisories=[
                AdvisoryText(
                    id=advisory.id,
                    summary=advisory.summary,
                    details=advisory.details,
                    severity=advisory.severity,
                    references=advisory.references,
                    published_at=advisory.published_at,
                    modified_at=advisory.modified_at,
                )
                for advisory in advisories
            ],
            sightings=[
                Sighting(
                    scan_id=strawberry.ID(seen.scan_id),
                    reference=seen.reference,
                    digest=seen.digest,
                    path=seen.path,
                    layer_digest=seen.layer_digest,
                    layer_index=seen.layer_index,
                    scanned_at=seen.scanned_at,
                )
                for seen in sightings
            ],
        )
