"""What analysers need of files that are too large to keep: programs and archives, looked into as layers are read.

Such a file lies in memory, or if it is large in an unnamed temporary file, for as long as it is looked into; a few parts
of it are read. What was found becomes the excerpt: a JSON object under whose keys each analyser finds what is its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

import orjson

from workers.inventory import executables, java, python
from workers.inventory.notes import Notes
from workers.inventory.zip import MAGIC as ZIP_MAGIC
from workers.oci.files import ImageFile
from workers.oci.limits import GIB, MIB
from workers.oci.tar import Entry, TarReader

_ARCHIVES = (*java.ENDINGS, python.EGG)
_EXECUTE = 0o111  # for anybody
_IN_MEMORY = 4 * MIB  # bytes of a file up to which no temporary file is made; nearly all programs are smaller
_LARGEST = 2 * GIB  # of a file that is looked into


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
        found = _look(file, entry) if is_archive else executables.read_build_information(file)
    return None if found is None else orjson.dumps(found)


def _look(file: IO[bytes], entry: Entry) -> Mapping[str, Any] | None:
    if entry.name.endswith(python.EGG):
        return python.read_egg(file)
    return java.read_archive(file, entry.name, entry.size)


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
