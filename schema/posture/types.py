"""Posture as the schema shows it."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.dashboard.types import GradeCount
from schema.vulnerabilities.enums import Severity
from schema.vulnerabilities.types import SeverityCounts


@strawberry.type(description="How much of a registry is scanned.")
class RegistryCoverage:
    registry_id: strawberry.ID | None = strawberry.field(description="The registry; null: of hosts that are none.")
    name: str | None = strawberry.field(description="Its name.")
    total: int = strawberry.field(description="Tags that are there.")
    fresh: int = strawberry.field(description="Those that were scanned within the threshold.")
    coverage: float = strawberry.field(description="fresh / total, 0-1.")


@strawberry.type(description="How much of what there is is scanned.")
class Coverage:
    coverage: float | None = strawberry.field(description="scannedTags / totalTags, 0-1; null: there is no tag.")
    total_tags: int = strawberry.field(description="Tags that are there.")
    scanned_tags: int = strawberry.field(description="Those that were scanned within the threshold.")
    outdated_count: int = strawberry.field(description="Those that were not.")
    freshness_threshold_days: int = strawberry.field(description="The threshold, of the compliance policy.")
    registries: list[RegistryCoverage] = strawberry.field(description="The same for each registry.")


@strawberry.type(description="How long it took to fix vulnerabilities of a severity.")
class MttrBySeverity:
    severity: Severity = strawberry.field(description="The severity.")
    days: float | None = strawberry.field(description="Mean days from found to fixed; null: none was fixed.")
    fixed: int = strawberry.field(description="How many were fixed.")


@strawberry.type(description="How deadlines are kept. Of open vulnerabilities of severity critical and high.")
class SlaCompliance:
    percent: float | None = strawberry.field(
        description="(withDeadline - breached) / withDeadline x 100; null: none has a deadline."
    )
    with_deadline: int = strawberry.field(description="Those that have a deadline.")
    breached: int = strawberry.field(description="Those of them whose deadline has passed.")
    overdue: int = strawberry.field(description="Of every severity: those whose deadline has passed.")


@strawberry.type(description="Active attestations.")
class OpenExceptions:
    open: int = strawberry.field(description="How many there are.")
    expiring: int = strawberry.field(description="Those that expire within 3 days.")
    next_review_at: datetime | None = strawberry.field(description="When the next one expires.")
    vulnerabilities: int = strawberry.field(description="How many vulnerabilities they cover.")


@strawberry.type(description="How an organization stands. Read from stored counters; what is attested is left out.")
class Posture:
    risk_score: int = strawberry.field(
        description=(
            "0-100: min(60, weights 10/5/2/1 of what is open) + min(25, 5 x overdue critical and high) + 15 x (1 - coverage)."
        )
    )
    open: SeverityCounts = strawberry.field(description="Open vulnerabilities by severity.")
    grades: list[GradeCount] = strawberry.field(description="Images by grade, best first, those without one last.")
    coverage: Coverage = strawberry.field(description="How much is scanned.")
    mttr_days: float | None = strawberry.field(description="Mean days from found to fixed; null: none was fixed.")
    mttr_by_severity: list[MttrBySeverity] = strawberry.field(description="The same by severity, worst first.")
    sla_compliance: SlaCompliance = strawberry.field(description="How deadlines are kept.")
    exceptions: OpenExceptions = strawberry.field(description="Active attestations.")
    generated_at: datetime = strawberry.field(description="Now.")


@strawberry.type(description="How an organization stood at the end of a day, and what happened on it. Days are in UTC.")
class PostureDay:
    day: str = strawberry.field(description="2026-11-26.")
    risk_score: int = strawberry.field(description="0-100.")
    open: SeverityCounts = strawberry.field(description="Open vulnerabilities by severity.")
    overdue: int = strawberry.field(description="Those whose deadline had passed.")
    sla_compliance: float | None = strawberry.field(description="In percent, of severity critical and high.")
    exceptions: int = strawberry.field(description="Active attestations.")
    coverage: float | None = strawberry.field(description="0-1.")
    opened: int = strawberry.field(description="Vulnerabilities that were found, or found again, on that day.")
    fixed: int = strawberry.field(description="Vulnerabilities that were fixed on that day.")
    mttr_days: float | None = strawberry.field(description="Mean days from found to fixed of those.")
