"""Dependencies as the schema shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.vulnerabilities.enums import PackageType
from schema.vulnerabilities.types import SeverityCounts


@strawberry.type(description="A package, whatever its version, over the latest scans of all tags.")
class Dependency:
    name: str = strawberry.field(description="Its name.")
    type: PackageType = strawberry.field(description="Kind of package.")
    purl: str = strawberry.field(description="Its package URL, without a version.")
    versions: list[str] = strawberry.field(description="Versions that are installed, the newest first; 50 at most.")
    version_count: int = strawberry.field(description="How many versions are installed.")
    licenses: list[str] = strawberry.field(description="Its licences: SPDX ids, or as its metadata has them.")
    image_count: int = strawberry.field(description="How many images have it.")
    open: SeverityCounts = strawberry.field(
        description="Vulnerabilities of it that are there, open and not attested, in all images or the one asked for."
    )


@strawberry.type(description="A place where a version of a package is installed.")
class DependencyOccurrence:
    name: str = strawberry.field(description="Name of the package.")
    type: PackageType = strawberry.field(description="Kind of package.")
    version: str = strawberry.field(description="The installed version.")
    purl: str = strawberry.field(description="Its package URL.")
    path: str = strawberry.field(description="The file in the image that proves it.")
    layer_digest: str = strawberry.field(description="The layer that put it there.")
    layer_index: int = strawberry.field(description="Position of the layer; 0 is the lowest.")
    image_id: strawberry.ID = strawberry.field(description="The image, `img-…`.")
    image_name: str = strawberry.field(description="Name of the image.")
    tag_id: strawberry.ID = strawberry.field(description="The tag, `tag-…`.")
    tag: str = strawberry.field(description="Name of the tag.")
    scan_id: strawberry.ID = strawberry.field(description="The tag's latest scan, `scn-…`.")
    scanned_at: datetime | None = strawberry.field(description="When that was.")


@strawberry.type(description="How many dependencies are under a licence.")
class LicenseCount:
    license: str | None = strawberry.field(description="The licence; null: none is known.")
    count: int = strawberry.field(description="Dependencies: names and types, whatever their versions.")


@strawberry.type(description="The inventory as CSV, some lines at a time; the first are the names of the columns.")
class DependencyLines:
    lines: str = strawberry.field(description="Whole lines.")
