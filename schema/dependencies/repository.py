"""All SQL of the inventory over all images: packages by name and type, where they are, and under which licences.

What counts is what the latest scan of each tag has found. A page is found first, by its keys alone; what is shown of those
few is read then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    String,
    Subquery,
    and_,
    cast,
    func,
    literal,
    or_,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.dependencies.models import Package
from schema.dependencies.records import PackageType
from schema.dependencies.rules import in_order, is_within, without_version
from schema.images.models import Image, Tag
from schema.kernel.database import Database
from schema.kernel.listing import COUNT_BOUND
from schema.kernel.pagination import Page, PageMeta, PageRequest, SortOrder, parse_sort
from schema.kernel.rows import as_text
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches
from schema.scans.models import Scan
from schema.vulnerabilities.models import OPEN_STATUSES, Vulnerability
from schema.vulnerabilities.records import Severity

MAX_VERSIONS = 50  # shown of a dependency
EXPORTED_AT_ONCE = 500
_Key: TypeAlias = tuple[str, str]  # name and type
_DEFAULT = SortOrder(column="name", descending=False)
_SORTS: Mapping[str, Any] = {"name": col(Package.name), "imageCount": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyFilter:
    """None, and nothing in a list: that is not asked for."""

    types: Sequence[PackageType] | None = None
    image_id: str | None = None
    search: str | None = None  # in the name
    license: str | None = None  # an SPDX id, as one of a package's

    def conditions(self) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.types:
            found.append(col(Package.type).in_(self.types))
        if self.search:
            found.append(contains(col(Package.name), "search"))
        if self.license:
            found.append(contains(cast(col(Package.licenses), String), "license"))
        return found

    def values(self) -> dict[str, Any]:
        quoted = None if self.license is None else pattern(f'"{self.license}"')
        given = {"search": pattern(self.search), "license": quoted}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(slots=True, kw_only=True)
class Dependency:
    """A package, whatever its version, over all images."""

    name: str
    type: PackageType
    purl: str = ""
    versions: list[str] = field(default_factory=list)  # the newest first, MAX_VERSIONS at most
    version_count: int = 0
    licenses: list[str] = field(default_factory=list)
    image_count: int = 0
    open: Counter[Severity] = field(default_factory=Counter)  # vulnerabilities that are open and not attested


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One place of one version in the latest scan of a tag."""

    name: str
    type: PackageType
    version: str
    purl: str
    path: str
    layer_digest: str
    layer_index: int
    image_id: str
    image_name: str
    tag_id: str
    tag: str
    scan_id: str
    scanned_at: datetime | None


async def list_dependencies(
    session: AsyncSession, organization_id: str, asked: DependencyFilter, request: PageRequest
) -> Page[Dependency]:
    """By name, or by how many images have it."""
    order = parse_sort(request.sort, columns=_SORTS, default=_DEFAULT)
    groups = _groups(organization_id, asked)
    bounded = groups.limit(COUNT_BOUND + 1).subquery()
    counted = (await session.execute(select(func.count()).select_from(bounded), asked.values())).scalar_one()
    if order.column == "name":
        name, kind = col(Package.name), col(Package.type)
        statement = groups.order_by(name.desc(), kind.desc()) if order.descending else groups.order_by(name, kind)
    else:
        statement = _by_images(organization_id, asked, descending=order.descending)
    page = statement.limit(request.limit + 1).offset((request.page - 1) * request.limit)
    keys = [(row[0], row[1]) for row in await session.execute(page, asked.values())]
    shown = await _shown(session, organization_id, asked, keys[: request.limit])
    return Page(items=shown, meta=_meta(request, counted, has_next=len(keys) > request.limit))


async def every_dependency(
    database: Database, organization_id: str, asked: DependencyFilter
) -> AsyncIterator[Sequence[Dependency]]:
    """All of them by name, some at a time, each in a transaction of its own."""
    last: _Key | None = None
    while True:
        groups = _groups(organization_id, asked)
        if last is not None:
            groups = groups.where(tuple_(col(Package.name), as_text(Package.type)) > tuple_(*map(literal, last)))
        page = groups.order_by(col(Package.name), col(Package.type)).limit(EXPORTED_AT_ONCE)
        async with database.read() as session:
            keys = [(row[0], row[1]) for row in await session.execute(page, asked.values())]
            shown = await _shown(session, organization_id, asked, keys)
        yield shown
        if len(keys) < EXPORTED_AT_ONCE:
            return
        last = keys[-1]


