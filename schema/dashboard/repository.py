"""All SQL of the dashboard: sums of stored counts, and index ranges of a few rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image
from schema.images.repository import IMAGES
from schema.kernel.listing import Shape
from schema.kernel.pagination import SortOrder
from schema.kernel.parameters import ORGANIZATION
from schema.kernel.tenancy import tenant
from schema.scans.models import ACTIVE, Scan, ScanStatus
from schema.vulnerabilities.counts import EVERY_IMAGE
from schema.vulnerabilities.models import TriageStatus, VulnerabilityCount
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade

RISKIEST = 5
# Those that have a score.
_RISKIEST_FIRST = Shape(
    frozenset({"risk_score"}), SortOrder(column="riskScore", descending=True), by_cursor=False, wanted=None
)


@dataclass(frozen=True, slots=True)
class Group:
    """Vulnerabilities that are alike."""

    severity: Severity
    status: TriageStatus
    fixable: bool
    count: int


async def vulnerability_groups(session: AsyncSession, organization_id: str) -> list[Group]:
    table = VulnerabilityCount
    statement = select(col(table.severity), col(table.status), col(table.fixable), col(table.count)).where(
        tenant(table, organization_id), col(table.image_id) == EVERY_IMAGE, col(table.count) > 0
    )
    return [Group(*row) for row in await session.execute(statement)]


async def images_by_grade(session: AsyncSession, organization_id: str) -> Mapping[Grade | None, int]:
    statement = select(col(Image.grade), func.count()).where(tenant(Image, organization_id)).group_by(col(Image.grade))
    return dict((await session.execute(statement)).tuples().all())


async def active_scans(session: AsyncSession, organization_id: str) -> Counter[ScanStatus]:
    statement = (
        select(col(Scan.status), func.count())
        .where(tenant(Scan, organization_id), col(Scan.status).in_(ACTIVE))
        .group_by(col(Scan.status))
    )
    return Counter(dict((await session.execute(statement)).tuples().all()))


async def riskiest_images(session: AsyncSession, organization_id: str) -> Sequence[Any]:
    statement, row_class = IMAGES.page(_RISKIEST_FIRST)
    rows = await session.execute(
        statement, {ORGANIZATION: organization_id, "risk_score": 0, "limit": RISKIEST, "offset": 0}
    )
    return [row_class._make(row) for row in rows]
