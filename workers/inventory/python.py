"""Python distributions: `*.dist-info/METADATA` (PyPA core metadata), `*.egg-info/PKG-INFO`, and egg-info as a single file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packageurl import PackageURL

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.control import stanzas, text_of
from workers.oci.files import ImageFile

ECOSYSTEM = "PyPI"
MAX_LICENSE = 80  # characters; longer is a text, not a name
_CLASSIFIER = "License :: "
# The classifiers PyPI calls legacy, as SPDX ids; the others name a family, not a licence.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "Zope Public License": "ZPL-2.1",
}


def wants(path: str) -> bool:
    return path.endswith((".dist-info/METADATA", ".egg-info/PKG-INFO", ".egg-info"))


def packages(files: Mapping[str, ImageFile], _system: OperatingSystem | None) -> Iterator[PackageRecord]:
    for path, file in files.items():
        if not wants(path):
            continue
        metadata = next(stanzas(text_of(file.content)), {})
        name, version = metadata.get("name", ""), metadata.get("version", "")
        if name and version:
            yield _package(name, version, metadata, file)


def _package(name: str, version: str, metadata: Mapping[str, str], file: ImageFile) -> PackageRecord:
    normalised = re.sub(r"[-_.]+", "-", name).lower()
    return PackageRecord(
        name=name,
        version=version,
        type=PackageType.PIP,
        ecosystem=ECOSYSTEM,
        source_name=normalised,
        source_version=version,
        purl=PackageURL("pypi", None, normalised, version).to_string(),
        licenses=_licenses(metadata),
        path=file.path,
        layer_digest=file.layer_digest,
        layer_index=file.layer_index,
    )


def _licenses(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The SPDX expression where there is one (PEP 639), else what classifiers name, else a short License field."""
    expression = metadata.get("license-expression")
    if expression:
        return (expression,)
    named = [line.rsplit(" :: ", 1)[-1] for line in metadata.get("classifier", "").split("\n") if _CLASSIFIER in line]
    known = tuple(dict.fromkeys(_SPDX[name] for name in named if name in _SPDX))
    if known:
        return known
    stated = metadata.get("license", "").split("\n")[0]
    return (stated,) if stated and len(stated) <= MAX_LICENSE and stated.upper() != "UNKNOWN" else ()
