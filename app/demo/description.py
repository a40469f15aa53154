"""The committed description of the demonstration image as values: rootfs.yaml and application.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedFile:
    """A small file or a symbolic link (then `text` is empty). `path` is relative to the root."""

    path: str
    text: str = ""
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DebianPackage:
    """One stanza of the dpkg database. Source and its version are stated only where they differ."""

    name: str
    version: str
    architecture: str
    section: str
    priority: str
    source: str | None = None
    source_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedWheel:
    """One wheel of the Python package index. `sha256` is the hexadecimal digest of the file."""

    name: str
    version: str
    file: str
    sha256: str
    uninstalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NpmPackage:
    """One package below node_modules; `inside` is the package whose own node_modules holds it."""

    name: str
    version: str
    license: str
    inside: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Everything the image is made of, in the order of its layers."""

    files: tuple[DescribedFile, ...]
    licenses: Mapping[str, str]  # package name -> licence name
    base: tuple[DebianPackage, ...]
    installed: tuple[DebianPackage, ...]
    wheels: tuple[PinnedWheel, ...]
    npm: tuple[NpmPackage, ...]
    application: tuple[DescribedFile, ...]
    upgraded: tuple[DebianPackage, ...]
    npm_replaced: tuple[NpmPackage, ...]


def load_description(directory: Path = Path(__file__).parent) -> Description:
    """Read both files. They are part of this package, so a mistake in them is a programming error (TypeError)."""
    rootfs = _document(directory / "rootfs.yaml")
    application = _document(directory / "application.yaml")
    return Description(
        files=_files(rootfs["files"]),
        licenses=rootfs["licenses"],
        base=_debian(rootfs["base"]),
        installed=_debian(rootfs["installed"]),
        wheels=tuple(PinnedWheel(**_strings(row, flags={"uninstalled"})) for row in application["python"]),
        npm=_npm(application["npm"]),
        application=_files(application["files"]),
        upgraded=_debian(rootfs["upgraded"]),
        npm_replaced=_npm(application["npm_replaced"]),
    )


def _document(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise TypeError(f"{path.name} must be a mapping")
    return document


def _files(rows: Iterable[dict[str, Any]]) -> tuple[DescribedFile, ...]:
    return tuple(DescribedFile(**_strings(row)) for row in rows)


def _debian(rows: Iterable[dict[str, Any]]) -> tuple[DebianPackage, ...]:
    return tuple(DebianPackage(**_strings(row)) for row in rows)


def _npm(rows: Iterable[dict[str, Any]]) -> tuple[NpmPackage, ...]:
    return tuple(NpmPackage(**_strings(row)) for row in rows)


def _strings(row: dict[str, Any], *, flags: frozenset[str] | set[str] = frozenset()) -> dict[str, Any]:
    """The row, if all but its flags are text: an unquoted 2.10 would be read as the number 2.1."""
    for key, value in row.items():
        if key not in flags and not isinstance(value, str):
            raise TypeError(f"{row}: {key} must be text (put it in quotes)")
    return row
