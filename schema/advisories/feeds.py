"""Reading the documents of a feed from a file, a directory or a ZIP archive, one at a time and within limits.

A feed is whatever an operator points at: OSV's own `all.zip`, a checkout of an advisory database, one exported file. It
is read, never unpacked: nothing of it is written anywhere. A document that cannot be read is a value in the stream, so
that one bad file never costs the rest.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, TypeAlias

import orjson
import yaml

from schema.kernel.errors import ErrorCode, HarborGuardError, bad_request

Progress: TypeAlias = Callable[[int, int], None]  # bytes of the feed as stored: read so far, in all

_JSON = frozenset({".json"})
_YAML = frozenset({".yaml", ".yml"})
_LINES = frozenset({".jsonl", ".ndjson"})
_READABLE = _JSON | _YAML | _LINES
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP_MAGIC = b"\x1f\x8b"
_DECODER = json.JSONDecoder()
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_RATIO_FREE = 1 << 20  # bytes: below this a high ratio is harmless and, in text, common
_DEPTH = 64
_WHITESPACE = re.compile(r"[ \t\r\n]*")

_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser where it's there


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """Sizes in bytes. Counted on what is really read, not on what an archive says of itself."""

    file: int = 512 << 20  # a JSON or YAML file given by itself, which may be a list of all records
    document: int = 64 << 20  # one file of a directory, one line, one member of an archive
    total: int = 64 << 30  # all members of an archive, unpacked
    members: int = 3_000_000
    ratio: int = 200  # unpacked to packed, of one member


DEFAULT_LIMITS = FeedLimits()


@dataclass(frozen=True, slots=True)
class UnreadableDocument:
    """Stands in the stream for a document that could not be read; `reason` says why, without its content."""

    reason: str


def read_documents(
    path: Path, *, on_progress: Progress | None = None, limits: FeedLimits = DEFAULT_LIMITS
) -> Iterator[tuple[str, object]]:
    """Every document of a feed as (name, parsed document or UnreadableDocument), in a stable order.

    `path` is a JSON or YAML file (a record, a list of records, or one a line), a ZIP archive of such files, or a
    directory of them. Hidden files and symbolic links are skipped. Raises HarborGuardError when the feed as a whole can't
    be read: it is missing, no archive after all, or over a limit.
    """
    tally = _Tally(on_progress or _ignore, limits)
    if path.is_dir():
        return _read_directory(path, tally)
    if not path.is_file():
        raise bad_request(f"{path.name} is neither a file nor a directory")
    with path.open("rb") as file:
        magic = file.read(4)
    return _read_zip(path, tally) if magic in _ZIP_MAGIC else _read_whole_file(path, tally)


def read_members(
    path: Path, *, within: str | None = None, limits: FeedLimits = DEFAULT_LIMITS
) -> Iterator[tuple[str, object]]:
    """The members of the one JSON object a file holds, as (key, parsed value or UnreadableDocument).

    The items of the member `within`, if that is a list, come one by one, each under its key.

    For a document of tens of megabytes: as text it is small, as Python values it is not, so one value at a time is made.
    The file may be packed by gzip. Raises HarborGuardError for a file over the limit, and as soon as it shows that it is no
    JSON object: one that was cut off must not pass for a shorter one.
    """
    try:
        yield from _members(read_unpacked(path, most=limits.file).decode("utf-8-sig"), within)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"{path.name} is not a JSON object: {str(error)[:200]}") from None


def read_unpacked(path: Path, *, most: int) -> bytes:
    """The content of a file that may be packed by gzip. Raises HarborGuardError when it has more bytes or is cut off."""
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise bad_request(f"{path.name} cannot be read: {str(error) or type(error).__name__}") from None
    if len(data) > most:
        raise _over(f"{path.name} has more than {most} bytes")
    return data


def _members(text: str, within: str | None) -> Iterator[tuple[str, object]]:
    """ValueError for anything but an object."""
    at = _expect(text, _skip(text, 0), "{")
    at, closed = (at + 1, True) if text.startswith("}", at) else (at, False)
    while not closed:
        name, at = _DECODER.raw_decode(text, at)
        if not isinstance(name, str):
            raise ValueError(f"expected a name at character {at}")  # noqa: TRY004 -- of the file, not of a caller
        key = name.encode("utf-8", "replace").decode()
        at = _expect(text, _skip(text, at), ":")
        if key == within and text.startswith("[", at):
            at = yield from _items(text, at, key)
        else:
            value, at = _value(text, at)
            yield key, value
        at, closed = _after(text, at, "}")
    if _skip(text, at) != len(text):
        raise ValueError(f"expected nothing after character {at}")


def _items(text: str, at: int, key: str) -> Generator[tuple[str, object], None, int]:
    """Of the list that begins there; returns where it ends."""
    at = _expect(text, at, "[")
    at, closed = (at + 1, True) if text.startswith("]", at) else (at, False)
    while not closed:
        value, at = _value(text, at)
        yield key, value
        at, closed = _after(text, at, "]")
    return at


def _value(text: str, at: int) -> tuple[object, int]:
    """(value, where it ends): the standard library finds the end; orjson reads it, strictly."""
    _, end = _DECODER.raw_decode(text, at)
    return _load_json(text[at:end].encode("utf-8", "surrogatepass")), end


def _after(text: str, at: int, closing: str) -> tuple[int, bool]:
    """(where the next token begins, whether the collection ended before it)."""
    at = _skip(text, at)
    return (at + 1, True) if text.startswith(closing, at) else (_expect(text, at, ","), False)


def _expect(text: str, at: int, character: str) -> int:
    """Where the next token begins after this one."""
    if not text.startswith(character, at):
        raise ValueError(f"expected {character!r} at character {at}")
    return _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _WHITESPACE.match(text, at)
    assert match is not None  # it matches nothing as well
    return match.end()


def _ignore(done: int, total: int) -> None:
    """Nobody is watching."""


@dataclass(slots=True)
class _Tally:
    """How far the reading has come."""

    report: Progress
    limits: FeedLimits
    total: int = 0
    done: int = field(default=0, init=False)

    def advance(self, count: int) -> None:
        self.done += count
        self.report(self.done, self.total)


def _over(what: str) -> HarborGuardError:
    return HarborGuardError(ErrorCode.PAYLOAD_TOO_LARGE, what)


def _read_whole_file(path: Path, tally: _Tally) -> Iterator[tuple[str, object]]:
    tally.total = path.stat().st_size
    with path.open("rb") as file:
        if path.suffix.lower() in _LINES:
            yield from _read_lines(path.name, file, tally)
            return
        data = file.read(tally.limits.file + 1)
    if len(data) > tally.limits.file:
        raise _over(f"{path.name} has {tally.total} bytes; one file may have {tally.limits.file}, or be a ZIP or JSONL")
    yield from _parse(path.name, data)
    tally.advance(len(data))


def _read_directory(root: Path, tally: _Tally) -> Iterator[tuple[str, object]]:
    files = sorted(_walk(root))
    tally.total = sum(size for _, size in files)
    for path, size in files:
        name = path.relative_to(root).as_posix()
        try:
            file = _open_listed(path)
        except OSError as error:
            yield name, UnreadableDocument(error.strerror or str(error))
            tally.advance(size)
            continue
        with file:
            if path.suffix.lower() in _LINES:
                yield from _read_lines(name, file, tally)
                continue
            data = file.read(tally.limits.document + 1)
        if len(data) > tally.limits.document:
            yield name, UnreadableDocument(f"has more than {tally.limits.document} bytes")
        else:
            yield from _parse(name, data)
        tally.advance(size)


def _walk(directory: Path) -> Iterator[tuple[Path, int]]:
    """The readable files below a directory with their sizes; links are not followed, hidden names are skipped."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and Path(entry.name).suffix.lower() in _READABLE:
                yield Path(entry.path), entry.stat(follow_symlinks=False).st_size


