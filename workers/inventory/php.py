"""PHP packages of Composer: `vendor/composer/installed.json` of both versions, and composer.lock.

What is installed counts, for development or not: it is there. Of composer.lock `packages-dev` is left out, and all of it
where the packages are installed beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.documents import LOCK, Object, objects, read_json, text
from workers.inventory.licenses import spdx_license
from workers.inventory.locks import is_of_an_application
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.oci.files import ImageFile

ECOSYSTEM = "Packagist"
INSTALLED = "installed.json"
LOCK_NAME = "composer.lock"
_INSTALLED = "vendor/composer/installed.json"


def wants(path: str) -> bool:
    return path == _INSTALLED or path.endswith(f"/{_INSTALLED}") or wants_lock(path)


def wants_lock(path: str) -> bool:
    return path.rpartition("/")[2] == LOCK_NAME and is_of_an_application(path)


def php_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    for path in sorted(path for path in files if path.rpartition("/")[2] == INSTALLED and wants(path)):
        file = files[path]
        # Composer 1 wrote the list alone.
        listed = _list(file) if file.content.lstrip().startswith(b"[") else None
        document = {"packages": listed} if listed is not None else read_json(file, notes, size=LOCK)
        yield from _packages(document, file, notes)


def locked_php_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    for path in sorted(filter(wants_lock, files)):
        if f"{path.removesuffix(LOCK_NAME)}{_INSTALLED}" not in files:
            yield from _packages(read_json(files[path], notes, size=LOCK), files[path], notes)


def _list(file: ImageFile) -> object:
    try:
        return orjson.loads(file.content) if len(file.content) <= LOCK else None
    except orjson.JSONDecodeError:
        return None


def _packages(document: Object, file: ImageFile, notes: Notes) -> Iterator[PackageRecord]:
    for each in objects(document.get("packages")):
        name = text(each, "name")
        namespace, slash, bare = name.lower().rpartition("/")
        stated = each.get("license")
        package = language_package(
            PackageType.COMPOSER,
            name,
            text(each, "version"),
            purl=("composer", namespace if slash else None, bare),
            ecosystem=ECOSYSTEM,
            source_name=name.lower(),
            licenses=[
                spdx_license(name_of_license)
                for name_of_license in (stated if isinstance(stated, list) else [stated])
                if isinstance(name_of_license, str)
            ],
            file=file,
            notes=notes,
        )
        if package is not None:
            yield package
