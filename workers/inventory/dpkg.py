"""Debian packages: dpkg's status file, and the one-file-a-package form of distroless images.

Format: deb-control(5) stanzas. A package counts when its state ends in `installed`. Advisories name the source package,
so `Source: name (version)` matters as much as the package itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from packageurl import PackageURL

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.control import stanzas, text_of
from workers.oci.files import ImageFile

STATUS = "var/lib/dpkg/status"
STATUS_DIRECTORY = "var/lib/dpkg/status.d/"
_INFO = "var/lib/dpkg/info/"
_SOURCE = re.compile(r"(?P<name>\S+)(?:\s+\((?P<version>[^)]+)\))?")
_EVIDENCE = (".list", ".md5sums")


def wants(path: str) -> bool:
    """Status files, and the file lists that tell which layer brought a package."""
    if not path.startswith("var/lib/dpkg/"):
        return False
    if path.startswith(_INFO):
        return path.endswith(_EVIDENCE)
    return path == STATUS or (path.startswith(STATUS_DIRECTORY) and not path.endswith(".md5sums"))


def packages(files: Mapping[str, ImageFile], system: OperatingSystem | None) -> Iterator[PackageRecord]:
    """Installed packages. Every layer that installs something rewrites the one status file, so a package's own file list
    tells its layer; where there is none, the status file does.
    """
    for path in sorted(files):
        if path == STATUS or (path.startswith(STATUS_DIRECTORY) and wants(path)):
            for stanza in stanzas(text_of(files[path].content)):
                found = _package(stanza, path, files, system)
                if found is not None:
                    yield found


def _package(
    stanza: Mapping[str, str], path: str, files: Mapping[str, ImageFile], system: OperatingSystem | None
) -> PackageRecord | None:
    name, version = stanza.get("package"), stanza.get("version")
    # status.d stanzas of distroless images carry no Status: being there is being installed.
    status = stanza.get("status", "install ok installed").split()
    if not name or not version or not status or status[-1] != "installed":
        return None
    source = _SOURCE.match(stanza.get("source", ""))
    architecture = stanza.get("architecture")
    evidence = _evidence(name, architecture, files) or files[path]
    return PackageRecord(
        name=name,
        version=version,
        type=PackageType.DEB,
        ecosystem=system.ecosystem if system else None,
        source_name=source["name"] if source else name,
        source_version=(source["version"] or version) if source else version,
        purl=_purl(name, version, architecture, system),
        architecture=architecture,
        path=path,
        layer_digest=evidence.layer_digest,
        layer_index=evidence.layer_index,
    )


def _evidence(name: str, architecture: str | None, files: Mapping[str, ImageFile]) -> ImageFile | None:
    for stem in (name, f"{name}:{architecture}"):
        for ending in _EVIDENCE:
            found = files.get(f"{_INFO}{stem}{ending}")
            if found is not None:
                return found
    return None


def _purl(name: str, version: str, architecture: str | None, system: OperatingSystem | None) -> str:
    distribution = system.id if system else "debian"
    qualifiers = {
        "arch": architecture or "",
        "distro": f"{system.id}-{system.version}" if system and system.version else "",
    }
    return PackageURL("deb", distribution, name, version, qualifiers).to_string()