async def count_licenses(session: AsyncSession, organization_id: str, asked: DependencyFilter) -> list[tuple[str, int]]:
    """How many dependencies are under each licence, the most frequent first. "" stands for none that is known."""
    found = (
        select(col(Package.name), as_text(Package.type), cast(col(Package.licenses), String), func.max(col(Package.id)))
        .where(*_latest(organization_id, asked), *asked.conditions())
        .group_by(col(Package.name), col(Package.type), cast(col(Package.licenses), String))
    )
    ids = {row[3]: (row[0], row[1]) for row in await session.execute(found, asked.values())}
    under: dict[str, set[_Key]] = {}
    for batch in batches(sorted(ids)):
        told = select(col(Package.id), col(Package.licenses)).where(tenant_rows(Package, organization_id, batch))
        for package_id, licenses in await session.execute(told):
            for each in licenses or [""]:
                under.setdefault(each, set()).add(ids[package_id])
    return sorted(((each, len(keys)) for each, keys in under.items()), key=lambda item: (-item[1], item[0]))


async def list_occurrences(
    session: AsyncSession,
    organization_id: str,
    name: str,
    request: PageRequest,
    *,
    types: Sequence[PackageType] | None = None,
    from_: str | None = None,
    below: str | None = None,
) -> Page[Occurrence]:
    """Where a package is, by image, tag and path. A Maven artifact is found without its group as well."""
    named: ColumnElement[bool] = col(Package.name) == name
    if ":" not in name:
        artifact = and_(col(Package.type) == PackageType.MAVEN, contains(col(Package.name), "artifact"))
        named = or_(named, artifact)
    asked = DependencyFilter(types=types)
    values = {"artifact": pattern(f":{name}")} if ":" not in name else {}
    versions = select(col(Package.name), as_text(Package.type), col(Package.version)).where(
        *_latest(organization_id, asked), named, *asked.conditions()
    )
    within: dict[_Key, list[str]] = {}
    for its_name, its_type, version in await session.execute(versions.distinct(), values):
        is_named = its_name == name or its_name.endswith(f":{name}")
        if is_named and is_within(its_type, version, from_=from_, below=below):
            within.setdefault((its_name, its_type), []).append(version)
    if not within:
        return Page(items=[], meta=_meta(request, 0, has_next=False))
    statement: Any = (
        select(
            col(Package.name),
            as_text(Package.type).label("type"),
            col(Package.version),
            col(Package.purl),
            col(Package.path),
            col(Package.layer_digest),
            col(Package.layer_index),
            col(Image.id).label("image_id"),
            col(Image.name).label("image_name"),
            col(Tag.id).label("tag_id"),
            col(Tag.name).label("tag"),
            col(Scan.id).label("scan_id"),
            col(Scan.scanned_at),
        )
        .join_from(Tag, Scan, col(Scan.id) == col(Tag.last_scan_id))
        .join(Image, col(Image.id) == col(Tag.image_id))
        .join(Package, col(Package.scan_id) == func.coalesce(col(Scan.inventory_of), col(Scan.id)))
        .where(
            tenant(Tag, organization_id),
            tenant(Scan, organization_id),
            tenant(Image, organization_id),
            tenant(Package, organization_id),
            or_(
                *(
                    and_(
                        col(Package.name) == its_name,
                        col(Package.type) == PackageType(its_type),
                        col(Package.version).in_(found),
                    )
                    for (its_name, its_type), found in sorted(within.items())
                )
            ),
        )
    )
    bounded = statement.limit(COUNT_BOUND + 1).subquery()
    counted = (await session.execute(select(func.count()).select_from(bounded))).scalar_one()
    page = statement.order_by(col(Image.name), col(Tag.name), col(Package.path), col(Package.id))
    page = page.limit(request.limit + 1).offset((request.page - 1) * request.limit)
    rows = (await session.execute(page)).all()
    items = [Occurrence(**{**row._mapping, "type": PackageType(row.type)}) for row in rows[: request.limit]]  # noqa: SLF001 -- documented by SQLAlchemy
    return Page(items=items, meta=_meta(request, counted, has_next=len(rows) > request.limit))


def _inventories(organization_id: str, image_id: str | None) -> Subquery:
    """(inventory, image) of the latest scan of each tag. A scan may share the inventory of another."""
    statement = (
        select(func.coalesce(col(Scan.inventory_of), col(Scan.id)).label("scan_id"), col(Tag.image_id))
        .join_from(Tag, Scan, col(Scan.id) == col(Tag.last_scan_id))
        .where(tenant(Tag, organization_id), tenant(Scan, organization_id))
        .distinct()
    )
    if image_id is not None:
        statement = statement.where(col(Tag.image_id) == image_id)
    return statement.subquery()


