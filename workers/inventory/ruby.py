"""Ruby gems: the specifications RubyGems writes when it installs one, and Gemfile.lock.

A specification is Ruby code and is never run: RubyGems writes it in one form, a line for each attribute, with a `stub` line
in front that it reads itself to avoid running the rest. Gemfile.lock does not tell which gems are for development; what
comes from a path is the application itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping

from schema.dependencies.records import PackageRecord, PackageType
from workers.inventory.documents import LOCK, MANIFEST
from workers.inventory.licenses import spdx_license
from workers.inventory.locks import is_of_an_application
from workers.inventory.notes import Notes
from workers.inventory.packages import language_package
from workers.oci.files import ImageFile

ECOSYSTEM = "RubyGems"
SPECIFICATION = ".gemspec"
LOCK_NAMES = ("Gemfile.lock", "gems.locked")
_DIRECTORY = "specifications"
_LINE = 4096  # characters of a line that are looked at
_STUB = re.compile(r"# stub: (\S+) (\S+) (\S+) ")
_ATTRIBUTE = re.compile(r"\s*s\.(name|version|licenses?)\s*=\s*(.*)")
_VERSION = re.compile(r"Gem::Version\.new\((.*)\)")
_TEXT = re.compile(r"[\"']([^\"'\\]*)[\"'](?:\.freeze)?")
_SECTION = re.compile(r"[A-Z][A-Z ]*")
_FROM_SERVERS = frozenset({"GEM", "GIT", "PLUGIN SOURCE"})
_LOCKED = re.compile(r"    (\S+) \(([^()\s]+)\)")
# nokogiri (1.15.4-x86_64-linux): behind a version's hyphen stands the platform, which no version part looks like.
_PLATFORM = re.compile(r"-(?:java|jruby|mswin|mingw|x86|x64|i[3-6]86|arm|aarch64|universal|powerpc|ppc|s390|riscv).*")


def wants(path: str) -> bool:
    if path.endswith(SPECIFICATION):
        return f"/{_DIRECTORY}/" in f"/{path}"
    return wants_lock(path)


def wants_lock(path: str) -> bool:
    return path.rpartition("/")[2] in LOCK_NAMES and is_of_an_application(path)


def ruby_packages(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    """Installed gems, the default ones of Ruby included."""
    for path in sorted(path for path in files if path.endswith(SPECIFICATION) and wants(path)):
        name, version, licenses = _read(files[path].content[:MANIFEST].decode("utf-8", "replace"))
        yield from _package(name, version, licenses, files[path], notes)


def locked_gems(files: Mapping[str, ImageFile], notes: Notes) -> Iterator[PackageRecord]:
    for path in sorted(filter(wants_lock, files)):
        section = ""
        for line in _lines(files[path].content[:LOCK].decode("utf-8", "replace")):
            if _SECTION.fullmatch(line):
                section = line
            elif section in _FROM_SERVERS and (locked := _LOCKED.fullmatch(line)):
                yield from _package(locked[1], _PLATFORM.sub("", locked[2]), (), files[path], notes)


def _read(content: str) -> tuple[str, str, tuple[str, ...]]:
    """Name, version and licences: the stub's where there is one."""
    attributes: dict[str, list[str]] = {}
    name = version = ""
    for line in _lines(content):
        if (stub := _STUB.match(line)) and not name:
            name, version = stub[1], stub[2]
        elif attribute := _ATTRIBUTE.match(line):
            value = _VERSION.match(attribute[2])
            attributes.setdefault(attribute[1], _TEXT.findall(value[1] if value else attribute[2]))
    licenses = attributes.get("licenses") or attributes.get("license") or []
    name = name or next(iter(attributes.get("name", ())), "")
    version = version or next(iter(attributes.get("version", ())), "")
    return name, version, tuple(map(spdx_license, licenses))


def _lines(content: str) -> Iterator[str]:
    for line in io.StringIO(content):
        yield line[:_LINE].rstrip("\r\n")


def _package(
    name: str, version: str, licenses: tuple[str, ...], file: ImageFile, notes: Notes
) -> Iterator[PackageRecord]:
    package = language_package(
        PackageType.GEM,
        name,
        version,
        purl=("gem", None, name),
        ecosystem=ECOSYSTEM,
        source_name=name,
        licenses=licenses,
        file=file,
        notes=notes,
    )
    if package is not None:
        yield package
