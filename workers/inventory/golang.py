"""Go modules, from the build information in programs (`runtime/debug.BuildInfo`): the main module, those it depends on,
and the standard library, whose version is that of the toolchain.

A module that was replaced is listed as what it was replaced by. One that was replaced by a directory is private code:
advisories about its name are about something else, so it is left out. `go.mod` and `go.sum` are not read: they name what
a build may use, not what a program has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.oci.files import ImageFile

ECOSYSTEM = "Go"
KEY = "go_version"
STANDARD_LIBRARY = "stdlib"
_MODULES = 10_000  # of one program
_UNVERSIONED = "(devel)"
# A toolchain of a distribution or with experiments has more behind it; one built from a commit has no such number.
_RELEASE = re.compile(r"go(\d+\.\d+(?:\.\d+)?(?:(?:rc|beta)\d+)?)")
# The usual way to give a program its version: -ldflags "-X main.version=v1.2.3".
_STAMPED = re.compile(r"-X[ =]'?[^\s=']*\.(?:version|Version|gitVersion|buildVersion)=(v?\d+\.\d+\.\d+[\w.+-]*)")
_REVISION = re.compile(r"[0-9a-f]{12,64}")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z")


class Module(NamedTuple):
    path: str
    version: str


def go_packages(found: Iterable[tuple[ImageFile, Any]], notes: Notes) -> Iterator[PackageRecord]:
    """`found` are programs and what `read_build_information` gave for them."""
    for file, build in found:
        for module in (*_standard_library(build["go_version"]), *read_modules(build["go_modules"])):
            namespace, slash, name = module.path.rpartition("/")
            package = language_package(
                PackageType.GO,
                module.path,
                module.version,
                purl=("golang", namespace if slash else None, name),
                ecosystem=ECOSYSTEM,
                source_name=module.path,
                licenses=(),
                file=file,
                notes=notes,
            )
            if package is not None:
                yield package


def _standard_library(version: str) -> Iterator[Module]:
    if release := _RELEASE.match(version):
        yield Module(STANDARD_LIBRARY, release[1])


def read_modules(text: str) -> Iterator[Module]:
    """The modules of build information. Lines are tab-separated: `mod` or `dep`, path, version; `=>` replaces the line
    above it; `build` is key=value. A main module whose version nothing tells is left out.
    """
    main: Module | None = None
    modules: list[Module | None] = []
    settings: dict[str, str] = {}
    for line in text.split("\n"):
        kind, *fields = line.split("\t")
        if kind == "build" and fields:
            key, _, value = fields[0].partition("=")
            settings[key] = value
        elif kind == "path" and fields:
            main = Module(
                fields[0], _UNVERSIONED
            )  # of the main package, which is all there is where there is no module
        elif kind == "mod" and len(fields) > 1:
            main = Module(fields[0], fields[1])
        elif kind == "dep" and len(fields) > 1 and len(modules) < _MODULES:
            modules.append(Module(fields[0], fields[1]))
        elif kind == "=>" and modules and fields:
            is_directory = len(fields) == 1 or not fields[1] or fields[0].startswith((".", "/"))
            modules[-1] = None if is_directory else Module(fields[0], fields[1])
    if main is not None and (version := _own_version(settings) if main.version == _UNVERSIONED else main.version):
        yield Module(main.path, version)
    yield from filter(None, modules)


def _own_version(settings: dict[str, str]) -> str:
    """The version of a program built from a checkout: as stamped by its build, else Go's pseudo-version of the commit."""
    if stamped := _STAMPED.search(settings.get("-ldflags", "")):
        return stamped[1] if stamped[1].startswith("v") else f"v{stamped[1]}"
    revision, time = settings.get("vcs.revision", ""), _TIME.fullmatch(settings.get("vcs.time", ""))
    if time and _REVISION.fullmatch(revision):
        return f"v0.0.0-{''.join(time.groups())}-{revision[:12]}"
    return ""
