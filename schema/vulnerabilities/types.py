"""Vulnerabilities as the schema shows them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, cast

import strawberry

from schema.cves.models import Cve
from schema.cves.repository import find_cve
from schema.kernel.operations import Info
from schema.kernel.rows import part_of_source, resolved_field
from schema.vulnerabilities import repository
from schema.vulnerabilities.enums import PackageType, Severity, TriageStatus
from schema.vulnerabilities.grouping import GroupBy
from schema.vulnerabilities.severity import score_vector


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


@strawberry.type(description="A package a flaw is in.")
class VulnerablePackage:
    package_name: str = strawberry.field(name="name", description="Name of the package.")
    package_version: str = strawberry.field(name="version", description="Installed version.")
    package_type: PackageType = strawberry.field(name="type", description="Kind of package.")


@strawberry.type(description="What one provider says of a flaw's severity.")
class SourceSeverity:
    source: str = strawberry.field(description="The provider.")
    severity: Severity = strawberry.field(description="Its own rating.")


@strawberry.type
class Flaw:
    """What a vulnerability and a sighting of it by one scan both say. Not a type of its own in the schema."""

    cve_id: str = strawberry.field(description="The flaw's id: a CVE id where it has one, else the advisory's.")
    aliases: list[str] = strawberry.field(description="All its other ids (GHSA, PYSEC, distribution ids).")
    title: str = strawberry.field(description="One line on what it is.")
    severity: Severity = strawberry.field(description="Severity by the documented rule.")
    cvss: float | None = strawberry.field(description="CVSS base score, 0.0-10.0.")
    cvss_vectors: list[str] = strawberry.field(description="CVSS vectors of every version that is published.")
    package: VulnerablePackage = part_of_source(description="Where the flaw is.")
    fixed_versions: list[str] = strawberry.field(description="Versions that fix it, nearest first.")
    fixable: bool = strawberry.field(description="Whether a fixed version exists.")
    status: TriageStatus = strawberry.field(description="Triage status of the vulnerability.")
    sources: list[str] = strawberry.field(description="Providers that reported it, each once.")
    agreement: int = strawberry.field(description="How many distinct providers reported it.")

    @resolved_field(description="Each provider's own rating.", reads=("severities",))
    def severities(self) -> list[SourceSeverity]:
        rated = cast("Any", self).severities
        return [SourceSeverity(source=source, severity=severity) for source, severity in rated.items()]


@strawberry.type(description="What was decided about a vulnerability, and by when it has to be fixed.")
class Triage:
    status: TriageStatus = strawberry.field(description="Where it stands in its life.")
    assignee_id: strawberry.ID | None = strawberry.field(description="Who takes care of it; null: nobody.")
    assignee: str | None = strawberry.field(description="That person's e-mail address.")
    triage_reason: str | None = strawberry.field(name="reason", description="Why it stands so.")
    sla_deadline: datetime | None = strawberry.field(description="By when it has to be fixed; null: no deadline.")
    overdue: bool = strawberry.field(description="Whether the deadline has passed and it is open.")
    excepted: bool = strawberry.field(
        name="exception", description="Whether an active attestation covers it; then no deadline is enforced."
    )
    exception_id: strawberry.ID | None = strawberry.field(name="attestationId", description="That attestation.")
    triaged_by: str | None = strawberry.field(
        name="updatedBy", description="Id of the user or API key that decided last; null: nobody has."
    )
    triaged_at: datetime | None = strawberry.field(name="updatedAt", description="When.")


@strawberry.type(description="When things happened to a vulnerability.")
class Timeline:
    detected_at: datetime = strawberry.field(description="When a scan first saw it.")
    last_seen_at: datetime = strawberry.field(description="When a scan last saw it.")
    remediated_at: datetime | None = strawberry.field(description="When it was fixed; null: it is not.")


@strawberry.type(description="One flaw in one version of one package of one image, whatever number of scans saw it.")
class Vulnerability(Flaw):
    id: strawberry.ID = strawberry.field(description="`vuln-…`.")
    image_id: strawberry.ID = strawberry.field(description="The image it is in.")
    image: str = strawberry.field(description="Name of that image.")
    detected_at: datetime = strawberry.field(description="When a scan first saw it.")
    is_present: bool = strawberry.field(description="Whether the latest scan of some tag has it.")
    last_seen_at: datetime = strawberry.field(
        description="When a scan last saw it; while it is there, when its image was last scanned."
    )
    remediated_at: datetime | None = strawberry.field(description="When it was last found to be gone.")
    epss: float | None = strawberry.field(
        description="Probability of being exploited within 30 days, 0-1 (FIRST EPSS); null: unknown."
    )
    epss_percentile: float | None = strawberry.field(description="Share of flaws that are less likely to be, 0-1.")
    kev: bool = strawberry.field(description="Whether it is known to be exploited (CISA KEV).")
    triage: Triage = part_of_source(description="What was decided about it.")
    timeline: Timeline = part_of_source(description="When things happened to it.")


@strawberry.type(description="What an advisory says about a flaw.")
class AdvisoryText:
    id: str = strawberry.field(description="Id of the advisory, as its publisher gave it.")
    summary: str = strawberry.field(description="One line.")
    details: str = strawberry.field(description="The full text, Markdown as published; treat as untrusted.")
    severity: Severity = strawberry.field(description="What this advisory alone says.")
    references: list[str] = strawberry.field(description="Links.")
    published_at: datetime | None = strawberry.field(description="When it was published.")
    modified_at: datetime = strawberry.field(description="When it last changed.")


@strawberry.type(description="A provider that answered for an engine, and how new its data was.")
class EngineDatabase:
    engine: str = strawberry.field(description="The requested engine.")
    provider: str | None = strawberry.field(description="Who answered for it, with its version.")
    database_date: datetime | None = strawberry.field(description="How new its data was; null: it does not say.")


@strawberry.type(description="A place where a scan saw a vulnerability.")
class Sighting:
    scan_id: strawberry.ID = strawberry.field(description="The scan.")
    reference: str = strawberry.field(description="The image reference that was scanned.")
    digest: str | None = strawberry.field(description="The digest that was scanned.")
    path: str = strawberry.field(description="File in the image that proves the package.")
    layer_digest: str = strawberry.field(description="Diff id of the layer that put it there.")
    layer_index: int = strawberry.field(description="0 is the lowest layer.")
    scanned_at: datetime | None = strawberry.field(description="When that scan ended.")
    sources: list[str] = strawberry.field(description="Providers that reported it there.")
    engines: list[EngineDatabase] = strawberry.field(
        description="Engines they answered for, and how new their data was."
    )


@strawberry.type(description="Another image with the same flaw in the same package.")
class AffectedImage:
    id: strawberry.ID = strawberry.field(description="The vulnerability there, `vuln-…`.")
    image_id: strawberry.ID = strawberry.field(description="The image.")
    image: str = strawberry.field(description="Its name.")
    package_version: str = strawberry.field(name="version", description="Installed version.")
    status: TriageStatus = strawberry.field(description="Triage status there.")
    is_present: bool = strawberry.field(description="Whether the latest scan of some tag has it.")


@strawberry.type(description="What is known of a flaw being exploited.")
class Exploitation:
    epss: float | None = strawberry.field(description="Probability within 30 days, 0-1 (FIRST EPSS).")
    epss_percentile: float | None = strawberry.field(description="Share of flaws that are less likely, 0-1.")
    kev: bool = strawberry.field(description="Whether it is in CISA's catalogue of known exploited vulnerabilities.")
    kev_added_at: datetime | None = strawberry.field(description="Since when.")
    kev_due_at: datetime | None = strawberry.field(description="By when CISA wants it remedied.")
    ransomware: bool = strawberry.field(description="Whether ransomware is known to use it.")


@strawberry.type(description="A CVSS vector and what it says.")
class CvssVector:
    vector: str = strawberry.field(description="The vector.")
    version: str = strawberry.field(description="2.0, 3.0, 3.1 or 4.0.")
    score: float = strawberry.field(description="Base score, 0.0-10.0.")
    severity: Severity = strawberry.field(description="What that score is called.")


@strawberry.type(description="A vulnerability with its evidence: advisories, and where scans saw it.")
class VulnerabilityDetail(Vulnerability):
    @resolved_field(description="Every advisory that says so.", reads=("advisory_ids",))
    async def advisories(self, info: Info) -> list[AdvisoryText]:
        row = cast("Any", self)
        async with info.context.read() as session:
            return cast("list[AdvisoryText]", await repository.advisories_of(session, row.advisory_ids))

    @resolved_field(description="The latest scans that saw it, at most 20.")
    async def sightings(self, info: Info) -> list[Sighting]:
        async with info.context.read() as session:
            found = await repository.latest_sightings(session, info.context.organization_id, self.id)
        return cast("list[Sighting]", found)

    @resolved_field(description="Other images with the same flaw in the same package, at most 20.")
    async def other_images(self, info: Info) -> list[AffectedImage]:
        async with info.context.read() as session:
            found = await repository.other_images(session, info.context.organization_id, self.id)
        return cast("list[AffectedImage]", found)

    @resolved_field(description="What is known of it being exploited.", reads=("cve_id",))
    async def exploitation(self, info: Info) -> Exploitation:
        async with info.context.read() as session:
            return cast("Exploitation", await find_cve(session, self.cve_id) or Cve(id=self.cve_id))

    @resolved_field(description="Its CVSS vectors, each with its score; newest version first.", reads=("cvss_vectors",))
    def cvss_scores(self) -> list[CvssVector]:
        scores = [score for vector in cast("Any", self).cvss_vectors if (score := score_vector(vector))]
        return cast("list[CvssVector]", sorted(scores, key=lambda score: score.version, reverse=True))


strawberry.enum(GroupBy, description="What vulnerabilities of a group have in common.")


@strawberry.type(description="Vulnerabilities with the same flaw, package or image.")
class VulnerabilityGroup:
    value: str = strawberry.field(description="The flaw's id, the package's name, or the image's id.")
    name: str = strawberry.field(description="Of an image its name, else the value.")
    title: str = strawberry.field(description="A title of one of them.")
    severity: Severity = strawberry.field(description="The worst of them.")
    count: int = strawberry.field(description="How many there are.")
    open: int = strawberry.field(description="Those that nobody has fixed, dismissed or attested.")
    flaws: int = strawberry.field(description="How many flaws.")
    packages: int = strawberry.field(description="How many packages, by name.")
    images: int = strawberry.field(description="How many images.")
    fixable: int = strawberry.field(description="Those that a newer version fixes.")
    kev: bool = strawberry.field(description="Whether one of them is known to be exploited.")


@strawberry.enum(graphql_name_from="value", description="A field whose values can be listed.")
class DistinctField(Enum):
    CVE_ID = "cveId"
    PACKAGE = "package"
    SEVERITY = "severity"
    STATUS = "status"
    SCANNER = "scanner"
    IMAGE = "image"
    REGISTRY = "registry"
    ASSIGNEE = "assignee"


@strawberry.type(description="A value that the list of vulnerabilities can be filtered by.")
class DistinctValue:
    value: str = strawberry.field(description="The value, as the filter takes it.")
    count: int = strawberry.field(description="How many vulnerabilities have it.")
    label: str | None = strawberry.field(description="Of an id, what it stands for: a name, an e-mail address.")
