"""Node packages: the package.json at the root of each installed package, wherever a node_modules holds it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from packageurl import PackageURL

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.oci.files import ImageFile

ECOSYSTEM = "npm"
MAX_LENGTH = 214  # characters, npm's own limit for a name
# The root of an installed package: what npm calls a scope may come before the name, and nothing after it.
_ROOT = re.compile(r"(?:.*/)?node_modules/(?:@[^/]+/)?[^/]+/package\.json")


def wants(path: str) -> bool:
    return path.endswith("/package.json") and _ROOT.fullmatch(path) is not None


def packages(files: Mapping[str, ImageFile], _system: OperatingSystem | None) -> Iterator[PackageRecord]:
    for path, file in files.items():
        if wants(path):
            found = _package(file)
            if found is not None:
                yield found


def _package(file: ImageFile) -> PackageRecord | None:
    try:
        document = orjson.loads(file.content)
    except orjson.JSONDecodeError:
        return None
    name, version = (document.get("name"), document.get("version")) if isinstance(document, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        return None
    if len(name) > MAX_LENGTH or len(version) > MAX_LENGTH or "\x00" in name + version:
        return None
    scope, slash, bare = name.rpartition("/")
    return PackageRecord(
        name=name,
        version=version,
        type=PackageType.NPM,
        ecosystem=ECOSYSTEM,
        source_name=name,
        source_version=version,
        purl=PackageURL("npm", scope if slash else None, bare, version).to_string(),
        licenses=tuple(_licenses(document)),
        path=file.path,
        layer_digest=file.layer_digest,
        layer_index=file.layer_index,
    )


def _licenses(document: Mapping[str, Any]) -> Iterator[str]:
    """`license` as an SPDX expression, or the older forms: an object, or a list of them under `licenses`."""
    stated = document.get("license", document.get("licenses"))
    for entry in stated if isinstance(stated, list) else [stated]:
        value = entry.get("type") if isinstance(entry, dict) else entry
        if isinstance(value, str) and value and len(value) <= MAX_LENGTH:
            yield value
