"""What a document about a scan is made of, as one value: every format renders it, none reads a database or a clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from schema.dependencies.records import PackageType
from schema.scans.evidence import CheckLevel, ImageEfficiency
from schema.scans.models import Engine, EngineRunStatus
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade, SeverityCounts
from schema.vulnerabilities.severity import severity_rank


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntry:
    """A requested engine and who answered for it: `provider` is "trivy 0.76.0", None for nobody."""

    engine: Engine
    status: EngineRunStatus
    provider: str | None
    message: str | None
    database_date: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """A layer of the image. Sizes in bytes, as stored and unpacked."""

    index: int
    digest: str
    diff_id: str
    size_bytes: int
    diff_size_bytes: int
    file_count: int
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageEntry:
    """A package in one place of the image. `path` is the file that proves it."""

    name: str
    version: str
    type: PackageType
    ecosystem: str | None
    source_name: str
    source_version: str
    purl: str
    licenses: tuple[str, ...]
    architecture: str | None
    path: str
    layer_digest: str
    layer_index: int
    sources: tuple[str, ...]

    @property
    def identity(self) -> tuple[PackageType, str, str]:
        """What its findings know it by."""
        return (self.type, self.name, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingEntry:
    """One flaw in one version of one package. `severities` are the ratings of the sources, where they are known."""

    vulnerability_id: str  # "vuln-…"
    flaw: str  # "CVE-2024-45490"
    aliases: tuple[str, ...]
    advisory_ids: tuple[str, ...]
    title: str
    severity: Severity
    cvss: float | None  # 0.0-10.0
    cvss_vectors: tuple[str, ...]
    package_name: str
    package_version: str
    package_type: PackageType
    fixed_versions: tuple[str, ...]
    status: TriageStatus
    sources: tuple[str, ...]
    engines: tuple[str, ...]
    path: str
    layer_digest: str
    layer_index: int
    severities: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> tuple[PackageType, str, str]:
        """The identity of the package it is about."""
        return (self.package_type, self.package_name, self.package_version)

    @property
    def is_dismissed(self) -> bool:
        """Somebody decided that nothing is to be done, or that it is done."""
        return self.status in {TriageStatus.WONT_FIX, TriageStatus.FIXED}

    @property
    def advice(self) -> str:
        """What to do about it, in one sentence."""
        if not self.fixed_versions:
            return f"There is no fixed version of {self.package_name} yet."
        return f"Update {self.package_name} to {' or '.join(self.fixed_versions)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class MisconfigurationEntry:
    """A failed check. As in `schema.scans.evidence`, and who says so."""

    check_id: str
    title: str
    level: CheckLevel
    severity: Severity
    evidence: tuple[str, ...]
    remediation: str
    path: str
    layer_digest: str
    layer_index: int
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEntry:
    """A secret in a layer or the config, masked. As in `schema.scans.evidence`, and who says so."""

    rule: str
    title: str
    severity: Severity
    path: str
    line: int | None
    masked: str
    layer_digest: str
    layer_index: int
    deleted: bool
    place: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanContents:
    """A complete scan. Its rows have one order, whatever order they came in, so that equal scans make equal bytes.

    Findings stand by priority: the most severe first, of those the fixable ones, of those the highest score.
    """

    scan_id: str
    image: str  # "ghcr.io/acme/api"
    reference: str  # as it was pulled: "ghcr.io/acme/api:1.4.7"
    digest: str | None
    platform: str | None
    operating_system: str | None
    grade: Grade | None
    grade_reason: str | None
    risk_score: int | None
    partial: bool
    started_at: datetime
    scanned_at: datetime
    engines: tuple[EngineEntry, ...] = ()  # in request order
    layers: tuple[LayerEntry, ...] = ()
    packages: tuple[PackageEntry, ...] = ()
    findings: tuple[FindingEntry, ...] = ()
    misconfigurations: tuple[MisconfigurationEntry, ...] = ()
    secrets: tuple[SecretEntry, ...] = ()
    efficiency: ImageEfficiency | None = None

    def __post_init__(self) -> None:
        for name, order in (
            ("layers", lambda each: each.index),
            ("packages", _package_order),
            ("findings", _finding_order),
            ("misconfigurations", _misconfiguration_order),
            ("secrets", _secret_order),
        ):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name), key=order)))

    @property
    def counts(self) -> SeverityCounts:
        """All findings by severity, dismissed ones among them."""
        return SeverityCounts.of(finding.severity for finding in self.findings)


def _package_order(package: PackageEntry) -> tuple[object, ...]:
    return (*package.identity, package.path, package.layer_index, package.purl, package.licenses, package.sources)


def _finding_order(finding: FindingEntry) -> tuple[object, ...]:
    urgency = (-severity_rank(finding.severity), not finding.fixed_versions, -(finding.cvss or 0.0))
    return (*urgency, finding.flaw, *finding.package, finding.path, finding.vulnerability_id)


def _misconfiguration_order(found: MisconfigurationEntry) -> tuple[object, ...]:
    place = (found.path, found.layer_index, found.evidence, found.sources)
    return (-severity_rank(found.severity), found.check_id, *place)


def _secret_order(secret: SecretEntry) -> tuple[object, ...]:
    place = (secret.path, secret.place, secret.line or 0, secret.layer_index)
    return (-severity_rank(secret.severity), secret.rule, *place, secret.masked, secret.sources)
