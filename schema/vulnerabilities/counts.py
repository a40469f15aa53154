"""Stored counts of vulnerabilities: what is read instead of counting, and how it is kept true.

A change of images' vulnerabilities ends with `refresh` in the same transaction. It counts those images anew, which are a
few thousand rows each at most, and adds the difference to the organization's sum; so an error could not stay for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, case, delete, false, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.repository import hold_images
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.tenancy import tenant
from schema.kernel.upsert import add_counts, batches, insert_rows
from schema.vulnerabilities.models import OPEN_STATUSES, Vulnerability, VulnerabilityCount
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

EVERY_IMAGE = ""
# How counted vulnerabilities are alike: the columns of a count, and what they say of a vulnerability.
_GROUP: dict[str, Any] = {
    "severity": col(Vulnerability.severity),
    "status": col(Vulnerability.status),
    "fixable": col(Vulnerability.fixable),
    "excepted": col(Vulnerability.exception_id).is_not(None),
    "has_deadline": col(Vulnerability.due_at).is_not(None),
    "breached": col(Vulnerability.breached_at).is_not(None),
}
_Counts: TypeAlias = Counter[tuple[Any, ...]]  # by the values of _GROUP

RANK = case({severity: severity_rank(severity) for severity in Severity}, value=col(VulnerabilityCount.severity))
# Filters of the list of vulnerabilities that the counts answer as well, by their names there.
COUNTED_FILTERS: dict[str, ColumnElement[bool]] = {
    "severity_ranks": RANK.in_(any_of("severity_ranks")),
    "statuses": col(VulnerabilityCount.status).in_(any_of("statuses")),
    "fixable": col(VulnerabilityCount.fixable) == parameter("fixable"),
    "excepted": col(VulnerabilityCount.excepted) == parameter("excepted"),
    "overdue": parameter("overdue")
    == case(
        (
            col(VulnerabilityCount.breached)
            & ~col(VulnerabilityCount.excepted)
            & col(VulnerabilityCount.status).in_(OPEN_STATUSES),
            true(),
        ),
        else_=false(),
    ),
}


@cache
def total(filters: frozenset[str]) -> Select[int]:
    """A statement that sums an organization's vulnerabilities that satisfy filters of COUNTED_FILTERS."""
    conditions = [condition for name, condition in COUNTED_FILTERS.items() if name in filters]
    return select(func.coalesce(func.sum(col(VulnerabilityCount.count)), 0)).where(
        tenant(VulnerabilityCount, parameter(ORGANIZATION)),
        col(VulnerabilityCount.image_id) == EVERY_IMAGE,
        *conditions,
    )


async def refresh(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> None:
    """Brings the counts up to date after a change of images' vulnerabilities, or after an image is gone."""
    # One at a time for each image: what another transaction has just stored must be counted.
    await hold_images(session, organization_id, image_ids)
    changes: _Counts = Counter()
    for batch in batches(sorted(set(image_ids))):
        counted = await _count(session, organization_id, batch)
        stored = await _stored(session, organization_id, batch)
        changed = [image_id for image_id in batch if counted.get(image_id) != stored.get(image_id)]
        if not changed:
            continue
        await session.execute(
            delete(VulnerabilityCount).where(
                tenant(VulnerabilityCount, organization_id), col(VulnerabilityCount.image_id).in_(changed)
            )
        )
        rows: list[dict[str, Any]] = []
        for image_id in changed:
            new, old = counted.get(image_id, Counter()), stored.get(image_id, Counter())
            rows += _rows(organization_id, image_id, new)
            changes.update({group: new[group] - old[group] for group in new.keys() | old.keys()})
        await insert_rows(session, VulnerabilityCount, rows)
    await add_counts(
        session,
        VulnerabilityCount,
        _rows(organization_id, EVERY_IMAGE, Counter({group: change for group, change in changes.items() if change})),
        unique=("organization_id", "image_id", *_GROUP),
    )


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


async def _count(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> dict[str, _Counts]:
    image = col(Vulnerability.image_id)
    statement = (
        select(image, *_GROUP.values(), func.count())
        .where(tenant(Vulnerability, organization_id), image.in_(image_ids))
        .group_by(image, *_GROUP.values())
    )
    return _by_image((await session.execute(statement)).all())


async def _stored(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> dict[str, _Counts]:
    table = VulnerabilityCount
    columns = [VulnerabilityCount.__table__.c[name] for name in _GROUP]  # type: ignore[attr-defined]
    statement = select(col(table.image_id), *columns, col(table.count)).where(
        tenant(table, organization_id), col(table.image_id).in_(image_ids)
    )
    return _by_image((await session.execute(statement)).all())


def _by_image(rows: Sequence[Any]) -> dict[str, _Counts]:
    found: dict[str, _Counts] = {}
    for image_id, *group, count in rows:
        severity, status, *flags = group
        found.setdefault(image_id, Counter())[(severity, status, *map(bool, flags))] += count
    return found
