"""Everything installed in an image, from its merged file system. Pure; runs in the child process of analysis.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count

from schema.dependencies.records import Inventory, OperatingSystem, PackageRecord
from workers.inventory import (
    apk,
    dotnet,
    dpkg,
    golang,
    java,
    node,
    node_locks,
    os_release,
    php,
    python,
    python_locks,
    ruby,
    rust,
)
from workers.inventory.excerpts import excerpts, note_problems
from workers.inventory.notes import Notes
from workers.inventory.ownership import Ownership
from workers.inventory.rpm import packages as rpm
from workers.oci.files import ImageFile, MergedImage
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
    php.INSTALLED: php.wants,
    php.LOCK_NAME: php.wants,
    dotnet.LOCK_NAME: dotnet.wants,
    rust.LOCK: rust.wants,
    **dict.fromkeys(ruby.LOCK_NAMES, ruby.wants),
    **dict.fromkeys(node_locks.NAMES, node_locks.wants),
    **dict.fromkeys(python_locks.NAMES, python_locks.wants),
    **{path.rpartition("/")[2]: os_release.wants for path in os_release.FILES},
}
_ENDINGS = {
    ".egg-info": python.wants,
    ".list": dpkg.wants,
    ".md5sums": dpkg.wants,
    ".txt": python_locks.wants,
    dotnet.DEPENDENCIES: dotnet.wants,
    ruby.SPECIFICATION: ruby.wants,
}
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
        for ending, decides in _ENDINGS.items():
            if path.endswith(ending) and decides(path):
                return True
    return path.startswith(dpkg.STATUS_DIRECTORY)


def take_inventory(merged: MergedImage) -> Inventory:
    """The operating system and the packages of an image, sorted by type, name and version.

    A malformed database costs what cannot be read of it and says so in a warning. `path` of a package is the file that
    describes it; its layer is the one that brought this version, as far as databases and files tell. `owner` of a
    language's package is the distribution's package that brought it. What only lock files name is listed once, at the
    first of them.
    Raises ScanFailure, LIMIT_EXCEEDED, for more than 100,000 packages: a part of an inventory is none.
    """
    notes = Notes()
    system = os_release.read_operating_system(merged.files, notes)
    packages: dict[tuple[str, str, str, str, str], PackageRecord] = {}
    known: set[tuple[str, str, str]] = set()  # type, name as advisories have it, version
    counted = count()  # one that is listed again counts again: it costs as much
    owned = Ownership(merged.files, merged.locate)
    installed = chain(_of_distribution(merged.files, system, owned, notes), _of_languages(merged.files, owned, notes))
    for package in _counted(installed, counted):
        key = (package.type, package.name, package.version, package.path, package.architecture or "")
        packages.setdefault(key, package)
        known.add((package.type, package.source_name, package.version))
    for package in _counted(_locked(merged.files, owned, notes), counted):
        if (identity := (package.type, package.source_name, package.version)) not in known:
            known.add(identity)
            packages[(package.type, package.name, package.version, package.path, "")] = package
    if system is not None and system.id in _RPM and not any(rpm.rpm_databases(merged.files)):
        notes.unread.append(f"the RPM packages of {system.name}")
    return Inventory(
        operating_system=system,
        packages=tuple(packages[key] for key in sorted(packages)),
        layers=merged.layers,
        unread=tuple(notes.unread),
        warnings=(*merged.warnings, *notes.lines()),
    )


def _counted(packages: Iterable[PackageRecord], counted: Iterator[int]) -> Iterator[PackageRecord]:
    for package in packages:
        if next(counted) == MAX_PACKAGES:
            raise exceeded("The image has more", MAX_PACKAGES, "packages")
        yield package


def _of_distribution(
    files: Mapping[str, ImageFile], system: OperatingSystem | None, owned: Ownership, notes: Notes
) -> Iterator[PackageRecord]:
    """These come first: they tell which of the others they brought."""
    yield from dpkg.dpkg_packages(files, system, owned, notes)
    yield from apk.apk_packages(files, system, owned, notes)
    yield from rpm.rpm_packages(files, system, owned, notes)


def _of_languages(files: Mapping[str, ImageFile], owned: Ownership, notes: Notes) -> Iterator[PackageRecord]:
    yield from _with_owners(
        owned,
        python.python_packages(files, notes),
        python.egg_packages(excerpts(files, python.KEY), notes),
        node.node_packages(files, notes),
        ruby.ruby_packages(files, notes),
        php.php_packages(files, notes),
        dotnet.dotnet_packages(files, notes),
        golang.go_packages(excerpts(files, golang.KEY), notes),
        rust.rust_packages(excerpts(files, rust.KEY), notes),
        java.java_packages(excerpts(files, java.KEY), notes),
    )
    note_problems(files, notes)


def _locked(files: Mapping[str, ImageFile], owned: Ownership, notes: Notes) -> Iterator[PackageRecord]:
    """What lock files name; see locks.py."""
    yield from _with_owners(
        owned,
        python_locks.locked_distributions(files, notes),
        node_locks.locked_modules(files, notes),
        ruby.locked_gems(files, notes),
        rust.locked_crates(files, notes),
        php.locked_php_packages(files, notes),
        dotnet.locked_dotnet_packages(files, notes),
    )


def _with_owners(owned: Ownership, *kinds: Iterable[PackageRecord]) -> Iterator[PackageRecord]:
    for package in chain.from_iterable(kinds):
        # Of an archive within an archive, the file is the outer one.
        owner = owned.owner(package.path.partition("!/")[0])
        yield package if owner is None else replace(package, owner=owner)
