from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.rpm import header, ndb_database
from tests.workers.inventory.rpm.corruption import corrupted
from workers.inventory.rpm.malformed import MalformedError
from workers.inventory.rpm.ndb import read_ndb

HEADERS = [header(f"package-{number}", licence="x" * number * 7) for number in range(40)]
DATABASE = ndb_database(HEADERS)
FIRST_SLOT = 32


def test_the_headers_of_all_packages() -> None:
    assert list(read_ndb(DATABASE)) == HEADERS
    assert list(read_ndb(ndb_database([]))) == []


def test_more_packages_than_a_page_has_slots() -> None:
    many = [header(f"p{number}") for number in range(600)]
    assert list(read_ndb(ndb_database(many))) == many


def test_a_free_slot_is_none() -> None:
    erased = DATABASE[: FIRST_SLOT + 4] + bytes(12) + DATABASE[FIRST_SLOT + 16 :]
    assert list(read_ndb(erased)) == HEADERS[1:]


def slot(first: int, blocks: int) -> bytes:
    changed = struct.pack("<4sIII", b"Slot", 1, first, blocks)
    return DATABASE[:FIRST_SLOT] + changed + DATABASE[FIRST_SLOT + 16 :]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "a file that is cut off"),
        (b"RpmQ" + DATABASE[4:], "no such database"),
        (DATABASE[:4] + b"\1" + DATABASE[5:], "no such database"),
        (DATABASE[:12] + b"\xff\xff\xff\xff" + DATABASE[16:], "no such database"),
        (DATABASE[:FIRST_SLOT] + b"Slut" + DATABASE[FIRST_SLOT + 4 :], "a slot that is none"),
        (DATABASE[:-16], "a package that is cut off"),
        (slot(4096 // 16, 1), "a package that is cut off"),
        (slot(4096 // 16 + 1, 40), "a package that is none"),
        (slot(4096 // 16, 2**32 - 1), "packages that overlap"),
    ],
)
def test_what_is_no_database(content: bytes, problem: str) -> None:
    with pytest.raises(MalformedError) as caught:
        list(read_ndb(content))
    assert str(caught.value) == problem


def test_slots_that_share_a_package_do_not_multiply_it() -> None:
    large = ndb_database([header("large", licence="x" * 100_000)] + [header("small")] * 200)
    shared = large[FIRST_SLOT + 8 : FIRST_SLOT + 16]
    again = b"".join(struct.pack("<4sI", b"Slot", 1) + shared for _ in range(200))
    with pytest.raises(MalformedError, match="overlap"):
        list(read_ndb(large[:FIRST_SLOT] + again + large[FIRST_SLOT + len(again) :]))


@settings(deadline=None)
@given(corrupted(DATABASE) | st.binary())
def test_nothing_else_is_raised_and_nothing_is_read_twice(content: bytes) -> None:
    read = 0
    try:
        for blob in read_ndb(content):
            read += len(blob)
    except MalformedError:
        pass
    assert read <= len(content)
