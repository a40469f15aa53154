"""Python distributions: `*.dist-info/METADATA` (PyPA core metadata), `*.egg-info/PKG-INFO`, and egg-info as a single file.

An egg is a directory or an archive with `EGG-INFO/PKG-INFO` in it; of an archive that file is the excerpt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.documents import MANIFEST
from workers.inventory.licenses import spdx_license
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.inventory.stanzas import read_head
from workers.inventory.zip import Allowance, AllowanceSpentError, DamagedArchiveError, ZipArchive
from workers.oci.files import ImageFile

ECOSYSTEM = "PyPI"
EGG = ".egg"
KEY = "egg"
_EGG_METADATA = "EGG-INFO/PKG-INFO"
# In order: where two describe one distribution in one directory, the first counts.
_KINDS = (".dist-info/METADATA", ".egg-info/PKG-INFO", "EGG-INFO/PKG-INFO", ".egg-info")
_FIELDS = {
    b"name": "name",
    b"version": "version",
    b"license-expression": "expression",
    b"license": "license",
    b"classifier": "classifiers",
}
_SEPARATORS = re.compile(r"[-_.]+")
_LICENSE = 80  # characters; longer is a text, not a name
_CLASSIFIER = "License :: OSI Approved :: "
# Of the classifiers those that name one licence; "BSD License" and "GNU General Public License (GPL)" name a family.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "Blue Oak Model License (BlueOak-1.0.0)": "BlueOak-1.0.0",
    "Boost Software License 1.0 (BSL-1.0)": "BSL-1.0",
    "Common Development and Distribution License 1.0 (CDDL-1.0)": "CDDL-1.0",
    "Eclipse Public License 1.0 (EPL-1.0)": "EPL-1.0",
    "Eclipse Public License 2.0 (EPL-2.0)": "EPL-2.0",
    "European Union Public Licence 1.1 (EUPL 1.1)": "EUPL-1.1",
    "European Union Public Licence 1.2 (EUPL 1.2)": "EUPL-1.2",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 (LGPLv2)": "LGPL-2.0-only",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "MIT No Attribution License (MIT-0)": "MIT-0",
    "Mozilla Public License 1.1 (MPL 1.1)": "MPL-1.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Mulan Permissive Software License v2 (MulanPSL-2.0)": "MulanPSL-2.0",
    "PostgreSQL License": "PostgreSQL",
    "Python Software Foundation License": "PSF-2.0",
    "SIL Open Font License 1.1 (OFL-1.1)": "OFL-1.1",
    "The Unlicense (Unlicense)": "Unlicense",
    "Universal Permissive License (UPL)": "UPL-1.0",
    "University of Illinois/NCSA Open Source License": "NCSA",
    "Zero-Clause BSD (0BSD)": "0BSD",
    "zlib/libpng License": "Zlib",
    "Zope Public License": "ZPL-2.1",
}


def wants(path: str) -> bool:
    return path.endswith(_KINDS)


def python_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    """Installed distributions, wherever they are. `name` is as the distribution spells it; `source_name` is its normal form
    (PEP 503), under which advisories are filed.
    """
    seen: set[tuple[str, str, str]] = set()
    for kind in _KINDS:
        for path, file in files.items():
            if not path.endswith(kind):
                continue
            package = _package(file, notes)
            if package is None:
                continue
            key = (_directory(path, kind), package.source_name, package.version)
            if key not in seen:
                seen.add(key)
                yield package


def read_egg(file: IO[bytes]) -> Mapping[str, Any] | None:
    """The metadata of an archive as an excerpt; None where it has none."""
    try:
        archive = ZipArchive(file)
        for member in archive:
            if member.name == _EGG_METADATA:
                content = b"".join(archive.unpack(member, Allowance(MANIFEST)))
                return {KEY: content.decode("utf-8", "replace")}
    except (DamagedArchiveError, AllowanceSpentError) as problem:
        return {"problems": [str(problem)]}
    return None


def egg_packages(found: Iterable[tuple[ImageFile, Any]], notes: Notes) -> Iterator[PackageRecord]:
    """`found` are archives and what `read_egg` gave for them."""
    for file, excerpt in found:
        package = _package(replace(file, content=excerpt[KEY].encode()), notes)
        if package is not None:
            yield package


def _directory(path: str, kind: str) -> str:
    """Where distributions stand side by side: `site-packages` of `site-packages/six-1.16.0.dist-info/METADATA`."""
    return path.removesuffix(kind).rpartition("/")[0]


def _package(file: ImageFile, notes: Notes) -> PackageRecord | None:
    metadata = read_head(file.content, _FIELDS)
    name, version = (metadata.get(key, "").partition("\n")[0] for key in ("name", "version"))
    return python_package(name, version, _licenses(metadata), file=file, notes=notes)


def python_package(
    name: str, version: str, licenses: Iterable[str], *, file: ImageFile, notes: Notes
) -> PackageRecord | None:
    return language_package(
        PackageType.PIP,
        name,
        version,
        purl=("pypi", None, name),
        ecosystem=ECOSYSTEM,
        source_name=_SEPARATORS.sub("-", name).lower(),
        licenses=licenses,
        file=file,
        notes=notes,
    )


def _licenses(metadata: Mapping[str, str]) -> Iterator[str]:
    """The SPDX expression where there is one (PEP 639), else what classifiers name, else a short License field."""
    classifiers = [
        line.removeprefix(_CLASSIFIER)
        for line in metadata.get("classifiers", "").split("\n")
        if line.startswith(_CLASSIFIER)
    ]
    stated = metadata.get("license", "")
    if "expression" in metadata:
        yield spdx_license(metadata["expression"])
    elif known := [_SPDX[each] for each in classifiers if each in _SPDX]:
        yield from known
    elif stated and stated.upper() != "UNKNOWN" and len(stated) <= _LICENSE and "\n" not in stated:
        yield spdx_license(stated)
    else:
        yield from classifiers
