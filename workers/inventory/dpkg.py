"""Debian packages: dpkg's status file, and the one-file-a-package form of distroless images.

Format: deb-control(5) stanzas. Advisories name the source package, so `Source: name (version)` matters as much as the
package itself; without it, source and package are the same. The epoch stays in a version, as dpkg shows it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.copyright import copyright_licenses
from workers.inventory.notes import Notes
from workers.inventory.ownership import MAX_PATH, Ownership
from workers.inventory.packages import distribution_package
from workers.inventory.stanzas import read_database
from workers.oci.files import ImageFile

STATUS = "var/lib/dpkg/status"
STATUS_DIRECTORY = "var/lib/dpkg/status.d/"
_INFO = "var/lib/dpkg/info/"
_SUMS = ".md5sums"
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


def wants(path: str) -> bool:
    """Status files, the lists and sums of a package's files, and copyright files."""
    if path.startswith(_INFO):
        return path.endswith((".list", _SUMS))
    if path.startswith(_DOCUMENTATION):
        return path.endswith("/copyright") and path.count("/") == _DOCUMENTATION.count("/") + 1
    return path == STATUS or path.startswith(STATUS_DIRECTORY)


def dpkg_packages(
    files: Mapping[str, ImageFile], system: OperatingSystem | None, owned: Ownership, notes: Notes
) -> Iterator[PackageRecord]:
    """Packages whose files are in place.

    Every layer that installs something rewrites the one status file, so the layer of a package is that of its own file
    list, which dpkg writes anew with each version of the package. Where there is none (some tools that make images
    smaller delete them), it is the layer of the status file.
    """
    reader = _Reader(files, system, owned, notes)
    for path in sorted(files):
        if path == STATUS or (path.startswith(STATUS_DIRECTORY) and not path.endswith(_SUMS)):
            for stanza in read_database(files[path], _FIELDS, notes):
                package = reader.package(stanza, files[path])
                if package is not None:
                    reader.claim(package)
                    yield package


class _Reader:
    """Reads what belongs to a package once, however often the package is listed."""

    def __init__(
        self, files: Mapping[str, ImageFile], system: OperatingSystem | None, owned: Ownership, notes: Notes
    ) -> None:
        self._files = files
        self._system = system
        self._owned = owned
        self._notes = notes
        self._licenses: dict[str, tuple[str, ...]] = {}
        self._claimed: set[str] = set()

    def package(self, stanza: Mapping[str, str], database: ImageFile) -> PackageRecord | None:
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
            system=self._system,
            source=_source(stanza.get("source", ""), version),
            architecture=architecture,
            licenses=self._licenses_of(name),
            database=database,
            layer=self._info(name, architecture, ".list") or database,
            notes=self._notes,
        )

    def claim(self, package: PackageRecord) -> None:
        """The package's files, as its sums have them. Where these were left out, its list: it tells no change of a file,
        but one that came with a later layer than the list is not the package's any more.
        """
        name, architecture = package.name, package.architecture or ""
        stated = self._files.get(f"{package.path}{_SUMS}") or self._info(name, architecture, _SUMS)
        listed = stated or self._info(name, architecture, ".list")
        if listed is None or listed.path in self._claimed:
            return
        self._claimed.add(listed.path)
        for line in io.BytesIO(listed.content):
            if stated is not None:
                digest, _, path = line[:MAX_PATH].decode("utf-8", "replace").rstrip("\n").partition("  ")
                self._owned.claim(path.removeprefix("./"), name, digest=("md5", digest))
            else:
                path = line[1:MAX_PATH].decode("utf-8", "replace").rstrip("\n")
                place = self._owned.brought_by(path)
                if place is not None and place.layer_index <= listed.layer_index:
                    self._owned.claim(path, name)

    def _licenses_of(self, name: str) -> tuple[str, ...]:
        file = self._files.get(f"{_DOCUMENTATION}{name}/copyright")
        if file is None:
            return ()
        if name not in self._licenses:
            self._licenses[name] = tuple(copyright_licenses(file.content))
        return self._licenses[name]

    def _info(self, name: str, architecture: str, ending: str) -> ImageFile | None:
        """Of packages that can be installed for several architectures at once the file bears the architecture's name."""
        return self._files.get(f"{_INFO}{name}{ending}") or self._files.get(f"{_INFO}{name}:{architecture}{ending}")


def _source(stated: str, version: str) -> tuple[str, str] | None:
    match = _SOURCE.fullmatch(stated)
    return (match[1], match[2] or version) if match else None
