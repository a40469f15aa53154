"""All SQL of the dashboard: sums of stored counts, and index ranges of a few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Boolean, CompoundSelect, String, cast, func, literal, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Image
from schema.images.repository import IMAGES
from schema.kernel.listing import Shape
from schema.kernel.pagination import SortOrder
from schema.kernel.parameters import ORGANIZATION, parameter
from schema.kernel.rows import as_text
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
    excepted: bool
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the dashboard counts."""

    groups: Sequence[Group]
    images: Mapping[Grade | None, int]
    scans: Mapping[ScanStatus, int]


class _Kind(StrEnum):
    VULNERABILITIES = "vulnerabilities"
    IMAGES = "images"
    SCANS = "scans"


@cache
def _figures() -> CompoundSelect[Any]:
    """One statement for all figures: its parts differ in their table and are alike in their columns."""
    counts, organization = VulnerabilityCount, parameter(ORGANIZATION)
    nothing = null()
    vulnerabilities = select(
        literal(_Kind.VULNERABILITIES.value),
        as_text(counts.severity),
        as_text(counts.status),
        col(counts.fixable),
        col(counts.excepted),
        col(counts.count),
    ).where(tenant(counts, organization), col(counts.image_id) == EVERY_IMAGE, col(counts.count) > 0)
    images = (
        select(
            literal(_Kind.IMAGES.value),
            as_text(Image.grade),
            cast(nothing, String),
            cast(nothing, Boolean),
            cast(nothing, Boolean),
            func.count(),
        )
        .where(tenant(Image, organization))
        .group_by(col(Image.grade))
    )
    scans = (
        select(
            literal(_Kind.SCANS.value),
            as_text(Scan.status),
            cast(nothing, String),
            cast(nothing, Boolean),
            cast(nothing, Boolean),
            func.count(),
        )
        .where(tenant(Scan, organization), col(Scan.status).in_(ACTIVE))
        .group_by(col(Scan.status))
    )
    return union_all(vulnerabilities, images, scans)


async def figures(session: AsyncSession, organization_id: str) -> Figures:
    groups: list[Group] = []
    images: dict[Grade | None, int] = {}
    scans: dict[ScanStatus, int] = {}
    for kind, first, status, fixable, excepted, count in await session.execute(
        _figures(), {ORGANIZATION: organization_id}
    ):
        match kind:
            case _Kind.VULNERABILITIES:
                groups.append(Group(Severity(first), TriageStatus(status), fixable, excepted, count))
            case _Kind.IMAGES:
                images[None if first is None else Grade(first)] = count
            case _:
                scans[ScanStatus(first)] = count
    return Figures(groups=groups, images=images, scans=scans)


async def riskiest_images(session: AsyncSession, organization_id: str) -> Sequence[Any]:
    statement, row_class = IMAGES.page(_RISKIEST_FIRST)
    rows = await session.execute(
        statement, {ORGANIZATION: organization_id, "risk_score": 0, "limit": RISKIEST, "offset": 0}
    )
    return [row_class._make(row) for row in rows]
