from __future__ import annotations

import io
import struct
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.jars import jar
from workers.inventory import zip as zip_module
from workers.inventory.zip import Allowance, AllowanceSpentError, DamagedArchiveError, ZipArchive

FILES: dict[str, bytes | str] = {"a.txt": "first " * 1000, "dir/b.bin": b"\0\1\2" * 100, "ä.txt": "", "c": b"last"}
MUCH = 10**9


def read(archive: bytes, *, allowed: int = MUCH) -> dict[str, bytes]:
    opened = ZipArchive(io.BytesIO(archive))
    allowance = Allowance(allowed)
    return {member.name: b"".join(opened.unpack(member, allowance)) for member in opened}


def expected() -> dict[str, bytes]:
    return {name: content.encode() if isinstance(content, str) else content for name, content in FILES.items()}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\nexec java -jar $0\n"])
def test_members(*, packed: bool, before: bytes) -> None:
    assert read(jar(FILES, packed=packed, before=before)) == expected()


def test_a_script_in_front_that_the_offsets_know_of() -> None:
    buffer = io.BytesIO(b"#!/bin/sh\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("a", b"content")
    assert read(buffer.getvalue()) == {"a": b"content"}


def test_a_streamed_archive_with_its_sizes_behind_the_data() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"content" * 100)
    assert read(pipe.data) == {"a": b"content" * 100}


def test_zip64() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(66_000):  # more than the old record can count
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    members = list(ZipArchive(io.BytesIO(buffer.getvalue())))
    assert (len(members), members[-1].name) == (66_000, "65999")


def test_a_member_of_zip64() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open(zipfile.ZipInfo("a"), "w", force_zip64=True) as member:
        member.write(b"content")
    data = bytearray(buffer.getvalue())
    at = data.rindex(b"PK\1\2")
    struct.pack_into("<2L", data, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    extra = struct.pack("<2H2Q", 1, 16, 7, 7)
    end = data.rindex(b"PK\5\6")
    struct.pack_into("<H", data, at + 30, len(extra))
    data[at + 47 : at + 47] = extra
    struct.pack_into("<L", data, end + len(extra) + 12, end - at + len(extra))
    assert read(bytes(data)) == {"a": b"content"}


def test_sizes_are_not_believed() -> None:
    """The directory says ten bytes; what is unpacked is what counts."""
    archive = bytearray(jar({"a": bytes(1_000_000)}))
    at = archive.rindex(b"PK\1\2")
    struct.pack_into("<L", archive, at + 24, 10)
    assert len(read(bytes(archive))["a"]) == 1_000_000
    with pytest.raises(AllowanceSpentError):
        read(bytes(archive), allowed=999_999)


def test_a_bomb_of_members_that_are_one_and_the_same() -> None:
    """Each entry of the directory points to the same data, so that a small file unpacks to any size."""
    archive = jar({"a": bytes(10_000_000)})
    at = archive.rindex(b"PK\1\2")
    end = archive.rindex(b"PK\5\6")
    entry = archive[at:end]
    many = bytearray(archive[:at] + entry * 1000 + archive[end:])
    struct.pack_into("<2H2L", many, len(many) - 14, 1000, 1000, len(entry) * 1000, at)
    allowance = Allowance(50_000_000)
    opened = ZipArchive(io.BytesIO(bytes(many)))
    members = list(opened)
    assert len(members) == 1000
    sizes = (len(block) for member in members for block in opened.unpack(member, allowance))
    with pytest.raises(AllowanceSpentError):
        max(sizes)


def test_too_many_members(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_module, "_MEMBERS", 3)
    assert len(list(ZipArchive(io.BytesIO(jar(dict.fromkeys("abc", "")))))) == 3
    with pytest.raises(DamagedArchiveError, match="more than 3 members"):
        list(ZipArchive(io.BytesIO(jar(dict.fromkeys("abcd", "")))))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-10],
        lambda data: data[-22:],  # a directory before the start of the file
        lambda data: data.replace(b"PK\1\2", b"PK\1\1"),
        lambda data: data.replace(b"PK\3\4", b"PK\3\3"),
        lambda data: data[:40] + b"\xff" * 60 + data[100:],
    ],
)
def test_damaged_archives(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(DamagedArchiveError):
        read(damage(jar({"a.txt": "".join(map(chr, range(32, 127))) * 20})))


def test_an_encrypted_member_is_not_unpacked() -> None:
    archive = bytearray(jar({"a": b"x"}))
    archive[archive.rindex(b"PK\1\2") + 8] |= 1
    with pytest.raises(DamagedArchiveError, match="encrypted"):
        read(bytes(archive))


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_no_archive_makes_it_raise_anything_else(data: st.DataObject) -> None:
    archive = bytearray(jar(FILES))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(archive) - 1) | st.integers(len(archive) - 250, len(archive) - 1))
        archive[at] = data.draw(st.sampled_from([0, 1, 0xFF]) | st.integers(0, 255))
    with suppress(DamagedArchiveError, AllowanceSpentError):
        read(bytes(archive), allowed=1_000_000)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.binary(max_size=500), max_size=5), st.booleans())
def test_it_reads_as_the_standard_library_writes(files: dict[str, bytes], packed: bool) -> None:  # noqa: FBT001
    names = {name for name in files if "\0" not in name and "/" not in name and name.isascii() and name}
    chosen = {name: files[name] for name in names}
    assert read(jar(chosen, packed=packed)) == chosen
