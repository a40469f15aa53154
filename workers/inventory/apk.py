"""Alpine packages: apk's installed database, one letter a field, a blank line between packages.

Advisories name the origin (`o:`), which is the source package. The whole database is one file that every layer rewrites,
and apk keeps no file a package: a package's layer is the layer that wrote the database last.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packageurl import PackageURL

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.control import MAX_FIELD, MAX_STANZAS, text_of
from workers.oci.files import ImageFile

DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_FIELDS = "PVALo"
_OPERATORS = re.compile(r"\s+(?:AND|OR)\s+|[()\s]+")


def wants(path: str) -> bool:
    return path in DATABASES


def packages(files: Mapping[str, ImageFile], system: OperatingSystem | None) -> Iterator[PackageRecord]:
    for path in DATABASES:
        if path in files:
            for fields in _entries(text_of(files[path].content)):
                if fields.get("P") and fields.get("V"):
                    yield _package(fields, files[path], system)


def _entries(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    count = 0
    for line in text.splitlines():
        if not line:
            yield fields
            fields, count = {}, count + 1
            if count == MAX_STANZAS:
                return
        elif line[1:2] == ":" and line[0] in _FIELDS:
            fields[line[0]] = line[2:].strip()[:MAX_FIELD]
    yield fields


def _package(fields: Mapping[str, str], database: ImageFile, system: OperatingSystem | None) -> PackageRecord:
    name, version = fields["P"], fields["V"]
    qualifiers = {
        "arch": fields.get("A", ""),
        "distro": f"{system.id}-{system.version}" if system and system.version else "",
    }
    return PackageRecord(
        name=name,
        version=version,
        type=PackageType.APK,
        ecosystem=system.ecosystem if system else None,
        source_name=fields.get("o") or name,
        source_version=version,
        purl=PackageURL("apk", system.id if system else "alpine", name, version, qualifiers).to_string(),
        licenses=tuple(part for part in dict.fromkeys(_OPERATORS.split(fields.get("L", ""))) if part),
        architecture=fields.get("A") or None,
        path=database.path,
        layer_digest=database.layer_digest,
        layer_index=database.layer_index,
    )
