"""What analysers need of files that are too large to keep: programs and archives, looked into as layers are read.

Such a file lies in memory, or if it is large in an unnamed temporary file, for as long as it is looked into; a few parts
of it are read. What was found becomes the excerpt: a JSON object under whose keys each analyser finds what is its own.
Where a distribution may have put the file, its digests are there, too: they tell whether it is as its package brought it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

import orjson

from workers.inventory import executables, java, python
from workers.inventory.notes import Notes
from workers.inventory.zip import MAGIC as ZIP_MAGIC
from workers.oci.files import ImageFile
from workers.oci.limits import GIB, KIB, MIB
from workers.oci.tar import Entry, TarReader

_ARCHIVES = (*java.ENDINGS, python.EGG)
_EXECUTE = 0o111  # for anybody
_IN_MEMORY = 4 * MIB  # bytes of a file up to which no temporary file is made; nearly all programs are smaller
_LARGEST = 2 * GIB  # of a file that is looked into
_BLOCK = 256 * KIB
_DIGESTS = "digests"
_ALGORITHMS = ("md5", "sha1", "sha256")  # of dpkg, apk and RPM; none of their packages of today has others
# Where distributions put programs and archives. What is elsewhere is nobody's, and its bytes need not be hashed.
_OF_DISTRIBUTIONS = ("usr/", "bin/", "lib", "sbin/")
_OF_NOBODY = "usr/local/"


def take_excerpt(entry: Entry, reader: TarReader) -> bytes | None:
    """What an analyser may need of the entry at hand: a program, by its permission and first bytes, or an archive of Java
    or Python, by its name and first bytes. None where there is nothing.
    """
    is_archive = entry.name.endswith(_ARCHIVES)
    if not is_archive and not entry.mode & _EXECUTE:
        return None
    magic = reader.head(executables.MAGIC_SIZE)
    is_archive = is_archive and magic.startswith(ZIP_MAGIC)
    if not is_archive and not executables.is_executable(magic):
        return None
    if entry.size > _LARGEST:
        return orjson.dumps({"problems": ["is too large to be looked into"]})
    with _spooled(reader.pieces()) as file:
        found = _look(file, entry, is_archive=is_archive)
        if found is None:
            return None
        if entry.name.startswith(_OF_DISTRIBUTIONS) and not entry.name.startswith(_OF_NOBODY):
            found = {**found, _DIGESTS: _digests(file)}
    return orjson.dumps(found)


def _look(file: IO[bytes], entry: Entry, *, is_archive: bool) -> Mapping[str, Any] | None:
    if not is_archive:
        information = executables.read_build_information(file)
        return None if information is None else asdict(information)
    if entry.name.endswith(python.EGG):
        return python.read_egg(file)
    return java.read_archive(file, entry.name, entry.size)


def _digests(file: IO[bytes]) -> Mapping[str, str]:
    found = [hashlib.new(algorithm, usedforsecurity=False) for algorithm in _ALGORITHMS]
    file.seek(0)
    while block := file.read(_BLOCK):
        for each in found:
            each.update(block)
    return {each.name: each.hexdigest() for each in found}


def digest_of(file: ImageFile, algorithm: str) -> str:
    """Of the whole file, in hexadecimal; "" where it is not known."""
    if file.excerpt:
        return str(orjson.loads(file.content).get(_DIGESTS, {}).get(algorithm, ""))
    return hashlib.new(algorithm, file.content, usedforsecurity=False).hexdigest()


def excerpts(files: Mapping[str, ImageFile], key: str) -> Iterator[tuple[ImageFile, Any]]:
    """The files whose excerpt says something under the key, in the order of their paths, with what it says."""
    for path in sorted(path for path, file in files.items() if file.excerpt):
        found = orjson.loads(files[path].content)
        if found.get(key):
            yield files[path], found


def note_problems(files: Mapping[str, ImageFile], notes: Notes) -> None:
    for file, found in excerpts(files, "problems"):
        for problem in found["problems"]:
            notes.add(file.path, problem)


@contextmanager
def _spooled(pieces: Iterable[bytes]) -> Iterator[IO[bytes]]:
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        for piece in pieces:
            file.write(piece)
        yield cast("IO[bytes]", file)
