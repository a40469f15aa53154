"""Stored counts of vulnerabilities: what is read instead of counting, and how it is kept true.

A change of an image's vulnerabilities ends with `refresh` in the same transaction. It counts that image anew, which is a
few thousand rows at most, and adds the difference to the organization's sum; so an error could not stay for long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import Select, case, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.repository import hold_image
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.tenancy import tenant
from schema.kernel.upsert import add_counts
from schema.vulnerabilities.models import TriageStatus, Vulnerability, VulnerabilityCount
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

EVERY_IMAGE = ""
_GROUP = ("severity", "status", "fixable")


@cache
def total(*, by_severity: bool, by_status: bool) -> Select[int]:
    """A statement that sums an organization's vulnerabilities: all, or those of `severity_ranks` and `statuses`."""
    statement = select(func.coalesce(func.sum(col(VulnerabilityCount.count)), 0)).where(
        tenant(VulnerabilityCount, parameter(ORGANIZATION)), col(VulnerabilityCount.image_id) == EVERY_IMAGE
    )
    if by_severity:
        rank = case(
            {severity: severity_rank(severity) for severity in Severity}, value=col(VulnerabilityCount.severity)
        )
        statement = statement.where(rank.in_(any_of("severity_ranks")))
    if by_status:
        statement = statement.where(col(VulnerabilityCount.status).in_(any_of("statuses")))
    return statement


async def refresh(session: AsyncSession, organization_id: str, image_id: str) -> None:
    """Brings the counts up to date after a change of an image's vulnerabilities, or after the image is gone."""
    # One at a time for each image: what another transaction has just stored must be counted.
    await hold_image(session, organization_id, image_id)
    counted = await _count(session, organization_id, image_id)
    stored = await _stored(session, organization_id, image_id)
    if counted == stored:
        return
    await session.execute(
        delete(VulnerabilityCount).where(
            tenant(VulnerabilityCount, organization_id), col(VulnerabilityCount.image_id) == image_id
        )
    )
    if counted:
        await session.execute(insert(VulnerabilityCount), _rows(organization_id, image_id, counted))
    changes = {group: counted.get(group, 0) - stored.get(group, 0) for group in counted.keys() | stored.keys()}
    await add_counts(
        session,
        VulnerabilityCount,
        _rows(organization_id, EVERY_IMAGE, {group: change for group, change in changes.items() if change}),
        unique=("organization_id", "image_id", *_GROUP),
    )


_Counts = dict[tuple[Severity, TriageStatus, bool], int]


def _rows(organization_id: str, image_id: str, counts: _Counts) -> list[dict[str, Any]]:
    # In one order for everybody, so that two writers wait for each other's rows instead of for ever.
    return [
        {
            "organization_id": organization_id,
            "image_id": image_id,
            **dict(zip(_GROUP, group, strict=True)),
            "count": count,
        }
        for group, count in sorted(counts.items())
    ]


async def _count(session: AsyncSession, organization_id: str, image_id: str) -> _Counts:
    columns = (col(Vulnerability.severity), col(Vulnerability.status), col(Vulnerability.fixable))
    statement = (
        select(*columns, func.count())
        .where(tenant(Vulnerability, organization_id), col(Vulnerability.image_id) == image_id)
        .group_by(*columns)
    )
    return {(severity, status, fixable): count for severity, status, fixable, count in await session.execute(statement)}


async def _stored(session: AsyncSession, organization_id: str, image_id: str) -> _Counts:
    table = VulnerabilityCount
    statement = select(col(table.severity), col(table.status), col(table.fixable), col(table.count)).where(
        tenant(table, organization_id), col(table.image_id) == image_id
    )
    return {(severity, status, fixable): count for severity, status, fixable, count in await session.execute(statement)}
