from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.rpm import ByteOrder, berkeley_database, header
from tests.workers.inventory.rpm.corruption import corrupted
from workers.inventory.rpm.berkeley import read_berkeley
from workers.inventory.rpm.malformed import MalformedError

PAGE = 512
# Some on the pages of the hash, some on one page of their own, some on a chain of several.
HEADERS = [header(f"package-{number}", licence="x" * number * 50, arch="") for number in range(30)]
DATABASE = berkeley_database(HEADERS, page_size=PAGE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("page_size", [512, 4096, 32768])
def test_the_headers_of_all_packages(order: ByteOrder, page_size: int) -> None:
    assert list(read_berkeley(berkeley_database(HEADERS, order=order, page_size=page_size))) == HEADERS
    assert list(read_berkeley(berkeley_database([], order=order, page_size=page_size))) == []


def changed(at: int, value: bytes) -> bytes:
    return DATABASE[:at] + value + DATABASE[at + len(value) :]


def first(kind: int) -> int:
    """Where the first page of a type begins."""
    return next(start for start in range(0, len(DATABASE), PAGE) if DATABASE[start + 25] == kind)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "a file that is cut off"),
        (bytes(PAGE), "no such database"),
        (changed(20, struct.pack("<I", 100)), "no such database"),  # page size
        (changed(24, b"\1"), "no such database"),  # encrypted
        (changed(26, b"\1"), "no such database"),  # with checksums, which move what is behind them
        (DATABASE[:-PAGE], "a file that is cut off"),
        (changed(PAGE + 20, b"\xff\xff"), "a page that is none"),  # number of items
        (changed(PAGE + 26, b"\0\0"), "a page that is none"),  # offset of an item
        (changed(first(7) + 22, b"\xff\xff"), "a page that is none"),  # bytes in use
        (changed(first(7) + 22, b"\0\0"), "a value that is cut off"),
        (changed(first(7) + 25, b"\x05"), "a value on pages that are not its own"),
    ],
)
def test_what_is_no_database(content: bytes, problem: str) -> None:
    with pytest.raises(MalformedError) as caught:
        list(read_berkeley(content))
    assert str(caught.value) == problem


def test_a_chain_that_leads_to_itself_is_not_followed() -> None:
    page = first(7)
    with pytest.raises(MalformedError, match="not its own"):
        list(read_berkeley(changed(page + 16, struct.pack("<I", page // PAGE))))


@settings(deadline=None)
@given(corrupted(DATABASE) | st.binary())
def test_nothing_else_is_raised_and_nothing_is_read_twice(content: bytes) -> None:
    read = 0
    try:
        for blob in read_berkeley(content):
            read += len(blob)
    except MalformedError:
        pass
    assert read <= len(content)
