"""The dashboard as the schema shows it."""

from __future__ import annotations

import strawberry

from schema.images.types import Image
from schema.vulnerabilities.enums import Grade, TriageStatus
from schema.vulnerabilities.types import SeverityCounts


@strawberry.type(description="How many vulnerabilities have a triage status.")
class StatusCount:
    status: TriageStatus = strawberry.field(description="The status.")
    count: int = strawberry.field(description="Vulnerabilities that have it.")


@strawberry.type(description="How many images have a grade.")
class GradeCount:
    grade: Grade | None = strawberry.field(description="The grade of their latest scan; null: none.")
    count: int = strawberry.field(description="Images that have it.")


@strawberry.type(description="An organization at a glance. Read from stored counts, so it costs the same at any size.")
class Dashboard:
    open: SeverityCounts = strawberry.field(
        description="Vulnerabilities nobody has fixed, dismissed or attested, by severity."
    )
    fixable: int = strawberry.field(description="Those of them that a newer version fixes.")
    excepted: int = strawberry.field(
        description="Vulnerabilities that an active attestation covers; not among the open."
    )
    statuses: list[StatusCount] = strawberry.field(description="All vulnerabilities by triage status.")
    images: int = strawberry.field(description="Images in the catalogue.")
    grades: list[GradeCount] = strawberry.field(description="Images by grade, best first, those without one last.")
    queued_scans: int = strawberry.field(description="Scans that wait for a worker.")
    running_scans: int = strawberry.field(description="Scans that are being worked on.")
    riskiest_images: list[Image] = strawberry.field(
        description="The five images with the highest risk score, if they have one."
    )
