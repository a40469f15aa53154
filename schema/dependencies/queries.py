"""Reading the inventory over all images."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, TypeAlias, cast

import strawberry

from schema.dependencies import repository
from schema.dependencies.repository import DependencyFilter
from schema.dependencies.types import Dependency, DependencyLines, DependencyOccurrence, LicenseCount
from schema.documents.csv import csv_lines
from schema.images.repository import get_image
from schema.kernel.arguments import PageLimit, PageNumber
from schema.kernel.errors import bad_request
from schema.kernel.operations import Info, query_field, subscription_field
from schema.kernel.pagination import Page, page_request
from schema.kernel.search import MAX_SEARCH_LENGTH
from schema.vulnerabilities.enums import PackageType
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.types import SeverityCounts

Types: TypeAlias = Annotated[list[PackageType] | None, strawberry.argument(description="Any of these kinds.")]
ImageId: TypeAlias = Annotated[
    strawberry.ID | None, strawberry.argument(description="Only what is in this image, `img-…`.")
]
Search: TypeAlias = Annotated[str | None, strawberry.argument(description="Part of the name, at most 200 characters.")]
License: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Under this licence, an SPDX id like `MIT`; capitals do not count.")
]
Version: TypeAlias = Annotated[str | None, strawberry.argument(description="Versions from this one on.", name="from")]
Below: TypeAlias = Annotated[str | None, strawberry.argument(description="Versions before this one.")]
COLUMNS = ("name", "type", "versions", "licenses", "purl", "images", *(each.value.lower() for each in Severity), "open")


def _counts(found: repository.Dependency) -> SeverityCounts:
    return SeverityCounts(
        **{severity.value.lower(): found.open[severity] for severity in Severity}, total=found.open.total()
    )


async def _asked(
    info: Info, types: list[PackageType] | None, image_id: str | None, search: str | None, license_: str | None
) -> DependencyFilter:
    """BAD_REQUEST; NOT_FOUND for the image."""
    if license_ is not None and len(license_) > MAX_SEARCH_LENGTH:
        message = f"license must contain at most {MAX_SEARCH_LENGTH} characters"
        raise bad_request(message)
    if image_id is not None:
        async with info.context.read() as session:
            await get_image(session, info.context.organization_id, image_id)
    return DependencyFilter(types=types, image_id=image_id, search=search, license=license_)


@strawberry.type
class DependenciesQuery:
    @query_field(
        "images:view",
        description="Packages over all images, by name and type. NOT_FOUND for the image.",
    )
    async def dependencies(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: Annotated[str | None, strawberry.argument(description="name, imageCount; default name:asc.")] = None,
        type: Types = None,
        image_id: ImageId = None,
        q: Search = None,
        license: License = None,
    ) -> Page[Dependency]:
        asked = await _asked(info, type, image_id, q, license)
        async with info.context.read() as session:
            found = await repository.list_dependencies(
                session, info.context.organization_id, asked, page_request(page=page, limit=limit, sort=sort)
            )
        items = [
            Dependency(
                name=each.name,
                type=each.type,
                purl=each.purl,
                versions=each.versions,
                version_count=each.version_count,
                licenses=each.licenses,
                image_count=each.image_count,
                open=_counts(each),
            )
            for each in found.items
        ]
        return Page(items=items, meta=found.meta)

    @query_field(
        "images:view",
        description=(
            "Where a package is installed, and in which version: `name: log4j-core, below: 2.17` in the order of versions of "
            "its kind. A Maven artifact is found with and without its group. A version that has no order is always told."
        ),
    )
    async def dependency_occurrences(
        self,
        info: Info,
        name: Annotated[str, strawberry.argument(description="Name of the package, whole.")],
        page: PageNumber = None,
        limit: PageLimit = None,
        type: Types = None,
        from_: Version = None,
        below: Below = None,
    ) -> Page[DependencyOccurrence]:
        for argument, value in (("name", name), ("from", from_), ("below", below)):
            if value is not None and not 0 < len(value) <= MAX_SEARCH_LENGTH:
                message = f"{argument} must contain 1 to {MAX_SEARCH_LENGTH} characters"
                raise bad_request(message)
        async with info.context.read() as session:
            found = await repository.list_occurrences(
                session,
                info.context.organization_id,
                name,
                page_request(page=page, limit=limit, sort=None),
                types=type,
                from_=from_,
                below=below,
            )
        return cast("Page[DependencyOccurrence]", found)

    @query_field(
        "images:view",
        description="Licences and how many dependencies are under each, the most frequent first. NOT_FOUND for the image.",
    )
    async def dependency_licenses(
        self,
        info: Info,
        type: Types = None,
        image_id: ImageId = None,
    ) -> list[LicenseCount]:
        asked = await _asked(info, type, image_id, None, None)
        async with info.context.read() as session:
            found = await repository.count_licenses(session, info.context.organization_id, asked)
        return [LicenseCount(license=each or None, count=count) for each, count in found]


@strawberry.type
class DependenciesSubscription:
    @subscription_field(
        "images:view",
        description=(
            "The inventory as CSV, in pieces; no cell is what a spreadsheet takes for a formula. NOT_FOUND for the image."
        ),
    )
    async def dependency_export(
        self,
        info: Info,
        type: Types = None,
        image_id: ImageId = None,
        q: Search = None,
        license: License = None,
    ) -> AsyncGenerator[DependencyLines, None]:
        asked = await _asked(info, type, image_id, q, license)
        context = info.context
        yield DependencyLines(lines=csv_lines([COLUMNS]))
        async for found in repository.every_dependency(context.services.database, context.organization_id, asked):
            await context.recheck()
            yield DependencyLines(lines=csv_lines(map(_cells, found)))


def _cells(found: repository.Dependency) -> tuple[object, ...]:
    return (
        found.name,
        found.type.value,
        " ".join(found.versions),
        " ".join(found.licenses),
        found.purl,
        found.image_count,
        *(found.open[severity] for severity in Severity),
        found.open.total(),
    )
