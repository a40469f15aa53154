from __future__ import annotations

import sqlite3
import struct
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.rpm import create_tables, header, sqlite_database
from tests.workers.inventory.rpm.corruption import corrupted
from workers.inventory.rpm.malformed import MalformedError
from workers.inventory.rpm.sqlite import read_sqlite

# Some within a page, some on chains of pages, enough for a tree of two levels.
HEADERS = [header(f"package-{number}", licence="x" * number * 20) for number in range(80)]
INSERT = "INSERT INTO Packages (blob) VALUES (?)"
PAGE = 512


def build(page_size: int = PAGE) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        return sqlite_database(Path(directory), HEADERS, page_size=page_size)


DATABASE = build()


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
def test_the_headers_of_all_packages(page_size: int) -> None:
    assert list(read_sqlite(build(page_size))) == HEADERS


def test_the_largest_payload_that_fits_and_the_smallest_that_does_not(tmp_path: Path) -> None:
    """Around each border between a page and its overflow, for which the format has a formula."""
    blobs = [b"x" * size for size in [*range(1, 4), *range(430, 520), *range(930, 1040)]]
    assert list(read_sqlite(sqlite_database(tmp_path, blobs, page_size=512))) == blobs


def test_a_database_with_pages_that_are_free_again(tmp_path: Path) -> None:
    path = tmp_path / "rpmdb.sqlite"
    path.write_bytes(DATABASE)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DELETE FROM Packages WHERE hnum % 3 = 0")
        database.commit()
    assert list(read_sqlite(path.read_bytes())) == [each for number, each in enumerate(HEADERS, 1) if number % 3]


@pytest.fixture
def logged(tmp_path: Path) -> tuple[bytes, bytes]:
    """A database and its write-ahead log, taken while the writer still has both open."""
    path = tmp_path / "rpmdb.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        create_tables(database)
        database.executemany(INSERT, [(each,) for each in HEADERS[:40]])
        database.commit()
        database.execute("PRAGMA wal_checkpoint(RESTART)")
        database.executemany(INSERT, [(each,) for each in HEADERS[40:]])
        database.commit()
        return path.read_bytes(), path.with_name("rpmdb.sqlite-wal").read_bytes()


def test_what_is_still_in_the_log_counts(logged: tuple[bytes, bytes]) -> None:
    content, log = logged
    assert list(read_sqlite(content)) == HEADERS[:40]
    assert list(read_sqlite(content, log)) == HEADERS
    assert list(read_sqlite(content, log[:-1])) == HEADERS[:40]  # without its last frame nothing is committed


def test_a_frame_with_a_wrong_checksum_ends_the_log(logged: tuple[bytes, bytes]) -> None:
    content, log = logged
    broken = bytearray(log)
    broken[40 + 24 + 100] ^= 1
    assert list(read_sqlite(content, bytes(broken))) == HEADERS[:40]
    assert list(read_sqlite(content, b"nonsense" * 10)) == HEADERS[:40]


def test_a_view_in_place_of_the_table_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "rpmdb.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            "CREATE VIEW Packages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i, i FROM n"
        )
    with pytest.raises(MalformedError, match="no table of packages"):
        list(read_sqlite(path.read_bytes()))


def changed(at: int, value: bytes) -> bytes:
    return DATABASE[:at] + value + DATABASE[at + len(value) :]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "no such database"),
        (b"SQLite format 2" + DATABASE[15:], "no such database"),
        (changed(16, struct.pack(">H", 600)), "no such database"),
        (changed(20, b"\xff"), "no such database"),  # reserved bytes of a page
        (changed(100, b"\x0a"), "a page that is none of a table"),
        (changed(103, b"\xff\xff"), "a page that is none of a table"),
        (changed(108, b"\xff\xff"), "a number that is cut off"),  # offset of a cell
        (DATABASE[:PAGE], "a page that does not exist"),
    ],
)
def test_what_is_no_database(content: bytes, problem: str) -> None:
    with pytest.raises(MalformedError) as caught:
        list(read_sqlite(content))
    assert str(caught.value) == problem


def test_pages_that_lead_to_themselves_are_not_followed() -> None:
    root = next(start for start in range(PAGE, len(DATABASE), PAGE) if DATABASE[start] == 5)
    with pytest.raises(MalformedError, match="in two places"):
        list(read_sqlite(changed(root + 8, struct.pack(">I", root // PAGE + 1))))


def test_cells_that_overlap_do_not_multiply_a_row(tmp_path: Path) -> None:
    content = bytearray(sqlite_database(tmp_path, [b"x" * 40_000, b"y"], page_size=65536))
    leaf = next(start for start in range(65536, len(content), 65536) if content[start + 3 : start + 5] == b"\0\2")
    cell = content[leaf + 8 : leaf + 10]
    content[leaf + 3 : leaf + 5] = struct.pack(">H", 1000)
    content[leaf + 8 : leaf + 2008] = cell * 1000
    with pytest.raises(MalformedError, match="outside of its page"):
        list(read_sqlite(bytes(content)))


@settings(deadline=None)
@given(corrupted(DATABASE) | st.binary(), st.binary())
def test_nothing_else_is_raised_and_nothing_is_read_twice(content: bytes, log: bytes) -> None:
    read = 0
    try:
        for blob in read_sqlite(content, log):
            read += len(blob)
    except MalformedError:
        pass
    assert read <= len(content) + len(log)
