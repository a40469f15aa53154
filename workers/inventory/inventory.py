"""Everything installed in an image, from its merged file system. Pure; runs in the child process of analysis.py."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from schema.dependencies.records import Inventory, PackageRecord
from workers.inventory import apk, dpkg, node, os_release, python
from workers.oci.files import MergedImage

# Each knows one package database: `wants(path)` and `packages(files, operating system)`.
ANALYSERS: tuple[ModuleType, ...] = (dpkg, apk, python, node)
MAX_PACKAGES = 200_000


def wanted(path: str) -> bool:
    """Whether an analyser reads the file. Called for every file of an image, so the cheap questions come first."""
    if path.startswith("var/lib/dpkg/"):
        return dpkg.wants(path)
    if path.endswith("package.json"):
        return node.wants(path)
    return python.wants(path) or apk.wants(path) or os_release.wants(path)


def take_inventory(merged: MergedImage) -> Inventory:
    """A malformed database costs what cannot be read of it, and says so in a warning; it never fails the scan."""
    system = os_release.operating_system(merged.files)
    warnings = list(merged.warnings)
    packages: dict[tuple[str, str, str, str], PackageRecord] = {}
    for analyser in ANALYSERS:
        for package in _packages(analyser, merged, system, warnings):
            if len(packages) >= MAX_PACKAGES:
                warnings.append(f"More than {MAX_PACKAGES} packages; the rest was left out")
                break
            packages.setdefault((package.type, package.name, package.version, package.path), package)
    return Inventory(
        operating_system=system,
        packages=tuple(sorted(packages.values(), key=lambda package: (package.type, package.name, package.version))),
        layers=merged.layers,
        warnings=tuple(warnings),
    )


def _packages(
    analyser: ModuleType, merged: MergedImage, system: object, warnings: list[str]
) -> Iterator[PackageRecord]:
    try:
        yield from analyser.packages(merged.files, system)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        name = analyser.__name__.rpartition(".")[2]
        warnings.append(f"The {name} packages could only be read in part ({type(error).__name__})")
