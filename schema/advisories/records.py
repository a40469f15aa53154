"""Advisories as values, in the shape of the OSV schema (ossf.github.io/osv-schema), parsed and bounded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schema.vulnerabilities.records import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRange:
    """One OSV range: `events` as (kind, version) in document order. Kinds: introduced, fixed, last_affected, limit."""

    type: str  # ECOSYSTEM or SEMVER; GIT ranges are dropped when parsing
    events: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedPackage:
    """The part of an advisory about one package of one ecosystem. Without ranges and versions it says: not affected."""

    ecosystem: str  # as filed: "Debian:12", "PyPI", "npm", "Alpine:v3.19"
    name: str  # normalised as the ecosystem compares names (PEP 503 for PyPI)
    ranges: tuple[VersionRange, ...]
    versions: tuple[str, ...]
    severity: Severity | None  # where the entry itself states one, else None
    cvss_vectors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdvisoryRecord:
    """One OSV record."""

    id: str
    aliases: tuple[str, ...]  # other names of the same flaw; `upstream` of a distribution's record counts
    summary: str
    details: str
    published: datetime | None
    modified: datetime
    withdrawn: datetime | None
    severity: Severity
    cvss_score: float | None
    cvss_vectors: tuple[str, ...]
    references: tuple[str, ...]
    affected: tuple[AffectedPackage, ...]
    feed: str = ""  # which feed of the store says so; "" until it is stored
