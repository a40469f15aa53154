"""Alpine, Wolfi and Chainguard packages: apk's installed database, one letter a field, a blank line between packages.

Format: the Alpine wiki, "Apk spec". Advisories name the origin (`o:`), which is the source package. Below a package's
fields stand its files: `F:` a directory, `R:` a file in it, `Z:` that file's digest.
"""

from __future__ import annotations

import binascii
import io
import re
from collections.abc import Iterator, Mapping

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.licenses import spdx_license
from workers.inventory.notes import Notes
from workers.inventory.ownership import MAX_PATH, Ownership
from workers.inventory.packages import distribution_package
from workers.inventory.stanzas import read_database
from workers.oci.files import ImageFile, Place

DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_FIELDS = {b"P": "package", b"V": "version", b"A": "architecture", b"L": "license", b"o": "origin"}
_LISTED = 32  # files of a package that are kept to find its layer
# `Z:Q1` and the base64 of a SHA-1; apk-tools 3 also writes `Q2` and a SHA-256.
_DIGESTS = {b"Q1": "sha1", b"Q2": "sha256"}
_EXPRESSION = re.compile(r"[()]|\s(?:AND|OR|WITH)\s")


def wants(path: str) -> bool:
    return path in DATABASES


def apk_packages(
    files: Mapping[str, ImageFile], system: OperatingSystem | None, owned: Ownership, notes: Notes
) -> Iterator[PackageRecord]:
    """Installed packages. Every layer that installs something rewrites the one database, so the layer of a package is that
    of its files; of one without files (or none that is left) it is the layer that wrote the database last.
    """
    for path in DATABASES:
        if path in files:
            places = _places(files[path], owned)
            for stanza in read_database(files[path], _FIELDS, notes, folded=False):
                package = _package(stanza, files[path], places, system, notes)
                if package is not None:
                    yield package


def _package(
    stanza: Mapping[str, str],
    database: ImageFile,
    places: Mapping[str, Place],
    system: OperatingSystem | None,
    notes: Notes,
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
        layer=places.get(name, database),
        notes=notes,
    )


def _places(database: ImageFile, owned: Ownership) -> dict[str, Place]:
    """The layers of the packages that have files, by name; claims the files on the way."""
    places: dict[str, Place] = {}
    package, directory, path, listed = "", "", "", list[str]()
    for line in io.BytesIO(database.content):
        field, value = line[:2], line[2:MAX_PATH].rstrip(b"\r\n")
        if field == b"P:":
            package, directory, path, listed = value.decode("utf-8", "replace"), "", "", []
        elif field == b"F:":
            directory = value.decode("utf-8", "replace")
        elif field == b"R:":
            path = f"{directory}/{value.decode('utf-8', 'replace')}".lstrip("/")
            if len(listed) < _LISTED:
                listed.append(path)
        elif field == b"Z:" and value[:2] in _DIGESTS:
            owned.claim(path, package, digest=(_DIGESTS[value[:2]], _hexadecimal(value[2:])))
        elif not value and listed:
            _set_place(places, package, owned.place(listed))
            listed = []
    if listed:
        _set_place(places, package, owned.place(listed))
    return places


def _set_place(places: dict[str, Place], package: str, place: Place | None) -> None:
    if place is not None:
        places.setdefault(package, place)


def _hexadecimal(digest: bytes) -> str:
    try:
        return binascii.a2b_base64(digest).hex()
    except binascii.Error:
        return ""


def _licenses(stated: str) -> Iterator[str]:
    """One SPDX expression; before there was that rule, names with spaces between them."""
    if _EXPRESSION.search(stated):
        yield spdx_license(stated)
    else:
        yield from map(spdx_license, stated.split())
