"""One table of an SQLite database, `rpmdb.sqlite`, the default of RHEL from 9 and of Fedora.

Format: sqlite.org/fileformat2.html. Read here and not by SQLite itself, because the schema of a database is a program: a
`Packages` that is a view can compute for ever, and a crafted file is read by C code. Numbers are big-endian.

What was written last may still be in the write-ahead log beside the file (`rpmdb.sqlite-wal`): its committed pages count
in place of those in the file, as they do for rpm.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from workers.inventory.rpm.malformed import MalformedError

TABLE = b"Packages"
_MAGIC = b"SQLite format 3\0"
_FILE_HEAD = 100
_MIN_PAGE, _MAX_PAGE = 512, 65536
_SCHEMA = 1  # the page where the table of tables begins
_LEAF, _INTERIOR = 13, 5  # types of pages of a table
_LOG_HEAD, _FRAME_HEAD = 32, 24
_LOG_MAGIC = {0x377F0682: "<", 0x377F0683: ">"}  # to the byte order of its checksums
_MAX_LOG = 64 * 1024**2  # bytes; rpm's own is emptied from 4 MB on
_MAX_VARINT = 9
_MAX_COLUMNS = 100
_INTEGER_SIZES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # bytes by serial type


def read_sqlite(content: bytes, log: bytes = b"") -> Iterator[bytes]:
    """The headers of all packages. Raises MalformedError."""
    pages = _Pages(content, log)
    for row in _rows(pages, _SCHEMA):
        match row:
            case [b"table", name, _, root, *_] if name == TABLE:
                yield from _headers(pages, int.from_bytes(root))
                return
    raise MalformedError("no table of packages")


def _headers(pages: _Pages, root: int) -> Iterator[bytes]:
    for row in _rows(pages, root):
        match row:
            case [_, header, *_]:  # the first column is the row's number, which is not stored again
                yield header
            case _:
                raise MalformedError("a row without a package")


class _Pages:
    """Pages by number, from 1. Each is given once: none belongs to two places, and no way leads round in a circle."""

    def __init__(self, content: bytes, log: bytes) -> None:
        if len(content) < _FILE_HEAD or not content.startswith(_MAGIC):
            raise MalformedError("no such database")
        size: int = struct.unpack_from(">H", content, 16)[0]
        self.size = _MAX_PAGE if size == 1 else size
        self.usable = self.size - content[20]
        if not _is_page_size(self.size) or self.usable < 480:  # noqa: PLR2004 -- the format's own least
            raise MalformedError("no such database")
        self._content = content
        self._log = log
        self._logged = _committed_frames(log, self.size)
        self._given: set[int] = set()

    def take(self, number: int) -> bytes:
        if number in self._given:
            raise MalformedError("a page that is in two places")
        self._given.add(number)
        if number in self._logged:
            start = self._logged[number]
            return self._log[start : start + self.size]
        start = (number - 1) * self.size
        if number < 1 or start + self.size > len(self._content):
            raise MalformedError("a page that does not exist")
        return self._content[start : start + self.size]


def _rows(pages: _Pages, root: int) -> Iterator[list[bytes]]:
    """The rows of a table in order, each as the bytes of its columns."""
    todo = [root]
    while todo:
        number = todo.pop()
        page = pages.take(number)
        head = _FILE_HEAD if number == _SCHEMA else 0
        kind, count = page[head], int.from_bytes(page[head + 3 : head + 5])
        if kind not in {_LEAF, _INTERIOR}:
            raise MalformedError("a page that is none of a table")
        pointers = head + (8 if kind == _LEAF else 12)
        if pointers + 2 * count > len(page):
            raise MalformedError("a page that is none of a table")
        cells = struct.unpack_from(f">{count}H", page, pointers)
        if kind == _INTERIOR:
            children = [_child(page, cell) for cell in cells]
            todo += [_child(page, head + 8), *reversed(children)]
        else:
            yield from _leaf_rows(pages, page, cells)


def _child(page: bytes, at: int) -> int:
    if at + 4 > len(page):
        raise MalformedError("a cell outside of its page")
    return int.from_bytes(page[at : at + 4])


def _leaf_rows(pages: _Pages, page: bytes, cells: tuple[int, ...]) -> Iterator[list[bytes]]:
    left = len(page)  # cells that overlap could give more than the page has
    for cell in cells:
        size, at = _varint(page, cell)
        _, at = _varint(page, at)  # the row's number
        local = _local_size(size, pages.usable)
        left -= local
        if at + local > pages.usable or left < 0:
            raise MalformedError("a cell outside of its page")
        payload = page[at : at + local]
        if local < size:
            payload = _with_overflow(pages, payload, size, _child(page, at + local))
        yield _columns(payload)


def _local_size(size: int, usable: int) -> int:
    """How many bytes of a row stand on its page; the rest is on a chain of pages ("Cell Payload Overflow Pages")."""
    if size <= usable - 35:
        return size
    least = (usable - 12) * 32 // 255 - 23
    fitting = least + (size - least) % (usable - 4)
    return fitting if fitting <= usable - 35 else least


def _with_overflow(pages: _Pages, payload: bytes, size: int, number: int) -> bytes:
    parts = [payload]
    missing = size - len(payload)
    while missing > 0:
        page = pages.take(number)
        part = page[4 : min(pages.usable, 4 + missing)]
        parts.append(part)
        missing -= len(part)
        number = int.from_bytes(page[:4])
    return b"".join(parts)


def _columns(payload: bytes) -> list[bytes]:
    """Bytes of each column, texts and numbers as they are stored."""
    end, at = _varint(payload, 0)
    if end > len(payload):
        raise MalformedError("a row that is cut off")
    columns: list[bytes] = []
    start = end
    while at < end:
        kind, at = _varint(payload, at)
        size = (kind - 12) // 2 if kind >= 12 else _INTEGER_SIZES[min(kind, 9)]  # noqa: PLR2004 -- odd ones are texts
        if start + size > len(payload) or len(columns) == _MAX_COLUMNS:
            raise MalformedError("a row that is cut off")
        columns.append(payload[start : start + size])
        start += size
    return columns


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, 7 bits in each but the ninth, and where it ends."""
    value = 0
    for index, byte in enumerate(data[at : at + _MAX_VARINT]):
        if index == _MAX_VARINT - 1:
            return value << 8 | byte, at + _MAX_VARINT
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004
            return value, at + index + 1
    raise MalformedError("a number that is cut off")