def _latest(organization_id: str, asked: DependencyFilter) -> list[ColumnElement[bool]]:
    inventories = _inventories(organization_id, asked.image_id)
    # Of one image the scan leads to its packages; of all, the index of names does, and nothing shall talk the database
    # into gathering every package before it puts them into order.
    scan = col(Package.scan_id) if asked.image_id is not None else func.coalesce(col(Package.scan_id), "")
    return [tenant(Package, organization_id), scan.in_(select(inventories.c.scan_id))]


def _groups(organization_id: str, asked: DependencyFilter) -> Any:
    return (
        select(col(Package.name), as_text(Package.type))
        .where(*_latest(organization_id, asked), *asked.conditions())
        .group_by(col(Package.name), col(Package.type))
    )


def _by_images(organization_id: str, asked: DependencyFilter, *, descending: bool) -> Any:
    inventories = _inventories(organization_id, asked.image_id)
    images = func.count(inventories.c.image_id.distinct())
    return (
        select(col(Package.name), as_text(Package.type))
        .join(inventories, inventories.c.scan_id == col(Package.scan_id))
        .where(tenant(Package, organization_id), *asked.conditions())
        .group_by(col(Package.name), col(Package.type))
        .order_by(images.desc() if descending else images, col(Package.name), col(Package.type))
    )


async def _shown(
    session: AsyncSession, organization_id: str, asked: DependencyFilter, keys: Sequence[_Key]
) -> list[Dependency]:
    """What is shown of some dependencies, in their order."""
    found = {key: Dependency(name=key[0], type=PackageType(key[1])) for key in keys}
    names = sorted({name for name, _ in keys})
    if not names:
        return []
    inventories = _inventories(organization_id, asked.image_id)
    name, kind = col(Package.name), as_text(Package.type)
    own = (tenant(Package, organization_id), name.in_(names), *asked.conditions())
    seen = (
        select(name, kind, func.count(inventories.c.image_id.distinct()))
        .join(inventories, inventories.c.scan_id == col(Package.scan_id))
        .where(*own)
        .group_by(name, col(Package.type))
    )
    for its_name, its_type, images in await session.execute(seen, asked.values()):
        if (its_name, its_type) in found:
            found[its_name, its_type].image_count = images
    # One row stands for all that are alike but for where they are.
    alike = (
        select(func.max(col(Package.id)))
        .join(inventories, inventories.c.scan_id == col(Package.scan_id))
        .where(*own)
        .group_by(name, col(Package.type), col(Package.version), cast(col(Package.licenses), String))
    )
    told = select(name, kind, col(Package.version), col(Package.licenses), col(Package.purl)).where(
        tenant(Package, organization_id), col(Package.id).in_(alike)
    )
    versions: dict[_Key, set[str]] = {}
    licenses: dict[_Key, set[str]] = {}
    for row in await session.execute(told.order_by(col(Package.id)), asked.values()):
        key = (row[0], row[1])
        if key in found:
            versions.setdefault(key, set()).add(row[2])
            licenses.setdefault(key, set()).update(row[3])
            found[key].purl = found[key].purl or without_version(row[4])
    for key, dependency in found.items():
        ordered = in_order(key[1], versions.get(key, ()))
        dependency.versions, dependency.version_count = ordered[:MAX_VERSIONS], len(ordered)
        dependency.licenses = sorted(licenses.get(key, ()))
    await _count_open(session, organization_id, asked, found, names)
    return list(found.values())


async def _count_open(
    session: AsyncSession,
    organization_id: str,
    asked: DependencyFilter,
    found: Mapping[_Key, Dependency],
    names: Sequence[str],
) -> None:
    """Vulnerabilities that are there, open and not attested."""
    statement = (
        select(
            col(Vulnerability.package_name),
            as_text(Vulnerability.package_type),
            col(Vulnerability.severity),
            func.count(),
        )
        .where(
            tenant(Vulnerability, organization_id),
            col(Vulnerability.package_name).in_(names),
            col(Vulnerability.is_present),
            col(Vulnerability.status).in_(OPEN_STATUSES),
            col(Vulnerability.exception_id).is_(None),
        )
        .group_by(col(Vulnerability.package_name), col(Vulnerability.package_type), col(Vulnerability.severity))
    )
    if asked.image_id is not None:
        statement = statement.where(col(Vulnerability.image_id) == asked.image_id)
    for name, kind, severity, count in await session.execute(statement):
        if (name, kind) in found:
            found[name, kind].open[severity] = count


def _meta(request: PageRequest, counted: int, *, has_next: bool) -> PageMeta:
    total = min(counted, COUNT_BOUND)
    return PageMeta(
        page=request.page,
        page_size=request.limit,
        total=total,
        total_is_exact=counted <= COUNT_BOUND,
        total_pages=-(-total // request.limit),
        has_next=has_next,
        has_prev=request.page > 1,
        end_cursor=None,
    )
