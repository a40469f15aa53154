"""NuGet packages of .NET: `*.deps.json`, which the runtime reads to find assemblies, and packages.lock.json.

A library of type `project` is the application's own. `runtimepack.Microsoft.NETCore.App.Runtime.linux-x64` is the package
behind the dot, brought along by an application that needs no runtime. packages.lock.json does not tell which packages are
for development, and says nothing more where a `*.deps.json` stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from schema.advisories.ecosystems import normalize_name
from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.documents import LOCK, named_objects, read_json, text
from workers.inventory.locks import is_of_an_application
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.oci.files import ImageFile

ECOSYSTEM = "NuGet"
DEPENDENCIES = ".deps.json"
LOCK_NAME = "packages.lock.json"
_LIBRARIES = frozenset({"package", "runtimepack"})
_RUNTIME_PACK = "runtimepack."


def wants(path: str) -> bool:
    return path.endswith(DEPENDENCIES) or wants_lock(path)


def wants_lock(path: str) -> bool:
    return path.rpartition("/")[2] == LOCK_NAME and is_of_an_application(path)


def dotnet_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    for path in sorted(path for path in files if path.endswith(DEPENDENCIES)):
        document = read_json(files[path], notes, size=LOCK)
        for key, library in named_objects(document.get("libraries")):
            if text(library, "type") in _LIBRARIES:
                name, _, version = key.removeprefix(_RUNTIME_PACK).partition("/")
                yield from _package(name, version, files[path], notes)


def locked_dotnet_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    built = {path.rpartition("/")[0] for path in files if path.endswith(DEPENDENCIES)}
    for path in sorted(filter(wants_lock, files)):
        if path.rpartition("/")[0] in built:
            continue
        frameworks = read_json(files[path], notes, size=LOCK).get("dependencies")
        for _, framework in named_objects(frameworks):
            for name, package in named_objects(framework):
                if text(package, "type") != "Project":
                    yield from _package(name, text(package, "resolved"), files[path], notes)


def _package(name: str, version: str, file: ImageFile, notes: Notes) -> Iterator[PackageRecord]:
    package = language_package(
        PackageType.NUGET,
        name,
        version,
        purl=("nuget", None, name),
        ecosystem=ECOSYSTEM,
        source_name=normalize_name(ECOSYSTEM, name),
        licenses=(),
        file=file,
        notes=notes,
    )
    if package is not None:
        yield package
