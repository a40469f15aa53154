"""Vulnerabilities put together by what they have in common, and the values there are to filter by. All SQL of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from sqlalchemy import Integer, Select, String, case, false, func, literal, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.cves.models import Cve
from schema.images.models import Image
from schema.kernel.listing import COUNT_BOUND
from schema.kernel.pagination import Page, PageMeta, PageRequest
from schema.kernel.parameters import ORGANIZATION, parameter
from schema.kernel.rows import as_text
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import tenant, tenant_rows
from schema.organizations.models import User
from schema.registries.models import Registry
from schema.vulnerabilities.counts import EVERY_IMAGE
from schema.vulnerabilities.filters import FILTERS, VulnerabilityFilter
from schema.vulnerabilities.models import OPEN_STATUSES, FlawText, Vulnerability, VulnerabilityCount
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

MAX_VALUES = 200
_SEVERITY_OF = {severity_rank(severity): severity for severity in Severity}


class GroupBy(StrEnum):
    FLAW = "FLAW"
    PACKAGE = "PACKAGE"
    IMAGE = "IMAGE"


_KEYS: Mapping[GroupBy, Any] = {
    GroupBy.FLAW: col(Vulnerability.cve_id),
    GroupBy.PACKAGE: col(Vulnerability.package_name),
    GroupBy.IMAGE: col(Vulnerability.image_id),
}
_ORDERS: Mapping[str, str] = {"severity": "rank", "count": "count", "images": "images", "name": "key"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Vulnerabilities with the same flaw, package or image."""

    value: str
    name: str  # of an image its name, else the value
    title: str
    severity: Severity  # the worst
    count: int
    open: int  # neither fixed, dismissed nor attested
    flaws: int
    packages: int
    images: int
    fixable: int
    kev: bool


