"""Reading tar streams that nobody vouches for: nothing is written, followed or believed.

One pass over blocks of bytes, holding one block. The dialects are those container tools write: POSIX ustar and pax,
GNU long names and sparse files, old V7. Where readers are known to differ, this one does what Go's archive/tar does,
because that is what puts layers on disk: links and directories have no content whatever their size says, global pax
headers change nothing, and the size in a pax header replaces the one in the header behind it.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.limits import MIB, Budget, exceeded

RECORD = 512
_ZEROS = bytes(RECORD)
_EXTENSION_BYTES = MIB  # of one pax header or long name; Go's reader has the same limit
_AT_ONCE = 256  # headers counted locally before the counter all threads share hears of them
_SPARSE_CODE = ord("S")
_SPARSE_PAIRS, _SPARSE_MORE_PAIRS = 4, 21  # in the header, in each record that continues it
_SPARSE_PAIR = 24
_SPARSE_PIECES = 100_000  # of one file
_MODE = 0o7777  # old tars keep the kind of file in the bits above


class EntryKind(Enum):
    FILE = auto()
    DIRECTORY = auto()
    SYMLINK = auto()
    HARDLINK = auto()
    OTHER = auto()  # devices, fifos, volume labels


class Entry(NamedTuple):
    """One member. `name` is relative to the root without "." or ".." parts, "" for the root itself."""

    kind: EntryKind
    name: str
    link: str  # a symbolic link's target as written; a hard link's target as a name
    size: int  # bytes of content, holes of a sparse file included
    mode: int = 0  # permissions, with setuid, setgid and sticky bit


class _Sparse(NamedTuple):
    size: int
    pieces: list[tuple[int, int]] | None  # (offset, length); None: they are written in front of the content


@dataclass(slots=True)
class _Extension:
    """What the headers in front of an entry say about it."""

    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None
    sparse: list[tuple[bytes, bytes]] = field(default_factory=list)  # a list, because one format repeats its keys


_KINDS = {
    ord("\0"): EntryKind.FILE,
    ord("0"): EntryKind.FILE,
    ord("7"): EntryKind.FILE,  # "contiguous", which nothing implements
    _SPARSE_CODE: EntryKind.FILE,
    ord("1"): EntryKind.HARDLINK,
    ord("2"): EntryKind.SYMLINK,
    ord("5"): EntryKind.DIRECTORY,
}
_WITHOUT_CONTENT = frozenset(b"123456")
_LONG_NAME, _LONG_LINK, _GLOBAL = ord("L"), ord("K"), ord("g")
_PAX_KEYS = (b"path=", b"size=", b"GNU.sparse.")
_EXTENSIONS = frozenset(b"xXLK")  # X is what Solaris calls pax


class TarReader:
    """Iterates the entries; `read` gives the content of the entry at hand.

    `skip` moves the source forward by that many bytes, where it can seek; otherwise blocks are read and dropped, and
    the stream is read to its end. `absolute` says whether a leading slash is dropped, as every runtime does with
    layers (those of buildpacks and older distroless images have them), or refused.
    Raises ScanFailure: IMAGE_INVALID (malformed or truncated), UNSAFE_ARCHIVE (a name that leaves the root),
    LIMIT_EXCEEDED.
    """

    def __init__(
        self,
        blocks: Iterator[bytes],
        budget: Budget,
        *,
        skip: Callable[[int], None] | None = None,
        absolute: bool = True,
    ) -> None:
        self._blocks = blocks
        self._budget = budget
        self._limits = budget.limits
        self._skip_source = skip
        self._absolute = absolute
        self._buffer = b""
        self._at = 0  # in the buffer
        self._before = 0  # bytes of the stream in front of the buffer
        self._left = 0  # unread bytes of the entry at hand, padding included
        self._stored = 0  # bytes of content of the entry at hand as stored
        self._head = b""  # what was handed out of it already
        self._sparse: _Sparse | None = None
        self._uncounted = 0

    @property
    def position(self) -> int:
        """Bytes from the start of the stream to what is read next: after an entry came, to its content."""
        return self._before + self._at

    def __iter__(self) -> Iterator[Entry]:
        extension: _Extension | None = None
        while (header := self._header()) is not None:
            flag = header[156]
            if flag in _EXTENSIONS:
                extension = self._extend(extension or _Extension(), header)
            elif flag == _GLOBAL:
                self._extension_content(header)
            else:
                yield self._entry(header, extension)
                extension = None
        if extension is not None:
            raise _malformed("ends behind an extended header")
        self._budget.enter(self._uncounted)
        if self._skip_source is None:
            for _ in self._blocks:  # what is behind the end still belongs to the digest of the stream
                pass

    def read(self) -> bytes:
        """The content of the entry at hand, once. The memory it takes is charged to the budget first."""
        self._budget.hold(self._stored if self._sparse is None else self._stored + 2 * self._sparse.size)
        rest = self._stored - len(self._head)
        stored, self._left = self._head + self._take(rest), self._left - rest
        content = stored if self._sparse is None else _expand(stored, self._sparse)
        self._stored, self._head = 0, b""
        return content

    def head(self, size: int) -> bytes:
        """The first bytes of the entry at hand, to look at and let go: the budget is not charged. Not after `read`.

        May be called again for more. Empty for a sparse file, whose content is not stored in one piece.
        """
        missing = min(size, self._stored) - len(self._head) if self._sparse is None else 0
        if missing > 0:
            self._head += self._take(missing)
            self._left -= missing
        return self._head[:size]

    def pieces(self) -> Iterator[bytes]:
        """The content of the entry at hand block by block, once, to pass on and let go: the budget is not charged.

        Nothing for a sparse file, as `head`.
        """
        rest = self._stored - len(self._head) if self._sparse is None else 0
        if self._head:
            yield self._head
        while rest:
            if self._at == len(self._buffer) and not self._fill():
                raise _malformed("is cut off")
            piece = self._buffer[self._at : self._at + rest]
            self._at += len(piece)
            self._left -= len(piece)
            rest -= len(piece)
            yield piece
        if self._sparse is None:
            self._stored, self._head = 0, b""

    def _entry(self, header: bytes, extension: _Extension | None) -> Entry:
        flag = header[156]
        kind = _KINDS.get(flag, EntryKind.OTHER)
        name = _header_name(header)
        size = 0 if flag in _WITHOUT_CONTENT else _number(header[124:136])
        raw_link = header[157:257].partition(b"\0")[0] if header[157] else b""
        self._sparse, self._head = None, b""
        if extension is not None:
            name = extension.name if extension.name is not None else name
            raw_link = extension.link if extension.link is not None else raw_link
            if extension.size is not None and flag not in _WITHOUT_CONTENT:
                size = extension.size
            if extension.sparse and kind is EntryKind.FILE:
                self._sparse, name = _pax_sparse(extension.sparse, name)
        if flag == _SPARSE_CODE:
            self._sparse = self._gnu_sparse(header)
        elif flag == 0 and name.endswith(b"/"):
            kind, size = EntryKind.DIRECTORY, 0  # how V7 tar wrote directories
        self._stored, self._left = size, -(-size // RECORD) * RECORD
        path = self._clean(name)
        link = ""
        if kind is EntryKind.SYMLINK:
            link = _decode(raw_link)
        elif kind is EntryKind.HARDLINK:
            link = self._clean(raw_link)
        if (not path and kind is not EntryKind.DIRECTORY) or (
            not link and (kind is EntryKind.SYMLINK or kind is EntryKind.HARDLINK)
        ):
            raise _unsafe("an entry without a name, or a link to nowhere")
        if self._sparse is not None:
            size = max(size, self._sparse.size)
        if size > self._limits.file_bytes:
            raise exceeded(f"The file {path[:200]} is larger", self._limits.file_bytes, "bytes")
        return Entry(kind, path, link, size, _number(header[100:108]) & _MODE)

    def _header(self) -> bytes | None:
        """The next header with its checksum verified, None at the end of the archive."""
        start = self._at + self._left
        if start + RECORD <= len(self._buffer):
            self._at = start + RECORD
            header = self._buffer[start : self._at]
        else:
            self._skip(self._left)
            if self._at == len(self._buffer) and not self._fill():
                return None  # without the two records of zeros; Go reads that as an end as well
            header = self._take(RECORD)
        self._left = 0
        if not header[0] and header == _ZEROS:
            if (self._at < len(self._buffer) or self._fill()) and self._take(RECORD) != _ZEROS:
                raise _malformed("has a header of zeros in its middle")
            return None
        # The sum of all bytes with the checksum's own counted as spaces. Adler-32 ends in one plus the sum of the
        # bytes modulo 65521, ten times faster than `sum`.
        field = header[148:156]
        expected = _number(field) + sum(field) - 8 * ord(" ")
        if zlib.adler32(header) & 0xFFFF != (expected + 1) % 65521 and _signed_sum(header) != expected:
            raise _malformed("has a header with a wrong checksum")
        self._uncounted += 1
        if self._uncounted == _AT_ONCE:
            self._budget.enter(_AT_ONCE)
            self._uncounted = 0
        return header

    def _extend(self, extension: _Extension, header: bytes) -> _Extension:
        content, flag = self._extension_content(header), header[156]
        if flag == _LONG_NAME:
            extension.name = self._bounded(content.partition(b"\0")[0])
        elif flag == _LONG_LINK:
            extension.link = self._bounded(content.partition(b"\0")[0])
        elif any(key in content for key in _PAX_KEYS):  # most hold a fine-grained time and nothing we read
            for key, value in _pax_records(content):
                if key == b"path" and value:
                    extension.name = self._bounded(value)
                elif key == b"linkpath" and value:
                    extension.link = self._bounded(value)
                elif key == b"size" and value:
                    extension.size = _decimal(value)
                elif key.startswith(b"GNU.sparse."):
                    extension.sparse.append((key[11:], self._bounded(value) if key.endswith(b"name") else value))
                    _check_pieces(len(extension.sparse) // 2)
        return extension

    def _extension_content(self, header: bytes) -> bytes:
        size = _number(header[124:136])
        if size > _EXTENSION_BYTES:
            raise exceeded("An extended header is longer", _EXTENSION_BYTES, "bytes")
        self._budget.extend(RECORD + size)
        content = self._take(size)
        self._left = -size % RECORD
        return content

    def _gnu_sparse(self, header: bytes) -> _Sparse:
        pieces = _gnu_pieces(header[386:482], _SPARSE_PAIRS)
        more = header[482]
        while more:
            self._budget.extend(RECORD)
            record = self._take(RECORD)
            pieces += _gnu_pieces(record, _SPARSE_MORE_PAIRS)
            _check_pieces(len(pieces))
            more = record[504]
        return _Sparse(_number(header[483:495]), pieces)

    def _clean(self, raw: bytes) -> str:
        """The name without ".", "..", doubled or outer slashes. UNSAFE_ARCHIVE where it leads out of the root."""
        name = _decode(raw).removeprefix("./").rstrip("/")
        if "/." not in name and "//" not in name and name[:1] not in {".", "/"}:
            return name
        if name.startswith("/") and not self._absolute:
            raise _unsafe("an entry with an absolute name")
        parts: list[str] = []
        for part in name.split("/"):
            if part == "..":
                if not parts:
                    raise _unsafe("a name that leads out of its root")
                parts.pop()
            elif part not in {"", "."}:
                parts.append(part)
        return "/".join(parts)

    def _bounded(self, name: bytes) -> bytes:
        if len(name) > self._limits.path_bytes:
            raise exceeded("A path is longer", self._limits.path_bytes, "bytes")
        if b"\0" in name:
            raise _malformed("has a name with a zero byte")
        return name

    def _fill(self) -> bool:
        self._before += len(self._buffer)
        self._buffer, self._at = next(self._blocks, b""), 0
        return bool(self._buffer)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end <= len(self._buffer):
            taken, self._at = self._buffer[self._at : end], end
            return taken
        # BytesIO hands out its buffer without a copy, so a large file is in memory once.
        gathered = io.BytesIO()
        while True:
            written = gathered.write(self._buffer[self._at : self._at + count])
            self._at += written
            count -= written
            if not count:
                return gathered.getvalue()
            if not self._fill():
                raise _malformed("is cut off")

    def _skip(self, count: int) -> None:
        while count > len(self._buffer) - self._at:
            count -= len(self._buffer) - self._at
            self._at = len(self._buffer)
            if self._skip_source is not None:
                self._before, self._buffer, self._at = self.position + count, b"", 0
                self._skip_source(count)
                return
            if not self._fill():
                raise _malformed("is cut off")
        self._at += count


def _header_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[345] and header.startswith(b"ustar\x00", 257):
        prefix_end = 476 if header.endswith(b"tar\0") else 500  # Jörg Schilling's star keeps times behind a short one
        return header[345:prefix_end].partition(b"\0")[0] + b"/" + name
    return name


def _decode(raw: bytes) -> str:
    """Names are bytes. What is not UTF-8 becomes text that says which bytes it was, and can be stored anywhere."""
    return raw.decode("utf-8", "backslashreplace")


def _number(raw: bytes) -> int:
    """A numeric field: octal digits, or GNU's binary form, marked by the highest bit."""
    if raw[0] & 0x80:
        value = int.from_bytes(raw) - (0x80 << 8 * (len(raw) - 1))
        if raw[0] & 0x40 or value >> 63:
            raise _malformed("has a number that is negative or too large")
        return value
    digits = raw.strip(b" \0")
    if digits.strip(b"01234567"):
        raise _malformed("has a header field that is not a number")
    return int(digits or b"0", 8)


