from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.rpm import header, header_of
from workers.inventory.rpm.header import Header, Tag
from workers.inventory.rpm.malformed import MalformedError


def test_tags_of_every_type() -> None:
    read = Header(header("bash", "5.1.8", "9.el9", epoch=2, files={"/usr/bin/bash": b"", "/etc/skel/.bashrc": b""}))
    assert (read.text(Tag.NAME), read.text(Tag.SOURCERPM)) == ("bash", "bash-5.1.8-9.el9.src.rpm")
    assert (read.number(Tag.EPOCH), read.numbers(Tag.DIRINDEXES)) == (2, (1, 0))
    assert read.texts(Tag.DIRNAMES) == [b"/etc/skel/", b"/usr/bin/"]
    assert read.texts(Tag.BASENAMES) == [b"bash", b".bashrc"]


def test_a_missing_tag_is_empty() -> None:
    read = Header(header("bash"))
    assert (read.text(Tag.MODULARITYLABEL), read.number(Tag.EPOCH), read.texts(Tag.BASENAMES)) == ("", None, [])


@pytest.mark.parametrize(
    ("blob", "problem"),
    [
        (b"", "a header that is cut off"),
        (header("bash")[:-1], "a header that is cut off"),
        (struct.pack(">II", 0x10000, 0) + bytes(0x100000), "a header that is cut off"),
        (struct.pack(">IIIIII", 1, 1, Tag.NAME, 6, 1, 1) + b"\0", "a tag that leads out of its header"),
        (struct.pack(">IIIIII", 1, 1, Tag.NAME, 6, 0, 2_000_000) + b"\0", "a tag that leads out of its header"),
        (struct.pack(">IIIIII", 1, 4, Tag.NAME, 6, 0, 1) + b"bash", "a text without an end"),
        (struct.pack(">IIIIII", 1, 10_000, Tag.NAME, 6, 0, 1) + b"b" * 9999 + b"\0", "a text without an end"),
        (header_of({Tag.NAME: (4, [1])}), "a tag of another type than its own"),
    ],
)
def test_what_is_no_header(blob: bytes, problem: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Header(blob).text(Tag.NAME)
    assert str(caught.value) == problem


def test_lists_do_not_lead_out_of_the_header() -> None:
    numbers = Header(struct.pack(">IIIIII", 1, 4, Tag.DIRINDEXES, 4, 0, 2) + bytes(4))
    texts = Header(struct.pack(">IIIIII", 1, 4, Tag.BASENAMES, 8, 0, 5) + bytes(4) + b"\0\0\0")
    with pytest.raises(MalformedError):
        numbers.numbers(Tag.DIRINDEXES)
    with pytest.raises(MalformedError):
        texts.texts(Tag.BASENAMES)


@settings(deadline=None)
@given(st.data())
def test_nothing_else_is_raised(data: st.DataObject) -> None:
    blob = bytearray(header("bash", epoch=1, files={"/usr/bin/bash": b""}))
    for _ in range(data.draw(st.integers(0, 6))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = Header(bytes(blob[: data.draw(st.integers(0, len(blob)))]))
        for tag in Tag:
            for value in (read.text, read.texts, read.numbers):
                try:
                    value(tag)
                except MalformedError:
                    continue
    except MalformedError:
        return