async def group(
    session: AsyncSession, organization_id: str, by: GroupBy, chosen: VulnerabilityFilter, request: PageRequest
) -> Page[Any]:
    """A page of groups: by severity, count, images or name; the default is severity:desc."""
    given = {name: value for name, value in chosen.values().items() if value is not None and value != []}
    grouped = _grouped(by, frozenset(given)).subquery()
    column, _, direction = (request.sort or "").partition(":")
    order = grouped.c[_ORDERS.get(column, "rank")]
    descending = direction == "desc" if column in _ORDERS and direction in {"asc", "desc"} else True
    statement = (
        select(grouped)
        .order_by(order.desc() if descending else order.asc(), grouped.c.count.desc(), grouped.c.key)
        .limit(request.limit + 1)
        .offset((request.page - 1) * request.limit)
    )
    values = {ORGANIZATION: organization_id, **given}
    bounded = select(grouped.c.key).limit(COUNT_BOUND + 1).subquery()
    total = (await session.execute(select(func.count()).select_from(bounded), values)).scalar_one()
    rows = (await session.execute(statement, values)).all()
    names = await _names(session, organization_id, by, [row.key for row in rows])
    return Page(
        items=[_group(row, names) for row in rows[: request.limit]],
        meta=PageMeta(
            page=request.page,
            page_size=request.limit,
            total=min(total, COUNT_BOUND),
            total_is_exact=total <= COUNT_BOUND,
            total_pages=-(-min(total, COUNT_BOUND) // request.limit),
            has_next=len(rows) > request.limit,
            has_prev=request.page > 1,
            end_cursor=None,
        ),
    )


def _grouped(by: GroupBy, filters: frozenset[str]) -> Select[Any]:
    key = _KEYS[by]

    def distinct(other: GroupBy) -> Any:
        return literal(1) if other is by else func.count(_KEYS[other].distinct())

    is_open = case(
        (col(Vulnerability.status).in_(OPEN_STATUSES) & col(Vulnerability.exception_id).is_(None), 1), else_=0
    )
    return (
        select(
            key.label("key"),
            func.max(col(Vulnerability.title)).label("title"),
            func.max(col(Vulnerability.severity_key)).label("rank"),
            func.count().label("count"),
            func.sum(is_open).label("open"),
            distinct(GroupBy.FLAW).label("flaws"),
            distinct(GroupBy.PACKAGE).label("packages"),
            distinct(GroupBy.IMAGE).label("images"),
            func.sum(sql_cast(col(Vulnerability.fixable), Integer)).label("fixable"),
            func.max(case((func.coalesce(col(Cve.kev), false()), 1), else_=0)).label("kev"),
        )
        .outerjoin(Cve, col(Cve.id) == col(Vulnerability.cve_id))
        .where(
            tenant(Vulnerability, parameter(ORGANIZATION)),
            *(condition for name, condition in FILTERS.items() if name in filters),
        )
        .group_by(key)
    )


def _group(row: Any, names: Mapping[str, str]) -> Group:
    return Group(
        value=row.key,
        name=names.get(row.key, row.key),
        title=row.title,
        severity=_SEVERITY_OF[row.rank],
        count=row.count,
        open=row.open,
        flaws=row.flaws,
        packages=row.packages,
        images=row.images,
        fixable=row.fixable,
        kev=bool(row.kev),
    )


async def _names(session: AsyncSession, organization_id: str, by: GroupBy, keys: list[str]) -> dict[str, str]:
    if by is not GroupBy.IMAGE or not keys:
        return {}
    statement = select(col(Image.id), col(Image.name)).where(tenant_rows(Image, organization_id, keys))
    return {row[0]: row[1] for row in await session.execute(statement)}


@dataclass(frozen=True, slots=True)
class Value:
    """A value to filter by, and how many vulnerabilities have it. `label` says who or what it is."""

    value: str
    count: int
    label: str | None = None


async def distinct_values(
    session: AsyncSession, organization_id: str, field: str, *, search: str | None, limit: int
) -> list[Value]:
    """The values of a field in their order, at most so many, of those that contain the text. LookupError: no such field."""
    rows = await _FIELDS[field](session, organization_id, pattern(search), limit)
    return [row for row in rows if row.count > 0]


async def _words(session: AsyncSession, organization_id: str, column: str, like: str | None, limit: int) -> list[Value]:
    """Of a flaw or a package: looked for among the words, counted by their index."""
    text, counted = getattr(FlawText, column), getattr(Vulnerability, column)
    named = select(col(text)).where(tenant(FlawText, organization_id)).distinct().order_by(col(text)).limit(limit)
    if like is not None:
        named = named.where(contains(col(text), "search"))
    names = (await session.execute(named, {"search": like})).scalars().all()
    statement = (
        select(col(counted), func.count())
        .where(tenant(Vulnerability, organization_id), col(counted).in_(names))
        .group_by(col(counted))
    )
    counts = {row[0]: row[1] for row in await session.execute(statement)}
    return [Value(name, counts.get(name, 0)) for name in names]


async def _flaws(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
    return await _words(session, organization_id, "cve_id", like, limit)


async def _packages(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
    return await _words(session, organization_id, "package_name", like, limit)


def _counted(column: Any) -> Callable[..., Any]:
    async def values(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
        statement = (
            select(as_text(column), func.sum(col(VulnerabilityCount.count)))
            .where(tenant(VulnerabilityCount, organization_id), col(VulnerabilityCount.image_id) == EVERY_IMAGE)
            .group_by(col(column))
        )
        found = {row[0]: int(row[1]) for row in await session.execute(statement)}
        wanted = (like or "").strip("%").lower()
        return [Value(name, found[name]) for name in sorted(found) if wanted in name.lower()][:limit]

    return values


async def _scanners(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
    """Several providers may have reported one vulnerability: each counts it."""
    sources = sql_cast(col(Vulnerability.sources), String)
    statement = select(sources, func.count()).where(tenant(Vulnerability, organization_id)).group_by(sources)
    found: dict[str, int] = {}
    for written, count in await session.execute(statement):
        for name in orjson.loads(written):
            found[name] = found.get(name, 0) + count
    wanted = (like or "").strip("%").lower()
    return [Value(name, found[name]) for name in sorted(found) if wanted in name.lower()][:limit]


async def _images(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
    statement = (
        select(col(Image.name), func.sum(col(VulnerabilityCount.count)))
        .join(Image, col(Image.id) == col(VulnerabilityCount.image_id))
        .where(tenant(VulnerabilityCount, organization_id), tenant(Image, organization_id))
        .group_by(col(Image.name))
        .order_by(col(Image.name))
        .limit(limit)
    )
    if like is not None:
        statement = statement.where(contains(col(Image.name), "search"))
    return [Value(row[0], int(row[1])) for row in await session.execute(statement, {"search": like})]


async def _registries(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
    statement = (
        select(col(Registry.id), col(Registry.name), func.sum(col(VulnerabilityCount.count)))
        .join_from(VulnerabilityCount, Image, col(Image.id) == col(VulnerabilityCount.image_id))
        .join(Registry, col(Registry.id) == col(Image.registry_id))
        .where(
            tenant(VulnerabilityCount, organization_id),
            tenant(Image, organization_id),
            tenant(Registry, organization_id),
        )
        .group_by(col(Registry.id), col(Registry.name))
        .order_by(col(Registry.name))
        .limit(limit)
    )
    if like is not None:
        statement = statement.where(contains(col(Registry.name), "search"))
    return [Value(row[0], int(row[2]), row[1]) for row in await session.execute(statement, {"search": like})]


async def _assignees(session: AsyncSession, organization_id: str, like: str | None, limit: int) -> list[Value]:
    statement = (
        select(col(Vulnerability.assignee_id), col(User.email), func.count())
        .join(User, col(User.id) == col(Vulnerability.assignee_id))
        .where(tenant(Vulnerability, organization_id), col(Vulnerability.assignee_id).is_not(None))
        .group_by(col(Vulnerability.assignee_id), col(User.email))
        .order_by(col(User.email))
        .limit(limit)
    )
    if like is not None:
        statement = statement.where(contains(col(User.email), "search"))
    return [Value(row[0] or "", row[2], row[1]) for row in await session.execute(statement, {"search": like})]


_FIELDS: Mapping[str, Callable[..., Any]] = {
    "cveId": _flaws,
    "package": _packages,
    "severity": _counted(VulnerabilityCount.severity),
    "status": _counted(VulnerabilityCount.status),
    "scanner": _scanners,
    "image": _images,
    "registry": _registries,
    "assignee": _assignees,
}
