"""Findings as values: what a matcher produces and an ingest stores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schema.dependencies.records import PackageRecord


class Severity(StrEnum):
    """Ordered by `severity_rank` in severity.py; UNKNOWN is a statement of its own, never LOW."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRecord:
    """One flaw in one package of one image, after aliases were joined.

    `vulnerability_id` is the name of the flaw chosen by the documented rule (a CVE id if it has one),
    `aliases` are all its other names, `advisory_ids` the records that said so.
    """

    vulnerability_id: str
    aliases: tuple[str, ...]
    advisory_ids: tuple[str, ...]
    package: PackageRecord
    severity: Severity
    cvss_score: float | None  # 0.0-10.0, of the vector that decided the severity
    cvss_vectors: tuple[str, ...]
    fixed_versions: tuple[str, ...]
    title: str
