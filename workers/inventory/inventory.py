"""Everything installed in an image, from its merged file system. Pure; runs in the child process of analysis.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from schema.dependencies.records import Inventory, OperatingSystem, PackageRecord
from workers.inventory import apk, dpkg, node, os_release, python
from workers.inventory.notes import Notes
from workers.inventory.ownership import Ownership
from workers.inventory.rpm import packages as rpm
from workers.oci.files import MergedImage
from workers.oci.limits import exceeded

MAX_PACKAGES = 100_000
# Which analyser may want a file, by the last part of its path or its ending.
_WANTS = {
    node.NAME: node.wants,
    "METADATA": python.wants,
    "PKG-INFO": python.wants,
    "status": dpkg.wants,
    "copyright": dpkg.wants,
    "installed": apk.wants,
    **dict.fromkeys(rpm.NAMES, rpm.wants),
    **{path.rpartition("/")[2]: os_release.wants for path in os_release.FILES},
}
_ENDINGS = (".egg-info", ".list", ".md5sums")
_TAIL = 4  # the last characters tell nearly every file of an image apart from these, at a third of the time
_TAILS = frozenset(name[-_TAIL:] for name in (*_WANTS, *_ENDINGS))
# Distributions whose packages are in an RPM database: an image of theirs without one hides its packages.
_RPM = frozenset(
    {
        "almalinux",
        "amzn",
        "azurelinux",
        "centos",
        "fedora",
        "mageia",
        "mariner",
        "ol",
        "openeuler",
        "opensuse-leap",
        "opensuse-leap-micro",
        "opensuse-tumbleweed",
        "photon",
        "rhel",
        "rocky",
        "sl-micro",
        "sle-micro",
        "sle_hpc",
        "sled",
        "sles",
        "sles_sap",
    }
)


def wanted(path: str) -> bool:
    """Whether an analyser reads the file. Called for every file of an image, up to half a million times."""
    if path[-_TAIL:] in _TAILS:
        wants = _WANTS.get(path.rpartition("/")[2])
        if wants is not None and wants(path):
            return True
        if path.endswith(_ENDINGS) and (python.wants(path) or dpkg.wants(path)):
            return True
    return path.startswith(dpkg.STATUS_DIRECTORY)


def take_inventory(merged: MergedImage) -> Inventory:
    """The operating system and the packages of an image, sorted by type, name and version.

    A malformed database costs what cannot be read of it and says so in a warning. `path` of a package is the file that
    describes it; its layer is the one that brought this version, as far as databases and files tell. `owner` of a
    language's package is the distribution's package that brought it.
    Raises ScanFailure, LIMIT_EXCEEDED, for more than 100,000 packages: a part of an inventory is none.
    """
    notes = Notes()
    system = os_release.read_operating_system(merged.files, notes)
    packages: dict[tuple[str, str, str, str, str], PackageRecord] = {}
    # One that is listed again counts again: it costs as much.
    for count, package in enumerate(_packages(merged, system, notes)):
        if count == MAX_PACKAGES:
            raise exceeded("The image has more", MAX_PACKAGES, "packages")
        key = (package.type, package.name, package.version, package.path, package.architecture or "")
        packages.setdefault(key, package)
    if system is not None and system.id in _RPM and not any(rpm.rpm_databases(merged.files)):
        notes.unread.append(f"the RPM packages of {system.name}")
    return Inventory(
        operating_system=system,
        packages=tuple(packages[key] for key in sorted(packages)),
        layers=merged.layers,
        unread=tuple(notes.unread),
        warnings=(*merged.warnings, *notes.lines()),
    )


def _packages(merged: MergedImage, system: OperatingSystem | None, notes: Notes) -> Iterator[PackageRecord]:
    """The distribution's packages come first: they tell which of the others they brought."""
    files = merged.files
    owned = Ownership(files, merged.locate)
    yield from dpkg.dpkg_packages(files, system, owned, notes)
    yield from apk.apk_packages(files, system, owned, notes)
    yield from rpm.rpm_packages(files, system, owned, notes)
    for package in chain(python.python_packages(files, notes), node.node_packages(files, notes)):
        owner = owned.owner(package.path)
        yield package if owner is None else replace(package, owner=owner)
