"""What an inventory found: the value every package analyser returns and every matcher reads."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PackageType(StrEnum):
    """Package types as the API names them. `pip` is a Python distribution (purl type `pypi`)."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    NPM = "npm"
    PIP = "pip"
    GEM = "gem"
    GO = "go"
    CARGO = "cargo"
    MAVEN = "maven"
    COMPOSER = "composer"
    NUGET = "nuget"
    GENERIC = "generic"  # of a kind that whoever reported it did not tell


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRecord:
    """One installed package as found in one place of one image.

    `ecosystem` is the OSV ecosystem its advisories are filed under ("Debian:12", "Alpine:v3.19", "PyPI", "npm"),
    None where the distribution could not be told. Distribution advisories name the *source* package, so
    `source_name`/`source_version` are what is matched; for a language package they equal name and version.
    """

    name: str
    version: str
    type: PackageType
    ecosystem: str | None
    source_name: str
    source_version: str
    purl: str
    licenses: tuple[str, ...] = ()
    architecture: str | None = None
    path: str  # the file in the image that proves it, without a leading slash
    layer_digest: str  # diff id ("sha256:…" of the uncompressed layer) that put the file there
    layer_index: int  # 0 is the lowest layer
    owner: str | None = None  # of a language's package: the distribution's package that brought it


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingSystem:
    """From os-release. `ecosystem` is the OSV name ("Debian:12"), None for a distribution without one."""

    id: str  # "debian"
    name: str  # "Debian GNU/Linux 12 (bookworm)"
    version: str  # "12"
    ecosystem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRecord:
    """One layer of an image. Sizes in bytes; `size` is the blob as stored, `diff_size` what it unpacks to."""

    index: int
    digest: str  # of the blob as stored
    diff_id: str  # of the uncompressed tar
    media_type: str
    size: int
    diff_size: int
    file_count: int
    created_by: str  # the history entry's command, "" where the history is silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything the native provider reads from an image without any advisory data."""

    operating_system: OperatingSystem | None
    packages: tuple[PackageRecord, ...]
    layers: tuple[LayerRecord, ...]
    unread: tuple[str, ...] = ()  # package databases that are there but could not be read
    warnings: tuple[str, ...] = ()  # a malformed database is a warning on what it holds, not a failed scan