def _is_page_size(size: int) -> bool:
    return _MIN_PAGE <= size <= _MAX_PAGE and size & (size - 1) == 0


# --- The write-ahead log: frames of a page each, valid as long as salts and running checksum are right.


class _Frame(NamedTuple):
    page: int
    commits: bool
    start: int


def _committed_frames(log: bytes, size: int) -> dict[int, int]:
    """Where the log has the newest committed content of a page, by its number."""
    committed: dict[int, int] = {}
    transaction: dict[int, int] = {}
    for frame in _frames(log, size):
        transaction[frame.page] = frame.start
        if frame.commits:
            committed |= transaction
            transaction = {}
    return committed


def _frames(log: bytes, size: int) -> Iterator[_Frame]:
    if len(log) < _LOG_HEAD:
        return
    if len(log) > _MAX_LOG:
        raise MalformedError("a write-ahead log that is too large")
    magic, _, log_size = struct.unpack_from(">III", log)
    order = _LOG_MAGIC.get(magic)
    if order is None or log_size != size:
        return
    salts = log[16:24]
    checksum = _checksum(order, log[:24], (0, 0))
    if checksum != struct.unpack_from(">II", log, 24):
        return
    for start in range(_LOG_HEAD, len(log) - _FRAME_HEAD - size + 1, _FRAME_HEAD + size):
        head = log[start : start + _FRAME_HEAD]
        content = start + _FRAME_HEAD
        checksum = _checksum(order, head[:8], checksum)
        checksum = _checksum(order, log[content : content + size], checksum)
        if head[8:16] != salts or checksum != struct.unpack_from(">II", head, 16):
            return  # left over from an earlier use of the file
        page, pages_after = struct.unpack_from(">II", head)
        yield _Frame(page, pages_after > 0, content)


def _checksum(order: str, data: bytes, before: tuple[int, int]) -> tuple[int, int]:
    first, second = before
    for one, other in struct.iter_unpack(f"{order}II", data):
        first = first + one + second & 0xFFFFFFFF
        second = second + other + first & 0xFFFFFFFF
    return first, second
