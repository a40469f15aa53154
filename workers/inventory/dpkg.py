"""Debian packages: dpkg's status file, and the one-file-a-package form of distroless images.

Format: deb-control(5) stanzas. Advisories name the source package, so `Source: name (version)` matters as much as the
package itself; without it, source and package are the same. The epoch stays in a version, as dpkg shows it.
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

STATUS = "var/lib/dpkg/status"
STATUS_DIRECTORY = "var/lib/dpkg/status.d/"
_INFO = "var/lib/dpkg/info/"
_DOCUMENTATION = "usr/share/doc/"
_FIELDS = {
    b"package": "package",
    b"status": "status",
    b"version": "version",
    b"source": "source",
    b"architecture": "architecture",
}
# The states of dpkg(1) in which the package's files are in place, configured or not.
_UNPACKED = frozenset({"unpacked", "half-configured", "triggers-awaited", "triggers-pending", "installed"})
_SOURCE = re.compile(r"(\S+)(?:\s+\(\s*(\S+)\s*\))?")
# The machine-readable copyright format 1.0 and its drafts, which were called DEP-5.
_MACHINE_READABLE = re.compile(
    rb"^Format(?:-Specification)?:.*(?:copyright-format|dep-?5)", re.IGNORECASE | re.MULTILINE
)
_HEAD = 2048  # bytes in which the format is stated
# Possessive, because a line may be as long as the file.
_LICENSE = re.compile(rb"^License:[ \t]*+([!-~][ -~]{0,199}+)$", re.MULTILINE)
_BETWEEN_LICENSES = re.compile(r"\s+(?:and|or|and/or)\s+|\s*[,|]\s*(?:and\s+|or\s+)?")
_COPYRIGHT = 1024**2  # bytes of such a file that are read


def wants(path: str) -> bool:
    """Status files, the lists of a package's files (for the layer they are in), and copyright files."""
    if path.startswith(_INFO):
        return path.endswith(".list")
    if path.startswith(_DOCUMENTATION):
        return path.endswith("/copyright") and path.count("/") == _DOCUMENTATION.count("/") + 1
    return path == STATUS or (path.startswith(STATUS_DIRECTORY) and not path.endswith(".md5sums"))


def dpkg_packages(
    files: Mapping[str, ImageFile], system: OperatingSystem | None, notes: Notes
) -> Iterator[PackageRecord]:
    """Packages whose files are in place.

    Every layer that installs something rewrites the one status file, so the layer of a package is that of its own file
    list, which dpkg writes anew with each version of the package. Where there is none (some tools that make images
    smaller delete them), it is the layer of the status file.
    """
    for path in sorted(files):
        if path == STATUS or (path.startswith(STATUS_DIRECTORY) and wants(path)):
            for stanza in read_database(files[path], _FIELDS, notes):
                package = _package(stanza, files[path], files, system, notes)
                if package is not None:
                    yield package


def _package(
    stanza: Mapping[str, str],
    database: ImageFile,
    files: Mapping[str, ImageFile],
    system: OperatingSystem | None,
    notes: Notes,
) -> PackageRecord | None:
    # The stanzas of distroless images have no Status: being there is being installed.
    status = stanza.get("status", "installed" if database.path != STATUS else "").split()
    if not status or status[-1] not in _UNPACKED:
        return None
    name, version, architecture = (stanza.get(key, "") for key in ("package", "version", "architecture"))
    return distribution_package(
        PackageType.DEB,
        name,
        version,
        vendor="debian",
        system=system,
        source=_source(stanza.get("source", ""), version),
        architecture=architecture,
        licenses=_licenses(files.get(f"{_DOCUMENTATION}{name}/copyright")),
        database=database,
        layer=files.get(f"{_INFO}{name}.list") or files.get(f"{_INFO}{name}:{architecture}.list") or database,
        notes=notes,
    )


def _source(stated: str, version: str) -> tuple[str, str] | None:
    match = _SOURCE.fullmatch(stated)
    return (match[1], match[2] or version) if match else None


def _licenses(file: ImageFile | None) -> Iterator[str]:
    """The licences that occur in a machine-readable copyright file, as SPDX names them; how they combine is left out."""
    if file is None or not _MACHINE_READABLE.search(file.content, 0, _HEAD):
        return
    for match in _LICENSE.finditer(file.content, 0, _COPYRIGHT):
        for name in _BETWEEN_LICENSES.split(match[1].decode("ascii").strip()):
            yield spdx_license(name)
