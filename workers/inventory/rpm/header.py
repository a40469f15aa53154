"""One package of an RPM database: its header, a table of tags over one block of data.

Format: RPM's "Package format" manual, "Header structure"; a database stores it without the magic and the reserved bytes.
Two counts, then 16 bytes for each tag (number, type, offset, count), then the data. Numbers are big-endian.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from workers.inventory.rpm.malformed import MalformedError

_MAX_TAGS = 0xFFFF  # as rpm itself has it
_MAX_VALUES = 1_000_000  # of one tag: the files of one package
_MAX_TEXT = 8192  # bytes of one text that are read
_PREAMBLE = struct.Struct(">II")
_ENTRY = struct.Struct(">IIII")
_INT32, _STRING, _STRINGS, _TRANSLATED = 4, 6, 8, 9


class Tag(IntEnum):
    """Of rpm's tags those that are read (rpmtag.h)."""

    NAME = 1000
    VERSION = 1001
    RELEASE = 1002
    EPOCH = 1003
    LICENSE = 1014
    ARCH = 1022
    FILEDIGESTS = 1035
    SOURCERPM = 1044
    DIRINDEXES = 1116
    BASENAMES = 1117
    DIRNAMES = 1118
    FILEDIGESTALGO = 5011
    MODULARITYLABEL = 5096


_READ = frozenset(Tag)


class _Entry(NamedTuple):
    kind: int
    offset: int  # from the start of the blob
    values: int


class Header:
    """The tags of one package. Raises MalformedError where a tag leads out of the data or is of another type."""

    def __init__(self, blob: bytes) -> None:
        if len(blob) < _PREAMBLE.size:
            raise MalformedError("a header that is cut off")
        tags, size = _PREAMBLE.unpack_from(blob)
        start = _PREAMBLE.size + tags * _ENTRY.size
        if tags > _MAX_TAGS or start + size > len(blob):
            raise MalformedError("a header that is cut off")
        self._data = blob
        self._end = start + size
        self._entries: dict[int, _Entry] = {}
        for tag, kind, offset, count in _ENTRY.iter_unpack(blob[_PREAMBLE.size : start]):
            if tag in _READ:
                if offset >= size or count > _MAX_VALUES:
                    raise MalformedError("a tag that leads out of its header")
                self._entries.setdefault(tag, _Entry(kind, start + offset, count))

    def text(self, tag: Tag) -> str:
        """Empty where the tag is missing."""
        entry = self._find(tag, _STRING, _STRINGS, _TRANSLATED)
        if entry is None:
            return ""
        end = self._data.find(b"\0", entry.offset, min(self._end, entry.offset + _MAX_TEXT))
        if end < 0:
            raise MalformedError("a text without an end")
        return self._data[entry.offset : end].decode("utf-8", "replace")

    def number(self, tag: Tag) -> int | None:
        return next(iter(self.numbers(tag)), None)

    def numbers(self, tag: Tag) -> tuple[int, ...]:
        """Empty where the tag is missing."""
        entry = self._find(tag, _INT32)
        if entry is None:
            return ()
        if entry.offset + 4 * entry.values > self._end:
            raise MalformedError("a tag that leads out of its header")
        return struct.unpack_from(f">{entry.values}I", self._data, entry.offset)

    def texts(self, tag: Tag) -> list[bytes]:
        """Empty where the tag is missing."""
        entry = self._find(tag, _STRINGS)
        if entry is None:
            return []
        found = self._data[entry.offset : self._end].split(b"\0", entry.values)
        if len(found) <= entry.values:
            raise MalformedError("a text without an end")
        return found[: entry.values]

    def _find(self, tag: Tag, *kinds: int) -> _Entry | None:
        entry = self._entries.get(tag)
        if entry is not None and entry.kind not in kinds:
            raise MalformedError("a tag of another type than its own")
        return entry
