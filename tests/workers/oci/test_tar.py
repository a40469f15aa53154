"""The tar reader against the standard library's writer, and against headers nobody should write."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.scans.failures import FailureCode, ScanFailure
from tests.factories.images import Directory, Entry, File, Hardlink, Special, Symlink, tar
from workers.oci.limits import MIB, Budget, ImageLimits
from workers.oci.tar import EntryKind, TarReader

LIMITS = ImageLimits()


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def read(data: bytes, *, block: int = 1 << 18, limits: ImageLimits = LIMITS, absolute: bool = True) -> dict[str, bytes]:
    reader = TarReader(blocks(data, block), Budget(limits), absolute=absolute)
    return {entry.name: reader.read() for entry in reader if entry.kind is EntryKind.FILE}


def failure(data: bytes, limits: ImageLimits = LIMITS) -> FailureCode:
    with pytest.raises(ScanFailure) as caught:
        read(data, limits=limits)
    return caught.value.code


def header(name: bytes = b"a", *, flag: bytes = b"0", size: bytes = b"", link: bytes = b"", rest: bytes = b"") -> bytes:
    """A header as bytes, with its checksum: `rest` starts at the magic."""
    raw = bytearray(512)
    for at, value in ((0, name), (124, size), (148, b" " * 8), (156, flag), (157, link), (257, rest or b"ustar\x0000")):
        raw[at : at + len(value)] = value
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes, **changes: bytes) -> bytes:
    return header(name, size=b"%011o" % len(data), **changes) + padded(data)


def pax(**records: bytes | str) -> bytes:
    content = b""
    for key, value in records.items():
        record = b" " + key.replace("__", ".").encode() + b"=" + (value if isinstance(value, bytes) else value.encode())
        length = len(record) + 1
        while len(str(length)) + len(record) + 1 != length:
            length = len(str(length)) + len(record) + 1
        content += str(length).encode() + record + b"\n"
    return file(b"pax", content, flag=b"x")


END = bytes(1024)


@pytest.mark.parametrize("block", [1, 7, 511, 512, 513, 4096])
def test_blocks_of_any_size(block: int) -> None:
    files: dict[str, Entry] = {"a": b"1" * 1000, "n" * 200: b"2", "d/": Directory(), "b": b"", "c": b"3" * 512}
    assert read(tar(files), block=block) == {"a": b"1" * 1000, "n" * 200: b"2", "b": b"", "c": b"3" * 512}


def test_entries_of_every_kind() -> None:
    data = tar(
        {
            "f": b"1",
            "d/": Directory(),
            "s": Symlink("../x"),
            "h": Hardlink("./d//f"),
            "c": Special(),
            "p": Special(tarfile.FIFOTYPE),
        }
    )
    entries = [(entry.kind.name, *entry[1:4]) for entry in TarReader(blocks(data, 512), Budget(LIMITS))]
    assert entries == [
        ("FILE", "f", "", 1),
        ("DIRECTORY", "d", "", 0),
        ("SYMLINK", "s", "../x", 0),
        ("HARDLINK", "h", "d/f", 0),
        ("OTHER", "c", "", 0),
        ("OTHER", "p", "", 0),
    ]


def test_unread_content_is_passed_over_by_reading_or_seeking() -> None:
    data = tar({"a": bytes(10_000), "b": b"2", "c": bytes(2000), "d": b"4"})
    stream = io.BytesIO(data)
    sought = TarReader(
        iter(lambda: stream.read(700), b""), Budget(LIMITS), skip=lambda count: void(stream.seek(count, io.SEEK_CUR))
    )
    for reader in (TarReader(blocks(data, 700), Budget(LIMITS)), sought):
        places = {entry.name: (reader.position, entry.size) for entry in reader}
        assert {name: data[at : at + size] for name, (at, size) in places.items()} == read(data)


def void(_value: object) -> None:
    pass


@pytest.mark.parametrize("block", [1, 512, 4096])
def test_the_head_of_a_file_can_be_looked_at(block: int) -> None:
    data = tar({"a": b"1234" * 300, "b": b"56", "empty": b"", "c": b"789"})
    reader, heads = TarReader(blocks(data, block), Budget(ImageLimits(memory_bytes=2))), {}
    for entry in reader:
        heads[entry.name] = [reader.head(3), reader.head(600)[:8], reader.head(1)]
        if entry.name == "b":
            assert reader.read() == b"56"
    assert heads == {
        "a": [b"123", b"12341234", b"1"],
        "b": [b"56", b"56", b"5"],
        "empty": [b"", b"", b""],
        "c": [b"789", b"789", b"7"],
    }


def test_modes() -> None:
    data = tar({"a": File(b"1", mode=0o104755), "b": File(b"", mode=0o2644)})
    assert [entry.mode for entry in TarReader(blocks(data, 512), Budget(LIMITS))] == [0o4755, 0o2644]


def test_old_directories_end_in_a_slash() -> None:
    data = header(b"dir/", flag=b"\0", size=b"777", rest=b"\0") + file(b"dir/a", b"1", rest=b"\0", flag=b"\0") + END
    assert read(data) == {"dir/a": b"1"}


def test_contiguous_files_and_unknown_types() -> None:
    assert read(file(b"a", b"1", flag=b"7") + file(b"v", b"label", flag=b"V") + file(b"b", b"2") + END) == {
        "a": b"1",
        "b": b"2",
    }


def test_numbers_in_every_spelling() -> None:
    for size in (b"00000000003\0", b"00000000003", b"          3 ", b"3\0", b"\x80" + bytes(10) + b"\x03"):
        assert read(header(b"a", size=size) + padded(b"abc") + END) == {"a": b"abc"}
    for size in (
        b"-0000000003",
        b"0x3",
        b"0o3",
        b"3_0",
        b"8",
        b"\xff" * 12,
        b"\x80" + b"\xff" * 11,
        b"\xc0" + bytes(11),
    ):
        assert failure(header(b"a", size=size) + padded(b"abc") + END) is FailureCode.IMAGE_INVALID


def test_a_signed_checksum_is_accepted_and_a_wrong_one_is_not() -> None:
    raw = bytearray(file("ü".encode(), b"1"))
    signed = sum(memoryview(bytes(raw[:148]) + b" " * 8 + bytes(raw[156:512])).cast("b"))
    raw[148:156] = b"%06o\0 " % signed
    assert read(bytes(raw) + END) == {"ü": b"1"}
    raw[148:156] = b"%06o\0 " % (signed + 1)
    assert failure(bytes(raw) + END) is FailureCode.IMAGE_INVALID


def test_the_star_dialect_has_a_shorter_prefix() -> None:
    rest = bytearray(255)
    rest[0:8] = b"ustar\x0000"
    rest[88:92] = b"dir\0"
    rest[219:230] = b"15000000000"  # a time where ustar has its prefix
    rest[251:255] = b"tar\0"
    assert read(file(b"a", b"1", rest=bytes(rest)) + END) == {"dir/a": b"1"}


def test_links_and_directories_have_no_content_whatever_they_claim() -> None:
    """Readers that disagree on this see different files: what hides behind a claimed size must be seen."""
    for flag in (b"1", b"2", b"3", b"4", b"5", b"6"):
        data = header(b"d", flag=flag, size=b"512", link=b"x") + file(b"seen", b"1") + END
        assert read(data) == {"seen": b"1"}
        assert read(pax(size="512") + header(b"d", flag=flag, link=b"x") + file(b"seen", b"1") + END) == {"seen": b"1"}


def test_the_size_in_a_pax_header_wins() -> None:
    hidden = file(b"hidden", b"evil")
    carrier = header(b"a", size=b"0") + padded(hidden)
    assert read(pax(size=str(len(hidden))) + carrier + file(b"b", b"2") + END) == {"a": hidden, "b": b"2"}


def test_global_headers_change_nothing() -> None:
    data = pax(path="other", size="9")
    flagged = header(b"g", flag=b"g", size=data[124:136]) + data[512:]
    assert read(flagged + file(b"a", b"1") + END) == {"a": b"1"}


def test_extended_headers_add_up_and_end_with_their_entry() -> None:
    long_name = file(b"././@LongLink", b"n" * 150 + b"\0", flag=b"L")
    long_link = file(b"././@LongLink", b"l" * 150 + b"\0", flag=b"K")
    data = long_link + long_name + header(b"short", flag=b"2", link=b"short") + file(b"b", b"2") + END
    first, second = TarReader(blocks(data, 512), Budget(LIMITS))
    assert (first.name, first.link, second.name) == ("n" * 150, "l" * 150, "b")
    assert read(pax(path="") + file(b"a", b"1") + END) == {"a": b"1"}


class TestSparse:
    """Files with holes in the formats of GNU tar; the expected bytes follow from its manual."""

    CONTENT = b"A" * 512 + bytes(1024) + b"B" * 100 + bytes(412)

    def gnu(self, pieces: list[tuple[int, int]], size: int, more: bytes = b"") -> bytes:
        rest = bytearray(255)
        rest[0:8] = b"ustar  \0"
        for number, (offset, length) in enumerate(pieces):
            rest[129 + 24 * number : 153 + 24 * number] = b"%011o\0%011o\0" % (offset, length)
        rest[225] = 1 if more else 0
        rest[226:238] = b"%011o\0" % size
        stored = b"A" * 512 + b"B" * 100
        return header(b"sparse", flag=b"S", size=b"%011o" % len(stored), rest=bytes(rest)) + more + padded(stored)

    def test_gnu(self) -> None:
        data = self.gnu([(0, 512), (1536, 100), (2048, 0)], 2048) + file(b"b", b"2") + END
        assert read(data) == {"sparse": self.CONTENT, "b": b"2"}

    def test_gnu_with_a_continued_map(self) -> None:
        more = padded(b"%011o\0%011o\0" % (1536, 100) + b"%011o\0%011o\0" % (2048, 0))
        data = self.gnu([(0, 512)], 2048, more) + file(b"b", b"2") + END
        assert read(data) == {"sparse": self.CONTENT, "b": b"2"}

    def test_pax_0_0(self) -> None:
        """Repeats its keys, so the records are written one by one."""
        records = b"".join(
            part[512 : 512 + int(part[512:].split(b" ")[0])]
            for part in (
                pax(GNU__sparse__size="2048"),
                pax(GNU__sparse__numblocks="2"),
                pax(GNU__sparse__offset="0"),
                pax(GNU__sparse__numbytes="512"),
                pax(GNU__sparse__offset="1536"),
                pax(GNU__sparse__numbytes="100"),
            )
        )
        data = file(b"pax", records, flag=b"x") + file(b"sparse", b"A" * 512 + b"B" * 100) + END
        assert read(data) == {"sparse": self.CONTENT}

    def test_pax_0_1(self) -> None:
        about = pax(GNU__sparse__name="sparse", GNU__sparse__size="2048", GNU__sparse__map="0,512,1536,100")
        assert read(about + file(b"x", b"A" * 512 + b"B" * 100) + END) == {"sparse": self.CONTENT}

    def test_pax_1_0(self) -> None:
        about = pax(
            GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__name="sparse", GNU__sparse__realsize="2048"
        )
        stored = padded(b"2\n0\n512\n1536\n100\n") + b"A" * 512 + b"B" * 100
        assert read(about + file(b"x", stored) + file(b"b", b"2") + END) == {"sparse": self.CONTENT, "b": b"2"}

    def test_t50_huge_logical_size(self) -> None:
        terabyte = str(1 << 40)
        about = pax(GNU__sparse__major="1", GNU__sparse__realsize=terabyte)
        assert failure(about + file(b"x", padded(b"0\n")) + END) is FailureCode.LIMIT_EXCEEDED
        assert failure(self.gnu([(0, 512)], (1 << 33) - 1) + END) is FailureCode.LIMIT_EXCEEDED
        below = pax(GNU__sparse__major="1", GNU__sparse__realsize=str(1 << 31)) + file(b"x", padded(b"0\n")) + END
        assert failure(below) is FailureCode.LIMIT_EXCEEDED  # of memory, when it is read

    @pytest.mark.parametrize(
        "pieces", ["0", "0,512,100,612", "1536,100,0,512", "0,9999", "2000,100", "x,1", "0,-1", "0,512,1536,101"]
    )
    def test_maps_that_do_not_fit(self, pieces: str) -> None:
        about = pax(GNU__sparse__size="2048", GNU__sparse__map=pieces)
        assert failure(about + file(b"x", b"A" * 612) + END) is FailureCode.IMAGE_INVALID

    @pytest.mark.parametrize("stored", [b"", b"x", b"2\n0\n", b"1\n0\n9\n", b"-1\n", b"9" * 30])
    def test_leading_maps_that_do_not_fit(self, stored: bytes) -> None:
        about = pax(GNU__sparse__major="1", GNU__sparse__realsize="4")
        assert failure(about + file(b"x", stored) + END) is FailureCode.IMAGE_INVALID

    def test_t50_endless_maps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workers.oci.tar._SPARSE_PIECES", 10)
        many = pax(GNU__sparse__size="99", GNU__sparse__map=",".join(["0"] * 40)) + file(b"x", b"") + END
        assert failure(many) is FailureCode.LIMIT_EXCEEDED
        leading = pax(GNU__sparse__major="1", GNU__sparse__realsize="4") + file(b"x", b"11\n" + b"0\n" * 22) + END
        assert failure(leading) is FailureCode.LIMIT_EXCEEDED
        record = b"%011o\0%011o\0" % (0, 0) * 21 + b"\x01" + bytes(7)
        assert failure(self.gnu([(0, 1)], 4, record * 3) + END) is FailureCode.LIMIT_EXCEEDED


class TestRefusals:
    @pytest.mark.parametrize("name", [b"..", b"../a", b"a/../../b", b"./..", b"/..", b"a/..//../b"])
    def test_t50_names_that_lead_out(self, name: bytes) -> None:
        assert failure(file(name, b"1") + END) is FailureCode.UNSAFE_ARCHIVE
        assert failure(header(b"a", flag=b"1", link=name) + END) is FailureCode.UNSAFE_ARCHIVE
        assert failure(pax(path=name) + file(b"a", b"1") + END) is FailureCode.UNSAFE_ARCHIVE
        assert failure(file(b"L", name + b"\0", flag=b"L") + file(b"a", b"1") + END) is FailureCode.UNSAFE_ARCHIVE

    def test_t50_absolute_names_are_relative_to_the_root_or_refused(self) -> None:
        data = file(b"/etc/passwd", b"1") + END
        assert read(data) == {"etc/passwd": b"1"}
        with pytest.raises(ScanFailure) as caught:
            read(data, absolute=False)
        assert caught.value.code is FailureCode.UNSAFE_ARCHIVE

    @pytest.mark.parametrize("name", [b"", b".", b"./", b"/", b"a/.."])
    def test_t50_entries_without_a_name(self, name: bytes) -> None:
        for flag in (b"0", b"1", b"2", b"3"):
            assert failure(header(name, flag=flag, link=b"x") + END) is FailureCode.UNSAFE_ARCHIVE
        assert read(header(name, flag=b"5") + file(b"a", b"1") + END) == {"a": b"1"}

    @pytest.mark.parametrize("link", [b"", b"."])
    def test_t50_links_to_nowhere(self, link: bytes) -> None:
        assert failure(header(b"a", flag=b"1", link=link) + END) is FailureCode.UNSAFE_ARCHIVE
        if not link:
            assert failure(header(b"a", flag=b"2", link=link) + END) is FailureCode.UNSAFE_ARCHIVE

    def test_t50_truncation_anywhere(self) -> None:
        whole = pax(path="long") + file(b"a", b"x" * 700)
        for size in range(1, len(whole)):
            assert failure(whole[:size]) is FailureCode.IMAGE_INVALID
        assert read(whole) == {"long": b"x" * 700}

    def test_a_header_of_zeros_in_the_middle(self) -> None:
        assert failure(file(b"a", b"1") + bytes(512) + file(b"b", b"2") + END) is FailureCode.IMAGE_INVALID
        assert read(file(b"a", b"1") + bytes(512)) == {"a": b"1"}

    @pytest.mark.parametrize(
        "content", [b"x", b"5 a=\n ", b"99 path=a\n", b"0 path=a\n", b"path=a\n", b"-9 path=a\n", b"9 path=abc"]
    )
    def test_malformed_pax_records(self, content: bytes) -> None:
        content = content if b"path=" in content else content + b"size="
        data = file(b"pax", content, flag=b"x") + file(b"a", b"1") + END
        assert failure(data) is FailureCode.IMAGE_INVALID

    def test_malformed_pax_values(self) -> None:
        for records in ({"size": "-1"}, {"size": "1e3"}, {"size": "9" * 40}, {"path": "a\0b"}, {"linkpath": "\0"}):
            assert failure(pax(**records) + file(b"a", b"1") + END) is FailureCode.IMAGE_INVALID

    def test_t50_pax_flood(self) -> None:
        """Headers about headers, each allowed, all together too much."""
        flood = pax(comment="x" * 2000) * 40 + file(b"a", b"1") + END
        assert failure(flood, ImageLimits(header_bytes=50_000)) is FailureCode.LIMIT_EXCEEDED
        assert failure(flood, ImageLimits(entries=20)) is FailureCode.LIMIT_EXCEEDED
        assert read(flood) == {"a": b"1"}

    def test_t50_one_large_extended_header(self) -> None:
        for flag in (b"x", b"g", b"L", b"K"):
            claimed = header(b"x", flag=flag, size=b"%011o" % (MIB + 1))
            assert failure(claimed + END) is FailureCode.LIMIT_EXCEEDED

    def test_t50_long_paths(self) -> None:
        assert failure(pax(path="a/" * 3000) + file(b"a", b"1") + END) is FailureCode.LIMIT_EXCEEDED
        assert failure(pax(linkpath="a/" * 3000) + header(b"a", flag=b"2") + END) is FailureCode.LIMIT_EXCEEDED
        assert failure(file(b"L", b"a/" * 3000, flag=b"L") + file(b"a", b"1") + END) is FailureCode.LIMIT_EXCEEDED

    def test_t50_large_files(self) -> None:
        limits = ImageLimits(file_bytes=1000, memory_bytes=1500)
        assert failure(file(b"a", bytes(1001)) + END, limits) is FailureCode.LIMIT_EXCEEDED
        assert failure(header(b"a", size=b"\x80" + bytes(4) + b"\x7f" * 7) + END) is FailureCode.LIMIT_EXCEEDED
        assert failure(file(b"a", bytes(1000)) + file(b"b", bytes(1000)) + END, limits) is FailureCode.LIMIT_EXCEEDED

    def test_t50_very_many_entries(self) -> None:
        limits = ImageLimits(entries=1000)
        endless = Budget(limits)
        one = file(b"a", b"")
        with pytest.raises(ScanFailure) as caught:
            for _ in TarReader(iter(lambda: one, b""), endless):
                pass
        assert caught.value.code is FailureCode.LIMIT_EXCEEDED

    def test_an_extended_header_about_nothing(self) -> None:
        assert failure(pax(path="a") + END) is FailureCode.IMAGE_INVALID


_NAMES = st.text("abcdefü./", min_size=1, max_size=130).filter(
    lambda name: ".." not in name and name.strip("./") and name == name.strip("/") and name.strip()
)


@settings(deadline=None)
@given(st.dictionaries(_NAMES, st.binary(max_size=1500), max_size=6), st.sampled_from([0, 1, 2]), st.integers(1, 3000))
def test_what_the_standard_library_writes_is_read(files: dict[str, bytes], style: int, block: int) -> None:
    try:
        data = tar(list(files.items()), style=style)
    except ValueError:  # the plain format has no room for the name
        return
    expected = {"/".join(part for part in name.split("/") if part not in {"", "."}): files[name] for name in files}
    assert read(data, block=block) == expected


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 511), st.integers(0, 255)), min_size=1, max_size=6),
    st.sampled_from([b"0", b"1", b"2", b"5", b"S", b"x", b"L", b"K", b"g", b"\0", b"7", b"V"]),
)
def test_mutated_headers_end_in_entries_or_a_scan_failure(changes: list[tuple[int, int]], flag: bytes) -> None:
    raw = bytearray(header(b"name", flag=flag, size=b"%011o" % 20, link=b"target"))
    for at, value in changes:
        raw[at] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    data = (
        pax(path="p", GNU__sparse__size="30", GNU__sparse__map="0,10,20,10")
        + bytes(raw)
        + padded(b"20 path=0123456789\n\n")
    )
    try:
        read(data + file(b"b", b"2") + END)
    except ScanFailure as expected:
        assert expected.message  # noqa: PT017 -- any other exception fails the test
