"""Reading zip archives that nobody vouches for: the central directory is walked entry by entry, never held.

Format: PKWARE's APPNOTE, as far as archives of Java use it: stored and deflated members, Zip64, and anything in front of
the archive (a start script). Sizes in headers are never believed; what is unpacked is counted on an allowance.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

MAGIC = b"PK"
_END, _END_64, _LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_CENTRAL, _LOCAL = b"PK\1\2", b"PK\3\4"
_END_SIZE, _CENTRAL_SIZE, _LOCAL_SIZE, _LOCATOR_SIZE, _END_64_SIZE = 22, 46, 30, 20, 56
_COMMENT = 65_535  # bytes of a comment, a name or an extra field
_MEMBERS = 200_000  # entries of one archive
_BLOCK = 256 * 1024
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_IN_EXTRA, _EXTRA_64 = 0xFFFF_FFFF, 1
_RAW = -15  # zlib's code for deflated data without a header


class DamagedArchiveError(ValueError):
    """Continues a sentence about the archive."""


class AllowanceSpentError(ValueError):
    """More was unpacked than was allowed. Continues a sentence about the archive."""


class Allowance:
    """How many bytes may still be unpacked, over an archive and all that lie in it."""

    def __init__(self, count: int) -> None:
        self._left = count

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise AllowanceSpentError("unpacks to more than is read")


class Member(NamedTuple):
    name: str
    flags: int
    method: int
    packed: int  # bytes
    offset: int  # of its local header from where the archive starts


class ZipArchive:
    """Iterates the members in the order of the central directory. Raises DamagedArchiveError, also while iterating."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        size = file.seek(0, 2)
        tail_at = max(0, size - _END_SIZE - _COMMENT)
        tail = self._read(tail_at, size - tail_at)
        at = tail.rfind(_END, 0, len(tail) - _END_SIZE + len(_END))
        if at < 0:
            raise DamagedArchiveError("has no directory")
        end = tail_at + at
        _, _, _, count, length, offset, _ = struct.unpack_from("<4H2LH", tail, at + 4)
        if _IN_EXTRA in {offset, length} or count == _COMMENT:  # the largest number there is: see Zip64's record
            length, offset, end = self._end_64(end, length, offset)
        self._directory = end - length
        self._start = self._directory - offset  # what is in front of the archive
        self._length = length
        if self._directory < 0 or self._start < 0:
            raise DamagedArchiveError("has a directory outside of itself")

    def __iter__(self) -> Iterator[Member]:
        at, end = self._directory, self._directory + self._length
        buffer, start = b"", at  # `start` is where the buffer lies in the file
        for count in range(_MEMBERS + 1):
            if at + _CENTRAL_SIZE > end:
                return
            if count == _MEMBERS:
                raise DamagedArchiveError(f"has more than {_MEMBERS:,} members")
            if at + _CENTRAL_SIZE + 3 * _COMMENT > start + len(buffer) < end:
                buffer, start = self._read(at, _BLOCK), at
            header = buffer[at - start : at - start + _CENTRAL_SIZE]
            if len(header) < _CENTRAL_SIZE or not header.startswith(_CENTRAL):
                raise DamagedArchiveError("has a damaged directory")
            flags, method = struct.unpack_from("<2H", header, 8)
            packed, unpacked, name_size, extra_size, comment_size = struct.unpack_from("<2L3H", header, 20)
            (offset,) = struct.unpack_from("<L", header, 42)
            behind = at - start + _CENTRAL_SIZE
            name = buffer[behind : behind + name_size]
            if _IN_EXTRA in {packed, unpacked, offset}:
                extra = buffer[behind + name_size : behind + name_size + extra_size]
                packed, offset = _from_extra(extra, packed, unpacked, offset)
            yield Member(name.decode("utf-8", "backslashreplace"), flags, method, packed, offset)
            at += _CENTRAL_SIZE + name_size + extra_size + comment_size

    def unpack(self, member: Member, allowance: Allowance) -> Iterator[bytes]:
        """The content in blocks. Raises DamagedArchiveError, AllowanceSpentError."""
        at = self._start + member.offset
        header = self._read(at, _LOCAL_SIZE)
        if len(header) < _LOCAL_SIZE or not header.startswith(_LOCAL):
            raise DamagedArchiveError("has a damaged member")
        if member.flags & _ENCRYPTED or member.method not in {_STORED, _DEFLATED}:
            raise DamagedArchiveError("has a member that is encrypted or packed in an unusual way")
        name_size, extra_size = struct.unpack_from("<2H", header, 26)
        blocks = self._blocks(at + _LOCAL_SIZE + name_size + extra_size, member.packed)
        for block in blocks if member.method == _STORED else _inflate(blocks):
            allowance.spend(len(block))
            yield block

    def _blocks(self, at: int, left: int) -> Iterator[bytes]:
        while left > 0:
            block = self._read(at, min(left, _BLOCK))
            if not block:
                raise DamagedArchiveError("is cut off")
            at, left = at + len(block), left - len(block)
            yield block

    def _end_64(self, end: int, length: int, offset: int) -> tuple[int, int, int]:
        """(length, offset, end) of the directory. A archive that only looks like Zip64 keeps its own numbers."""
        locator = self._read(max(0, end - _LOCATOR_SIZE), _LOCATOR_SIZE)
        record_at = end - _LOCATOR_SIZE - _END_64_SIZE
        record = self._read(record_at, _END_64_SIZE) if record_at >= 0 else b""
        if not locator.startswith(_LOCATOR_64) or not record.startswith(_END_64) or len(record) < _END_64_SIZE:
            return length, offset, end
        length, offset = struct.unpack_from("<2Q", record, 40)
        return length, offset, record_at

    def _read(self, at: int, size: int) -> bytes:
        if at >> 62:
            raise DamagedArchiveError("points outside of itself")
        self._file.seek(at)
        return self._file.read(size)


def _inflate(blocks: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(_RAW)
    try:
        for packed in blocks:
            data = packed
            while data and not inflate.eof:
                yield inflate.decompress(data, _BLOCK)
                data = inflate.unconsumed_tail
        while not inflate.eof and (block := inflate.decompress(b"", _BLOCK)):
            yield block
    except zlib.error:
        raise DamagedArchiveError("has damaged data") from None


def _from_extra(extra: bytes, packed: int, unpacked: int, offset: int) -> tuple[int, int]:
    """(packed, offset), where Zip64's extra field has those that do not fit: unpacked size first, then these."""
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == _EXTRA_64:
            field = extra[at + 4 : at + 4 + size]
            numbers = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            if unpacked == _IN_EXTRA:
                next(numbers, None)
            packed = next(numbers, packed) if packed == _IN_EXTRA else packed
            offset = next(numbers, offset) if offset == _IN_EXTRA else offset
            break
        at += 4 + size
    return packed, offset
