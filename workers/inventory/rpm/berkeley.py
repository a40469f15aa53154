"""Berkeley DB hash databases, `Packages` of RHEL up to 8 and everything of its age: package number to header.

Layout as in Berkeley DB's dbinc/db_page.h, hash versions 8 to 10. Every page has a head of 26 bytes; the first one holds
the metadata. A page of the hash holds keys and values in turn; a value that is too large for it is on a chain of pages of
its own. The order of numbers is that of the machine that wrote the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal

from workers.inventory.rpm.malformed import MalformedError

_MAGIC = 0x061561
_PAGE_SIZES = frozenset(1 << power for power in range(9, 17))
_PAGE_HEAD = 26
_META_SIZE = 72  # bytes of the metadata that are looked at
_HASH_META, _HASH_UNSORTED, _HASH, _OVERFLOW = 8, 2, 13, 7  # types of pages
_ON_PAGE, _OFF_PAGE = 1, 3  # types of items
_OFF_PAGE_ITEM = 12  # bytes: type, 3 unused, page, length


def read_berkeley(content: bytes) -> Iterator[bytes]:
    """The headers of all packages. Raises MalformedError."""
    database = _Database(content)
    for page in range(1, database.pages):
        if database.kind(page) in {_HASH, _HASH_UNSORTED}:
            yield from database.values(page)


class _Database:
    def __init__(self, content: bytes) -> None:
        if len(content) < _META_SIZE:
            raise MalformedError("a file that is cut off")
        self._content = content
        self._order = self._byte_order()
        self._size = self._number(20)
        encryption, kind, flags = content[24:27]
        if kind != _HASH_META or encryption or flags or self._size not in _PAGE_SIZES:
            raise MalformedError("no such database")
        self.pages = len(content) // self._size
        if self._number(32) >= self.pages:
            raise MalformedError("a file that is cut off")
        self._taken = bytearray(self.pages)  # pages of values: no page belongs to two, and no chain is a circle

    def kind(self, page: int) -> int:
        return self._content[page * self._size + 25]

    def values(self, page: int) -> Iterator[bytes]:
        start = page * self._size
        count = self._short(start + 20)
        if _PAGE_HEAD + 2 * count > self._size:
            raise MalformedError("a page that is none")
        offsets = [self._short(start + _PAGE_HEAD + 2 * index) for index in range(count)]
        # Items stand one before the other, from the page's end, so each ends where the last one begins.
        ends = [self._size, *offsets[:-1]]
        for offset, end in zip(offsets, ends, strict=True):
            if not _PAGE_HEAD + 2 * count <= offset < end:
                raise MalformedError("a page that is none")
        items = [(start + offset, start + end) for offset, end in zip(offsets, ends, strict=True)]
        for key, value in zip(items[::2], items[1::2], strict=False):
            # Package 0 is none: it holds the highest number given so far.
            if any(self._content[key[0] + 1 : key[1]]):
                yield self._value(*value)

    def _value(self, start: int, end: int) -> bytes:
        kind = self._content[start]
        if kind == _ON_PAGE:
            return self._content[start + 1 : end]
        if kind != _OFF_PAGE or start + _OFF_PAGE_ITEM > end:
            raise MalformedError("a value of an unknown kind")
        return self._chain(self._number(start + 4), self._number(start + 8))

    def _chain(self, page: int, length: int) -> bytes:
        parts: list[bytes] = []
        while page:
            if page >= self.pages or self._taken[page] or self.kind(page) != _OVERFLOW:
                raise MalformedError("a value on pages that are not its own")
            self._taken[page] = 1
            start = page * self._size
            used = self._short(start + 22)
            if _PAGE_HEAD + used > self._size:
                raise MalformedError("a page that is none")
            parts.append(self._content[start + _PAGE_HEAD : start + _PAGE_HEAD + used])
            page = self._number(start + 16)
        value = b"".join(parts)
        if len(value) != length:
            raise MalformedError("a value that is cut off")
        return value

    def _byte_order(self) -> Literal["<", ">"]:
        orders: tuple[Literal["<"], Literal[">"]] = ("<", ">")
        for order in orders:
            if struct.unpack_from(f"{order}I", self._content, 12)[0] == _MAGIC:
                return order
        raise MalformedError("no such database")

    def _number(self, at: int) -> int:
        number: int = struct.unpack_from(f"{self._order}I", self._content, at)[0]
        return number

    def _short(self, at: int) -> int:
        number: int = struct.unpack_from(f"{self._order}H", self._content, at)[0]
        return number