def _open_listed(path: Path) -> IO[bytes]:
    """Opens a file of a walk. It may have been swapped since for a link, or for a pipe that never answers."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _read_lines(name: str, file: IO[bytes], tally: _Tally) -> Iterator[tuple[str, object]]:
    """One JSON document a line. A line over the limit is skipped to its end, not loaded."""
    limit = tally.limits.document
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        length = len(line)
        if length > limit:
            while line and not line.endswith(b"\n"):
                line = file.readline(limit)
                length += len(line)
            yield f"{name}:{number}", UnreadableDocument(f"has {length} bytes, more than {limit}")
        elif line.strip():
            yield f"{name}:{number}", _load_json(line)
        tally.advance(length)


def _read_zip(path: Path, tally: _Tally) -> Iterator[tuple[str, object]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise bad_request(f"{path.name} is not a readable ZIP archive: {error}") from error
    with archive:
        if len(archive.filelist) > tally.limits.members:
            raise _over(f"{path.name} has more than {tally.limits.members} members")
        members = [info for info in archive.filelist if _is_document(info)]
        tally.total = sum(info.compress_size for info in members)
        unpacked = 0
        for info in members:
            content = _unpack(archive, info, tally.limits)
            if isinstance(content, UnreadableDocument):
                yield info.filename, content
            else:
                unpacked += len(content)
                if unpacked > tally.limits.total:
                    raise _over(f"{path.name} unpacks to more than {tally.limits.total} bytes")
                yield from _parse(info.filename, content)
            tally.advance(info.compress_size)


def _is_document(info: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(info.filename)
    hidden = any(part.startswith(".") and part.strip(".") for part in path.parts)
    return not (info.is_dir() or hidden) and path.suffix.lower() in _READABLE


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limits: FeedLimits) -> bytes | UnreadableDocument:
    if info.flag_bits & _ENCRYPTED:
        return UnreadableDocument("is encrypted")
    if info.compress_type not in _METHODS:
        return UnreadableDocument("is packed by a method other than deflate")
    allowed = min(limits.document, max(_RATIO_FREE, limits.ratio * info.compress_size))
    try:
        with archive.open(info) as member:
            data = member.read(allowed + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        return UnreadableDocument(f"cannot be unpacked: {error}")
    if len(data) > allowed:
        return UnreadableDocument(f"unpacks to more than {allowed} bytes")
    return data


def _parse(name: str, data: bytes) -> Iterator[tuple[str, object]]:
    """The documents of one file: a record, a list of records, one a line, or several YAML documents."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _LINES:
        for number, line in enumerate(data.splitlines(), 1):
            if line.strip():
                yield f"{name}:{number}", _load_json(line)
        return
    documents = _load_yaml(data) if suffix in _YAML else [_load_json(data)]
    found = [record for document in documents for record in (document if isinstance(document, list) else [document])]
    for index, record in enumerate(found):
        yield (name if len(found) == 1 else f"{name}[{index}]"), record


