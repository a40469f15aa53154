"""Rust crates: what `cargo auditable` leaves in a program, and Cargo.lock.

Crates that only the build used are no part of the program and left out. A program's own crate is listed: tools are
published like libraries. Of Cargo.lock only what comes from a registry or a repository counts; what has no source is the
application itself. Cargo.lock does not tell which crates are for development.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.documents import Object, objects, read_toml, text
from workers.inventory.locks import is_of_an_application
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.oci.files import ImageFile

ECOSYSTEM = "crates.io"
KEY = "rust"
LOCK = "Cargo.lock"


def wants(path: str) -> bool:
    return path.rpartition("/")[2] == LOCK and is_of_an_application(path)


def rust_packages(found: Iterable[tuple[ImageFile, Any]], notes: Notes) -> Iterator[PackageRecord]:
    """`found` are programs and what `read_build_information` gave for them."""
    for file, build in found:
        try:
            document = orjson.loads(build[KEY])
        except orjson.JSONDecodeError:
            notes.add(file.path, "has a list of crates that is not JSON")
            continue
        for crate in objects(document.get("packages") if isinstance(document, dict) else None):
            if crate.get("kind") != "build":
                yield from _package(crate, file, notes)


def locked_crates(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    for path in sorted(filter(wants, files)):
        for crate in objects(read_toml(files[path], notes).get("package")):
            if text(crate, "source"):
                yield from _package(crate, files[path], notes)


def _package(crate: Object, file: ImageFile, notes: Notes) -> Iterator[PackageRecord]:
    name = text(crate, "name")
    package = language_package(
        PackageType.CARGO,
        name,
        text(crate, "version"),
        purl=("cargo", None, name),
        ecosystem=ECOSYSTEM,
        source_name=name,
        licenses=(),
        file=file,
        notes=notes,
    )
    if package is not None:
        yield package
