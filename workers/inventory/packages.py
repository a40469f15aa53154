"""From what a database says to a record everybody else can rely on: lengths, characters, package URL.

Names and versions of all kinds are printable ASCII in practice and by their formats' rules. Anything else would be
no package anybody has advisories about, and is noted instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packageurl import PackageURL

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from workers.inventory.notes import Notes, printable
from workers.oci.files import ImageFile, Place

# Bounds are those of the columns in which packages are stored.
_NAME = re.compile(r"[!-~]{1,300}")
_ARCHITECTURE = re.compile(r"[!-~]{1,40}")
_PURL = 1000
_PATH = 4096
_LICENSE = 200
_LICENSES = 20
_SHOWN = 80  # characters of a refused name in a note
# The purl namespace is the vendor's name (purl specification, types "deb", "apk" and "rpm"), for most their os-release id.
_NAMESPACES = {
    "opensuse-leap": "opensuse",
    "opensuse-leap-micro": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "rhel": "redhat",
    "sled": "suse",
    "sles": "suse",
}


def distribution_package(
    kind: PackageType,
    name: str,
    version: str,
    *,
    vendor: str,
    system: OperatingSystem | None,
    source: tuple[str, str] | None,
    architecture: str | None,
    licenses: Iterable[str],
    database: ImageFile,
    layer: Place,
    notes: Notes,
    qualifiers: Mapping[str, str] | None = None,
) -> PackageRecord | None:
    """A package of a distribution's package manager, or None with a note.

    `source` is name and version of the source package where the database tells; `vendor` the purl namespace of an image
    that does not say what it is. `layer` is the one that brought the package. `qualifiers` are more of the purl's.
    """
    architecture = architecture if architecture and _ARCHITECTURE.fullmatch(architecture) else None
    release = "-".join(filter(None, (system.id, system.version))) if system else ""
    qualifiers = {"arch": architecture or "", "distro": release, **(qualifiers or {})}
    namespace = _NAMESPACES.get(system.id, system.id) if system else vendor
    return _package(
        kind,
        name,
        version,
        purl=(kind.value, namespace, name, qualifiers),
        ecosystem=system.ecosystem if system else None,
        source=source or (name, version),
        architecture=architecture,
        licenses=licenses,
        path=database.path,
        layer=layer,
        notes=notes,
    )


def language_package(
    kind: PackageType,
    name: str,
    version: str,
    *,
    purl: tuple[str, str | None, str],
    ecosystem: str,
    source_name: str,
    licenses: Iterable[str],
    file: ImageFile,
    notes: Notes,
) -> PackageRecord | None:
    """A package of a language's package manager, or None with a note. `purl` is type, namespace and name."""
    return _package(
        kind,
        name,
        version,
        purl=(*purl, {}),
        ecosystem=ecosystem,
        source=(source_name, version),
        architecture=None,
        licenses=licenses,
        path=file.path,
        layer=file,
        notes=notes,
    )


def _package(
    kind: PackageType,
    name: str,
    version: str,
    *,
    purl: tuple[str, str | None, str, Mapping[str, str]],
    ecosystem: str | None,
    source: tuple[str, str],
    architecture: str | None,
    licenses: Iterable[str],
    path: str,
    layer: Place,
    notes: Notes,
) -> PackageRecord | None:
    if not name or not version:
        notes.add(path, f"a package without {'a version' if name else 'a name'}")
        return None
    for text in (name, version, *source):
        if not _NAME.fullmatch(text):
            notes.add(path, f"“{printable(text[:_SHOWN])}” is not a package's name or version")
            return None
    # A purl has the epoch of an RPM apart from its version.
    url = _purl(*purl, version.rpartition(":")[2] if kind is PackageType.RPM else version)
    if not url or len(url) > _PURL or len(path) > _PATH:
        notes.add(path, f"the package {name[:_SHOWN]} cannot be described")
        return None
    return PackageRecord(
        name=name,
        version=version,
        type=kind,
        ecosystem=ecosystem,
        source_name=source[0],
        source_version=source[1],
        purl=url,
        licenses=_licenses(licenses),
        architecture=architecture,
        path=path,
        layer_digest=layer.layer_digest,
        layer_index=layer.layer_index,
    )


def _purl(kind: str, namespace: str | None, name: str, qualifiers: Mapping[str, str], version: str) -> str:
    """Empty where the parts do not make one: a slash would become part of the namespace."""
    try:
        return "" if "/" in name else PackageURL(kind, namespace, name, version, dict(qualifiers)).to_string()
    except ValueError:
        return ""


def _licenses(stated: Iterable[str]) -> tuple[str, ...]:
    """Each once, and only what can be a name or an expression: a whole licence's text is neither."""
    fitting: dict[str, None] = {}
    for each in stated:
        if each and len(each) <= _LICENSE and each.isprintable():
            fitting[each] = None
        if len(fitting) == _LICENSES:
            break
    return tuple(fitting)
