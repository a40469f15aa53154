"""RPM's own database, `Packages.db`, the default of SUSE and openEuler: slots that point to blobs, both in blocks of 16 bytes.

Layout as in rpm's lib/backend/ndb/rpmpkg.c, version 0. Numbers are little-endian. Pages of 4096 bytes at the start hold
the slots; the first two slots are the file's header.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from workers.inventory.rpm.malformed import MalformedError

_BLOCK = 16
_PAGE = 4096
_HEADER = struct.Struct("<4sIII")  # magic, version, generation, pages of slots
_SLOT = struct.Struct("<4sIII")  # magic, package, first block, number of blocks
_BLOB = struct.Struct("<4sIII")  # magic, package, time, length
_TAIL = 12  # checksum, length and magic behind the blob
_SLOTS_OF_HEADER = 32  # bytes


def read_ndb(content: bytes) -> Iterator[bytes]:
    """The headers of all packages. Raises MalformedError."""
    if len(content) < _PAGE:
        raise MalformedError("a file that is cut off")
    magic, version, _, pages = _HEADER.unpack_from(content)
    if magic != b"RpmP" or version != 0 or not 0 < pages <= len(content) // _PAGE:
        raise MalformedError("no such database")
    left = len(content)  # blobs that share their blocks could give more than the file has
    for slot in range(_SLOTS_OF_HEADER, pages * _PAGE, _SLOT.size):
        magic, package, first, blocks = _SLOT.unpack_from(content, slot)
        if magic != b"Slot":
            raise MalformedError("a slot that is none")
        if first:
            left -= blocks * _BLOCK
            if left < 0:
                raise MalformedError("packages that overlap")
            yield _blob(content, package, first * _BLOCK, blocks * _BLOCK)


def _blob(content: bytes, package: int, start: int, size: int) -> bytes:
    if size < _BLOB.size + _TAIL or start + size > len(content):
        raise MalformedError("a package that is cut off")
    magic, number, _, length = _BLOB.unpack_from(content, start)
    if magic != b"BlbS" or number != package or _BLOB.size + length + _TAIL > size:
        raise MalformedError("a package that is none")
    return content[start + _BLOB.size : start + _BLOB.size + length]
