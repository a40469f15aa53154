"""Python requirements and lock files: what they name with an exact version (see locks.py for when that counts).

- requirements*.txt: only lines that pin with `==`. A file whose name says it is for development or tests is not read.
- Pipfile.lock: `default`, not `develop`. poetry.lock and pdm.lock: the groups `main` and `default`, where groups are told.
- uv.lock: what the workspace's members need, their extras included, their `dev-dependencies` not.

What comes from a directory is the application itself and left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping

from schema.dependencies.records import PackageRecord
from workers.inventory.documents import LOCK, Object, named_objects, objects, read_json, read_toml, text
from workers.inventory.locks import is_of_an_application, reachable
from workers.inventory.notes import Notes
from workers.inventory.python import python_package
from workers.oci.files import ImageFile

_Pin = tuple[str, str]  # name, version

_REQUIREMENTS = re.compile(r"requirements[\w.-]*\.txt")
_FOR_DEVELOPMENT = frozenset({"dev", "develop", "development", "doc", "docs", "lint", "test", "testing", "tests"})
_WORDS = re.compile(r"[-_.]")
_LINE = 4096  # characters of a line that are looked at
_PIN = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*={2,3}\s*([^\s;#,*\\]+)\s*(?:[;#\\].*|--.*)?", re.ASCII)
_OF_A_DIRECTORY = ("directory", "editable", "virtual", "path")


def wants(path: str) -> bool:
    name = path.rpartition("/")[2]
    if name not in _READERS and not (_REQUIREMENTS.fullmatch(name) and _FOR_DEVELOPMENT.isdisjoint(_WORDS.split(name))):
        return False
    return is_of_an_application(path)


def locked_distributions(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    for path in sorted(filter(wants, files)):
        read = _READERS.get(path.rpartition("/")[2], _requirements)
        for name, version in read(files[path], notes):
            package = python_package(name, version, (), file=files[path], notes=notes)
            if package is not None:
                yield package


def _requirements(file: ImageFile, _: Notes) -> Iterator[_Pin]:
    for line in io.StringIO(file.content[:LOCK].decode("utf-8", "replace")):
        if pin := _PIN.fullmatch(line[:_LINE].rstrip("\r\n")):
            yield pin[1], pin[2]


def _pipfile(file: ImageFile, notes: Notes) -> Iterator[_Pin]:
    for name, package in named_objects(read_json(file, notes, size=LOCK).get("default")):
        if (version := text(package, "version")).startswith("=="):
            yield name, version.removeprefix("==")


def _poetry(file: ImageFile, notes: Notes) -> Iterator[_Pin]:
    for package in objects(read_toml(file, notes).get("package")):
        source = package.get("source")
        is_local = isinstance(source, dict) and source.get("type") in {"directory", "file"}
        if not is_local and text(package, "category") != "dev" and _in_group(package, "main"):
            yield text(package, "name"), text(package, "version")


def _pdm(file: ImageFile, notes: Notes) -> Iterator[_Pin]:
    for package in objects(read_toml(file, notes).get("package")):
        if "path" not in package and _in_group(package, "default"):
            yield text(package, "name"), text(package, "version")


def _in_group(package: Object, group: str) -> bool:
    groups = package.get("groups")
    return not isinstance(groups, list) or group in groups


def _uv(file: ImageFile, notes: Notes) -> Iterator[_Pin]:
    packages = list(objects(read_toml(file, notes).get("package")))
    members = {text(package, "name") for package in packages if _is_member(package)}
    needs: dict[str, set[str]] = {}
    for package in packages:
        needs.setdefault(text(package, "name"), set()).update(_needs(package))
    wanted = reachable(members, needs) if members else needs.keys()
    for package in packages:
        if not _is_member(package) and text(package, "name") in wanted:
            yield text(package, "name"), text(package, "version")


def _is_member(package: Object) -> bool:
    source = package.get("source")
    return isinstance(source, dict) and any(key in source for key in _OF_A_DIRECTORY)


def _needs(package: Object) -> Iterator[str]:
    extras = package.get("optional-dependencies")
    for needed in (package.get("dependencies"), *(extras.values() if isinstance(extras, dict) else ())):
        for each in objects(needed):
            yield text(each, "name")


_READERS: Mapping[str, Callable[[ImageFile, Notes], Iterator[_Pin]]] = {
    "Pipfile.lock": _pipfile,
    "poetry.lock": _poetry,
    "pdm.lock": _pdm,
    "uv.lock": _uv,
}
NAMES = tuple(_READERS)
