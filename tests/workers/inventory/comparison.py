"""Our inventory of an image beside those of Syft and Trivy, package by package, with a reason for each difference.

What the tools say is read as the product reads it (workers/engines), so a package is the same if `merging.identity` says
so: type, name as its ecosystem compares it, version.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from schema.dependencies.records import Inventory, PackageRecord, PackageType
from schema.scans.merging import identity
from schema.scans.models import Engine
from tests.tools import REAL_TOOLS
from workers.engines import syft, trivy
from workers.engines.report import ImageFacts
from workers.inventory.excerpts import take_excerpt
from workers.inventory.inventory import take_inventory, wanted
from workers.oci.layers import merge_layers
from workers.oci.limits import ImageLimits

Identity: TypeAlias = tuple[PackageType, str, str]
Reason: TypeAlias = Callable[[PackageRecord], bool]
_DISTRIBUTIONS = {PackageType.DEB, PackageType.APK, PackageType.RPM}
_SECONDS = 600
SYFT = ("scan", "--quiet", "--from", "oci-dir", "--output", "syft-json")
TRIVY = (
    *("image", "--quiet", "--format", "json", "--list-all-pkgs", "--scanners", "license", "--offline-scan"),
    *("--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--disable-telemetry"),
)
# Why somebody lists what another does not, in the words of docs/concepts.md.
ONLY_SYFT: Mapping[str, Reason] = {
    "an application without a version": lambda package: package.version == "UNKNOWN",
}
NOT_TRIVY: Mapping[str, Reason] = {
    "a language's package that came inside Debian's": lambda package: package.owner is not None,
    "a Java archive": lambda package: package.type is PackageType.MAVEN,
}
ONLY_TRIVY: Mapping[str, Reason] = {}
NOT_SYFT: Mapping[str, Reason] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What one of them lists; `others` are of types that are none of ours, as (type, name, version, path)."""

    packages: tuple[PackageRecord, ...]
    others: tuple[tuple[str, str, str, str], ...] = ()

    def named(self) -> dict[Identity, list[PackageRecord]]:
        found: dict[Identity, list[PackageRecord]] = {}
        for package in self.packages:
            found.setdefault(identity(package), []).append(package)
        return found


def list_natively(layout: Path) -> Inventory:
    return take_inventory(merge_layers(layout, wanted=wanted, limits=ImageLimits(), take_excerpt=take_excerpt))


def ask_syft(layout: Path, scratch: Path, ours: Inventory) -> Listing:
    document = _ask([REAL_TOOLS[Engine.SYFT], *SYFT, str(layout)], scratch)
    report = syft.ADAPTER.read(document, _facts(ours))
    others = (
        (each["type"], each["name"], each["version"], each["locations"][0]["path"].lstrip("/"))
        for each in document["artifacts"]
        if each["type"] not in syft.TYPES
    )
    return Listing(packages=report.packages or (), others=tuple(sorted(others)))


def ask_trivy(layout: Path, scratch: Path, ours: Inventory) -> Listing:
    document = _ask(
        [REAL_TOOLS[Engine.TRIVY], *TRIVY, "--cache-dir", str(scratch / "cache"), "--input", str(layout)], scratch
    )
    return Listing(packages=trivy.ADAPTER.read(document, _facts(ours)).packages or ())


def unexplained(some: Listing, others: Listing, reasons: Mapping[str, Reason]) -> list[Identity]:
    """What the first lists and the second does not, and for no reason we know."""
    missing = some.named().keys() - others.named().keys()
    return sorted(key for key in missing if not any(_holds(reasons, package) for package in some.named()[key]))


def _holds(reasons: Mapping[str, Reason], package: PackageRecord) -> bool:
    return any(holds(package) for holds in reasons.values())


def used(some: Listing, others: Listing, reasons: Mapping[str, Reason]) -> set[str]:
    """The reasons that explain something."""
    named = some.named()
    missing = [package for key in named.keys() - others.named().keys() for package in named[key]]
    return {text for text, holds in reasons.items() if any(map(holds, missing))}


def recall(ours: Listing, others: Iterable[Listing]) -> float:
    """Our share of what anybody lists."""
    everything = {key for listing in (ours, *others) for key in listing.named()}
    return len(ours.named()) / len(everything)


def _ask(command: list[str], scratch: Path) -> dict[str, Any]:
    scratch.mkdir()
    home = {"HOME": str(scratch), "TMPDIR": str(scratch), "SYFT_CHECK_FOR_APP_UPDATE": "false"}
    run = subprocess.run(command, check=True, capture_output=True, env=home, timeout=_SECONDS)
    document: dict[str, Any] = orjson.loads(run.stdout)
    return document


def _facts(ours: Inventory) -> ImageFacts:
    return ImageFacts(system=ours.operating_system, diff_ids=tuple(layer.diff_id for layer in ours.layers))
