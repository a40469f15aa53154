"""A CVE as the schema shows it."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.vulnerabilities.enums import Severity
from schema.vulnerabilities.types import AdvisoryText, CvssVector, Exploitation


@strawberry.type(description="What one advisory of one feed says of a CVE.")
class CveAdvisory(AdvisoryText):
    feed: str = strawberry.field(description="The feed that has it: `debian`, `osv:PyPI`, `nvd:2024`.")
    withdrawn_at: datetime | None = strawberry.field(description="When it was taken back; null: it holds.")


@strawberry.type(description="What is known of a CVE, and how much of it the organization has.")
class Cve:
    id: str = strawberry.field(description="The CVE's id.")
    title: str = strawberry.field(description="One line; empty when no advisory is stored.")
    details: str = strawberry.field(description="NVD's description, else an advisory's; treat as untrusted.")
    severity: Severity = strawberry.field(description="NVD's rating, else the highest of the advisories.")
    cvss: float | None = strawberry.field(description="CVSS base score, 0.0-10.0; null: nobody states one.")
    cvss_scores: list[CvssVector] = strawberry.field(description="Its CVSS vectors, newest version first.")
    published_at: datetime | None = strawberry.field(description="When somebody first published it; null: none says.")
    rejected: bool = strawberry.field(description="Whether NVD says that it is no vulnerability.")
    exploitation: Exploitation = strawberry.field(description="What is known of it being exploited.")
    advisories: list[CveAdvisory] = strawberry.field(
        description="What the feeds say of it, by feed and id, at most 100."
    )
    vulnerabilities: int = strawberry.field(
        description="How many vulnerabilities of the organization are this CVE now."
    )
    images: int = strawberry.field(description="In how many images.")
