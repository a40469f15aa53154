"""RPM databases as bytes: headers, and the three containers they stand in.

SQLite's container is written by SQLite. For ndb (rpm's lib/backend/ndb/rpmpkg.c) and Berkeley DB hashes (dbinc/db_page.h)
there is no library to rely on, so they are written here from their layouts, and held against real tools in
tests/workers/inventory/rpm/test_real_tools.py.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

from workers.inventory.rpm.header import Tag

ByteOrder = Literal["<", ">"]
_INT32, _STRING, _STRINGS = 4, 6, 8
_SHA256 = 8  # of OpenPGP
_PAGE_HEAD = 26


def header(
    name: str,
    version: str = "1.0",
    release: str = "1",
    *,
    epoch: int | None = None,
    arch: str = "x86_64",
    sourcerpm: str | None = None,
    licence: str = "MIT",
    module: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> bytes:
    """`files` are absolute paths and contents; only their digests are stored."""
    source = f"{name}-{version}-{release}.src.rpm" if sourcerpm is None else sourcerpm
    texts = {
        Tag.NAME: name,
        Tag.VERSION: version,
        Tag.RELEASE: release,
        Tag.ARCH: arch,
        Tag.LICENSE: licence,
        Tag.SOURCERPM: source,
        Tag.MODULARITYLABEL: module or "",
    }
    tags: dict[Tag, tuple[int, list[str] | list[int]]] = {tag: (_STRING, [text]) for tag, text in texts.items() if text}
    if epoch is not None:
        tags[Tag.EPOCH] = (_INT32, [epoch])
    if files:
        directories = sorted({path.rpartition("/")[0] + "/" for path in files})
        tags |= {
            Tag.DIRNAMES: (_STRINGS, directories),
            Tag.BASENAMES: (_STRINGS, [path.rpartition("/")[2] for path in files]),
            Tag.DIRINDEXES: (_INT32, [directories.index(path.rpartition("/")[0] + "/") for path in files]),
            Tag.FILEDIGESTS: (_STRINGS, [hashlib.sha256(content).hexdigest() for content in files.values()]),
            Tag.FILEDIGESTALGO: (_INT32, [_SHA256]),
        }
    return header_of(tags)


def header_of(tags: Mapping[Tag, tuple[int, list[str] | list[int]]]) -> bytes:
    """A header of tags with their type and values."""
    entries, data = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        if kind == _INT32:
            data += b"\0" * (-len(data) % 4)
        entries += struct.pack(">IIII", tag, kind, len(data), len(values))
        for value in values:
            data += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(tags), len(data)) + entries + data


def sqlite_database(directory: Path, headers: Sequence[bytes], *, page_size: int = 4096) -> bytes:
    """The file rpm would have, without the indexes. `directory` is scratch space."""
    path = directory / "rpmdb.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {page_size}")
        create_tables(database)
        database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(each,) for each in headers])
        database.commit()
    return path.read_bytes()


def create_tables(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
    database.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")


def ndb_database(headers: Sequence[bytes]) -> bytes:
    pages = (len(headers) + 2) * 16 // 4096 + 1
    slots, blobs = b"", b""
    for index, each in enumerate(headers, 1):
        size = -(-(16 + len(each) + 12) // 16) * 16
        slots += struct.pack("<4sIII", b"Slot", index, (pages * 4096 + len(blobs)) // 16, size // 16)
        blob = (struct.pack("<4sIII", b"BlbS", index, 0, len(each)) + each).ljust(size - 12, b"\0")
        blobs += blob + struct.pack("<II4s", zlib.adler32(blob), len(each), b"BlbE")
    head = struct.pack("<4sIIII", b"RpmP", 0, 1, pages, len(headers) + 1).ljust(32, b"\0")
    empty = struct.pack("<4sIII", b"Slot", 0, 0, 0) * ((pages * 4096 - len(head) - len(slots)) // 16)
    return head + slots + empty + blobs


def berkeley_database(headers: Sequence[bytes], *, order: ByteOrder = "<", page_size: int = 4096) -> bytes:
    """Every header is on a chain of pages of its own, as real ones are, unless it is shorter than a quarter of a page."""
    pages: list[bytes] = []
    items: list[tuple[bytes, bytes]] = [(bytes(4), struct.pack(f"{order}I", len(headers)))]
    first_of_chains = 1 + -(-(len(headers) + 1) // _PAIRS)
    for number, each in enumerate(headers, 1):
        key = struct.pack(f"{order}I", number)
        if len(each) < page_size // 8:
            items.append((key, b"\1" + each))
            continue
        items.append((key, struct.pack(f"{order}BxxxII", 3, first_of_chains + len(pages), len(each))))
        pages += _chain(each, first_of_chains + len(pages), order, page_size)
    items[0] = (items[0][0], b"\1" + items[0][1])
    hashed = [
        _hash_page(items[start : start + _PAIRS], 1 + start // _PAIRS, order, page_size)
        for start in range(0, len(items), _PAIRS)
    ]
    content = [_metadata(len(hashed) + len(pages), len(hashed), order, page_size), *hashed, *pages]
    return b"".join(content)


_PAIRS = 6  # of key and value on one page


def _metadata(last_page: int, buckets: int, order: ByteOrder, page_size: int) -> bytes:
    """A page for every bucket, so each is one behind the number of its bucket."""
    head = struct.pack(f"{order}8xIIIIBBxx", 0, 0x061561, 9, page_size, 0, 8)
    mask = (1 << (buckets - 1).bit_length()) - 1
    table = struct.pack(f"{order}II36xIIIIII", 0, last_page, buckets - 1, mask, mask >> 1, 0, 0, 0)
    return (head + table + struct.pack(f"{order}I", 1) * 32).ljust(page_size, b"\0")


def _hash_page(items: Sequence[tuple[bytes, bytes]], number: int, order: ByteOrder, page_size: int) -> bytes:
    stored, offsets = b"", []
    for item in [part for key, value in items for part in (b"\1" + key, value)]:
        stored = item + stored
        offsets.append(page_size - len(stored))
    head = struct.pack(f"{order}8xIIIHHBB", number, 0, 0, len(offsets), offsets[-1], 0, 13)
    head += struct.pack(f"{order}{len(offsets)}H", *offsets)
    return head + bytes(page_size - len(head) - len(stored)) + stored


def _chain(value: bytes, number: int, order: ByteOrder, page_size: int) -> list[bytes]:
    room = page_size - _PAGE_HEAD
    parts = [value[start : start + room] for start in range(0, len(value), room)]
    return [
        (
            struct.pack(
                f"{order}8xIIIHHBB",
                number + index,
                0,
                number + index + 1 if index + 1 < len(parts) else 0,
                1,
                len(part),
                0,
                7,
            )
            + part
        ).ljust(page_size, b"\0")
        for index, part in enumerate(parts)
    ]