def _load_json(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        return UnreadableDocument(f"is not JSON: {error}")


def _load_yaml(data: bytes) -> list[object]:
    try:
        return list(_build_yaml(data))
    except (yaml.YAMLError, ValueError) as error:
        # The parser's message quotes the place on several lines.
        return [UnreadableDocument(f"is not YAML: {' '.join(str(error).split())[:200]}")]


class _YamlTree:
    """Builds plain values from YAML events.

    Not `yaml.load`: its composer recurses in C, and a deeply nested file ends the process. It would also read the
    version 1.10 as the number 1.1 and a date as a date; here every scalar stays text, an empty one is None.
    """

    def __init__(self) -> None:
        self.root: object = None
        self._open: list[tuple[object, str | None]] = []  # collections being filled; the key a mapping waits with
        self._anchors: dict[str, object] = {}

    def add(self, value: object, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = value
        if not self._open:
            self.root = value
            return
        parent, key = self._open[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif isinstance(parent, dict) and key is not None:
            parent[key] = value
            self._open[-1] = (parent, None)
        else:
            self._open[-1] = (parent, value if isinstance(value, str) else "")

    def alias(self, anchor: str | None) -> None:
        if anchor is None or anchor not in self._anchors:
            raise ValueError(f"unknown alias {anchor}")
        value = self._anchors[anchor]
        if any(value is collection for collection, _ in self._open):
            raise ValueError(f"alias {anchor} contains itself")
        self.add(value, None)

    def begin(self, collection: object, anchor: str | None) -> None:
        if len(self._open) >= _DEPTH:
            raise ValueError(f"nested more than {_DEPTH} deep")
        self.add(collection, anchor)
        self._open.append((collection, None))

    def end(self) -> None:
        self._open.pop()


def _build_yaml(data: bytes) -> Iterator[object]:
    tree = _YamlTree()
    for event in yaml.parse(data, Loader=_YamlLoader):
        if isinstance(event, yaml.ScalarEvent):
            empty = event.implicit[0] and event.value in ("", "~", "null")  # without quotes and without a tag
            tree.add(None if empty else event.value, event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            tree.begin({}, event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            tree.begin([], event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            tree.end()
        elif isinstance(event, yaml.AliasEvent):
            tree.alias(event.anchor)
        elif isinstance(event, yaml.DocumentEndEvent):
            yield tree.root
            tree = _YamlTree()
