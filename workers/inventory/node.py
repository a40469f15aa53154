"""Node packages: every package.json that names a package and its version.

Most stand at the root of what a package manager installed: `node_modules/name`, `node_modules/@scope/name`. Others are
copies inside a package, or software that was put there as a whole (`/opt/yarn-v1.22.22`), and count as well, but not
those a package brings for its own tests and templates: they are no code that runs, and some bear names of malware.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.documents import Object, read_json
from workers.inventory.licenses import spdx_license
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.oci.files import ImageFile

ECOSYSTEM = "npm"
NAME = "package.json"
_MODULES = "node_modules/"
_NOT_RUN = frozenset(
    {
        "__fixtures__",
        "__tests__",
        "example",
        "examples",
        "fixture",
        "fixtures",
        "template",
        "templates",
        "test",
        "testdata",
        "tests",
    }
)


def wants(path: str) -> bool:
    return path.rpartition("/")[2] == NAME and _NOT_RUN.isdisjoint(_parts(path)[1].split("/"))


def node_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    """Packages in the order of their paths. A copy of its own package.json inside a package does not count twice."""
    roots: dict[str, PackageRecord] = {}
    for path in sorted(filter(wants, files), key=lambda path: (path.count("/"), path)):
        package = _package(files[path], notes)
        root, inside = _parts(path)
        if package is None or (root in roots and package.name == roots[root].name):
            continue
        if not inside:
            roots[root] = package
        yield package


def _parts(path: str) -> tuple[str, str]:
    """The directory of the installed package and what is below it: `a/node_modules/@b/c/d/package.json` gives
    (`a/node_modules/@b/c`, `d`). Outside of `node_modules` every directory stands for itself.
    """
    directory = path.rpartition("/")[0]
    at = directory.rfind(_MODULES)
    if at < 0 or (at and directory[at - 1] != "/"):
        return directory, ""
    modules = directory[: at + len(_MODULES)]
    parts = directory[len(modules) :].split("/")
    depth = 2 if parts[0].startswith("@") else 1
    return modules + "/".join(parts[:depth]), "/".join(parts[depth:])


def _package(file: ImageFile, notes: Notes) -> PackageRecord | None:
    document = read_json(file, notes)
    name, version = document.get("name"), document.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        return None
    # Nobody publishes what is marked private, so advisories about its name are about another package.
    if document.get("private") is True and _MODULES not in file.path:
        return None
    return node_package(name, version, _licenses(document), file=file, notes=notes)


def node_package(
    name: str, version: str, licenses: Iterable[str], *, file: ImageFile, notes: Notes
) -> PackageRecord | None:
    scope, slash, bare = name.rpartition("/")
    return language_package(
        PackageType.NPM,
        name,
        version,
        purl=("npm", scope if slash else None, bare),
        ecosystem=ECOSYSTEM,
        source_name=name,
        licenses=licenses,
        file=file,
        notes=notes,
    )


def _licenses(document: Object) -> Iterator[str]:
    """`license` is an SPDX expression; in older packages an object, or a list of them under `licenses`."""
    stated = document.get("license", document.get("licenses"))
    for entry in stated if isinstance(stated, list) else [stated]:
        name = entry.get("type") if isinstance(entry, dict) else entry
        if isinstance(name, str):
            yield spdx_license(name)
