"""Alpine, Wolfi and Chainguard packages: apk's installed database, one letter a field, a blank line between packages.

Format: the Alpine wiki, "Apk spec". Advisories name the origin (`o:`), which is the source package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.licenses import spdx_license
from workers.inventory.notes import Notes
from workers.inventory.packages import distribution_package
from workers.inventory.stanzas import read_database
from workers.oci.files import ImageFile

DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_FIELDS = {b"P": "package", b"V": "version", b"A": "architecture", b"L": "license", b"o": "origin"}
_EXPRESSION = re.compile(r"[()]|\s(?:AND|OR|WITH)\s")


def wants(path: str) -> bool:
    return path in DATABASES


def apk_packages(
    files: Mapping[str, ImageFile], system: OperatingSystem | None, notes: Notes
) -> Iterator[PackageRecord]:
    """Installed packages. The database is one file that every layer rewrites, and apk keeps no file for each package:
    the layer of a package is the one that wrote the database last, not the one that brought the package.
    """
    for path in DATABASES:
        if path in files:
            for stanza in read_database(files[path], _FIELDS, notes, folded=False):
                package = _package(stanza, files[path], system, notes)
                if package is not None:
                    yield package


def _package(
    stanza: Mapping[str, str], database: ImageFile, system: OperatingSystem | None, notes: Notes
) -> PackageRecord | None:
    name, version = stanza.get("package", ""), stanza.get("version", "")
    return distribution_package(
        PackageType.APK,
        name,
        version,
        vendor="alpine",
        system=system,
        source=(stanza.get("origin") or name, version),
        architecture=stanza.get("architecture"),
        licenses=_licenses(stanza.get("license", "")),
        database=database,
        layer=database,
        notes=notes,
    )


def _licenses(stated: str) -> Iterator[str]:
    """One SPDX expression; before there was that rule, names with spaces between them."""
    if _EXPRESSION.search(stated):
        yield stated
    else:
        yield from map(spdx_license, stated.split())
