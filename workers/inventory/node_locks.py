"""Node lock files (see locks.py for when they count): package-lock.json of versions 1 to 3, npm-shrinkwrap.json, yarn.lock
of both generations, pnpm-lock.yaml.

Where `node_modules` stands beside a lock file, what is in there is what was installed, and the lock file says nothing
more. Packages for development are left out where the format tells: package-lock.json marks them, so does pnpm-lock.yaml up
to version 6, and since version 9 they can be told from what the importers need; yarn.lock does not tell. Workspaces,
links, files and repositories are not packages of the registry and left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping

from schema.dependencies.records import PackageRecord
from workers.inventory.documents import LOCK, Object, named_objects, read_json, read_yaml, text
from workers.inventory.locks import is_of_an_application, reachable
from workers.inventory.node import node_package
from workers.inventory.notes import Notes
from workers.oci.files import ImageFile

_Locked = tuple[str, str]  # name, version

_MODULES = "node_modules/"
_VERSION = re.compile(r"\d[\w.+-]*", re.ASCII)
_LINE = 4096  # characters of a line that are looked at
_YARN_VERSION = re.compile(r'  version:? "?([^"\s]+)"?')
_YARN_RESOLUTION = re.compile(r'  resolution: "?((?:@[^@/\s]+/)?[^@/\s]+)@([^:"\s]+):')
_YARN_NAME = re.compile(r'"?((?:@[^@/\s]+/)?[^@/\s"]+)@(?:npm:((?:@[^@/\s]+/)?[^@/\s"]+)@)?')
_NAME_AND_VERSION = re.compile(r"/?((?:@[^@/\s]+/)?[^@/\s]+)[@/](\d[\w.+-]*)", re.ASCII)


def wants(path: str) -> bool:
    return path.rpartition("/")[2] in _READERS and is_of_an_application(path)


def locked_modules(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    installed_in = {path.partition(_MODULES)[0] for path in files if _MODULES in path}
    for path in sorted(filter(wants, files)):
        directory, slash, name = path.rpartition("/")
        if directory + slash in installed_in:
            continue
        for module, version in _READERS[name](files[path], notes):
            if _VERSION.fullmatch(version):
                package = node_package(module, version, (), file=files[path], notes=notes)
                if package is not None:
                    yield package


def _npm(file: ImageFile, notes: Notes) -> Iterator[_Locked]:
    document = read_json(file, notes, size=LOCK)
    if "packages" not in document:
        yield from _npm_1(document)
    for path, package in named_objects(document.get("packages")):
        _, modules, name = path.rpartition(_MODULES)
        if modules and not package.get("dev") and not package.get("link"):
            yield text(package, "name") or name, text(package, "version")


def _npm_1(document: Object) -> Iterator[_Locked]:
    todo = [document]
    while todo:
        for name, package in named_objects(todo.pop().get("dependencies")):
            if package.get("dev"):
                continue
            todo.append(package)
            version = text(package, "version")
            if alias := _NAME_AND_VERSION.fullmatch(version.removeprefix("npm:")):
                yield alias[1], alias[2]
            else:
                yield name, version


def _yarn(file: ImageFile, _: Notes) -> Iterator[_Locked]:
    """Both generations have a line per package without indentation, and what is said of it below, indented."""
    name = version = ""
    for whole in io.StringIO(file.content[:LOCK].decode("utf-8", "replace")):
        line = whole[:_LINE]
        if line[:1] not in {" ", "#", "\n", "\r", ""}:
            if name:
                yield name, version
            stated = _YARN_NAME.match(line)
            name, version = (stated[2] or stated[1] if stated else ""), ""
        elif resolution := _YARN_RESOLUTION.match(line):
            name = resolution[1] if resolution[2] == "npm" else ""
        elif stated := _YARN_VERSION.match(line):
            version = stated[1]
    if name:
        yield name, version


def _pnpm(file: ImageFile, notes: Notes) -> Iterator[_Locked]:
    document = read_yaml(file, notes)
    packages = dict(named_objects(document.get("packages")))
    needed = _pnpm_needed(document) if "snapshots" in document else packages.keys()
    for key in needed:
        # Peers stand in parentheses behind a version; before version 6 they were behind an underscore.
        bare = key.partition("(")[0]
        if not text(document, "lockfileVersion").startswith(("6", "7", "9")):
            bare = bare.partition("_")[0] if "_" in bare.rpartition("/")[2] else bare
        locked = _NAME_AND_VERSION.fullmatch(bare)
        if locked and text(packages.get(key, {}), "dev") != "true":
            yield locked[1], locked[2]


def _pnpm_needed(document: Object) -> set[str]:
    """The snapshots that importers need not only for development."""
    snapshots = dict(named_objects(document.get("snapshots")))
    needs = {key: set(_pnpm_needs(snapshot, snapshots)) for key, snapshot in snapshots.items()}
    roots: set[str] = set()
    for _, importer in named_objects(document.get("importers")):
        roots.update(_pnpm_needs(importer, snapshots))
    return reachable(roots, needs)


def _pnpm_needs(of: Object, snapshots: Mapping[str, Object]) -> Iterator[str]:
    for kind in ("dependencies", "optionalDependencies"):
        needed = of.get(kind)
        for name, stated in needed.items() if isinstance(needed, dict) else ():
            version = text(stated, "version") if isinstance(stated, dict) else stated
            if isinstance(version, str):
                # An alias names the other package in front of its version.
                yield key if (key := f"{name}@{version}") in snapshots else version


_READERS: Mapping[str, Callable[[ImageFile, Notes], Iterator[_Locked]]] = {
    "package-lock.json": _npm,
    "npm-shrinkwrap.json": _npm,
    "yarn.lock": _yarn,
    "pnpm-lock.yaml": _pnpm,
}
NAMES = tuple(_READERS)
