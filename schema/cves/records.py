"""What is known of one CVE, put together from every feed that tells of it, and what an organization has of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.cves import repository
from schema.cves.models import Cve
from schema.kernel.errors import not_found
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import CvssScore, choose_score, score_vector, worst_severity


@dataclass(frozen=True, slots=True, kw_only=True)
class CveRecord:
    """`advisories` are rows of the store; `vulnerabilities` and `images` count what the organization has now."""

    id: str
    title: str
    details: str
    severity: Severity
    cvss: float | None
    cvss_scores: Sequence[CvssScore]
    published_at: datetime | None
    rejected: bool
    exploitation: Cve
    advisories: Sequence[Any]
    vulnerabilities: int
    images: int


async def load_cve(session: AsyncSession, organization_id: str, cve: str) -> CveRecord:
    """NOT_FOUND for a CVE that no feed tells of and that is in none of the organization's images."""
    exploitation = await repository.find_cve(session, cve)
    advisories = await repository.advisories_about(session, cve)
    own = await repository.seen_here(session, organization_id, cve)
    if exploitation is None and not advisories and not own.vulnerabilities:
        raise not_found("CVE")
    holding = [row for row in advisories if row.withdrawn_at is None]
    # NVD's record bears the CVE's own name: it is about the flaw as such, the others about it in some package.
    by_nvd = next((row for row in advisories if row.id == cve and row.feed.startswith("nvd:")), None)
    told = [row for row in (by_nvd, *holding, *advisories) if row is not None]
    rated = [row for row in (by_nvd,) if row is not None and row.severity is not Severity.UNKNOWN] or holding
    vectors = {score.vector: score for row in rated for text in row.cvss_vectors if (score := score_vector(text))}
    chosen = choose_score(vectors)
    return CveRecord(
        id=cve,
        title=next((row.summary for row in told if row.summary), own.title or ""),
        details=next((row.details for row in told if row.details), ""),
        severity=worst_severity(row.severity for row in rated),
        cvss=chosen.score if chosen else None,
        cvss_scores=sorted(vectors.values(), key=lambda score: (score.version, score.score), reverse=True),
        published_at=min((row.published_at for row in advisories if row.published_at), default=None),
        rejected=by_nvd is not None and by_nvd.withdrawn_at is not None,
        exploitation=exploitation or Cve(id=cve),
        advisories=advisories,
        vulnerabilities=own.vulnerabilities,
        images=own.images,
    )