def _decimal(raw: bytes) -> int:
    if not raw.isdigit() or len(raw) > len(str(1 << 63)):
        raise _malformed("has an extended header with a wrong number")
    return int(raw)


def _signed_sum(header: bytes) -> int:
    """The checksum as some old systems computed it, and as every reader accepts."""
    return sum(memoryview(header).cast("b"))


def _pax_records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Records of the form "length key=value", each with a line feed, where the length counts all of it (POSIX pax)."""
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + 8)
        end = at + _decimal(content[at:space]) if space > at else 0
        equals = content.find(b"=", space + 1, end)
        if end > len(content) or equals < 0 or content[end - 1] != ord("\n"):
            raise _malformed("has a malformed extended header")
        yield content[space + 1 : equals], content[equals + 1 : end - 1]
        at = end


def _gnu_pieces(table: bytes, count: int) -> list[tuple[int, int]]:
    pairs = (table[at : at + _SPARSE_PAIR] for at in range(0, count * _SPARSE_PAIR, _SPARSE_PAIR))
    return [(_number(pair[:12]), _number(pair[12:])) for pair in pairs if pair[0]]


def _pax_sparse(keys: list[tuple[bytes, bytes]], name: bytes) -> tuple[_Sparse, bytes]:
    """The three formats GNU tar has written (its manual, "Storing Sparse Files"): 0.0, 0.1 and 1.0."""
    single = dict(keys)
    size = _decimal(single.get(b"realsize") or single.get(b"size") or b"")
    name = single.get(b"name") or name
    if single.get(b"major") == b"1":
        return _Sparse(size, None), name
    if b"map" in single:
        _check_pieces(single[b"map"].count(b",") // 2)
        numbers = [_decimal(number) for number in single[b"map"].split(b",") if number]
    else:
        numbers = [_decimal(value) for key, value in keys if key in {b"offset", b"numbytes"}]
    if len(numbers) % 2:
        raise _malformed("has a sparse file with half a piece")
    return _Sparse(size, list(zip(numbers[::2], numbers[1::2], strict=True))), name


def _expand(stored: bytes, sparse: _Sparse) -> bytes:
    """The file with its holes filled. The caller has charged `sparse.size`."""
    pieces, at = (sparse.pieces, 0) if sparse.pieces is not None else _leading_pieces(stored)
    content, written = bytearray(sparse.size), 0
    for offset, length in pieces:
        if offset < written or offset + length > sparse.size or at + length > len(stored):
            raise _malformed("has a sparse file whose pieces do not fit")
        content[offset : offset + length] = stored[at : at + length]
        at, written = at + length, offset + length
    return bytes(content)


def _leading_pieces(stored: bytes) -> tuple[list[tuple[int, int]], int]:
    """The map of format 1.0: decimal numbers on lines of their own, the count first, padded to a record."""

    def number(at: int) -> tuple[int, int]:
        end = stored.find(b"\n", at, at + 24)
        return _decimal(stored[at : max(end, at)]), end + 1

    count, at = number(0)
    _check_pieces(count)
    pieces: list[tuple[int, int]] = []
    while len(pieces) < count:
        offset, at = number(at)
        length, at = number(at)
        pieces.append((offset, length))
    return pieces, -(-at // RECORD) * RECORD


def _check_pieces(count: int) -> None:
    if count > _SPARSE_PIECES:
        raise exceeded("A sparse file has more", _SPARSE_PIECES, "pieces")


def _malformed(problem: str) -> ScanFailure:
    return ScanFailure(FailureCode.IMAGE_INVALID, f"A layer or archive {problem}")


def _unsafe(problem: str) -> ScanFailure:
    return ScanFailure(FailureCode.UNSAFE_ARCHIVE, f"A layer or archive holds {problem}")
