"""Programs as files: ELF, PE and Mach-O, as far as it takes to find what compilers of Go and Rust left in them.

Only headers and the wanted sections are read, whatever the size of the program. Formats: the System V ABI (ELF),
Microsoft's "PE Format", Apple's `mach-o/loader.h`; Go's build information as `debug/buildinfo` of its standard library
reads it; Rust's as `cargo auditable` writes it into the section `.dep-v0`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, NamedTuple

MAGIC_SIZE = 4
_ELF = b"\x7fELF"
_PE = b"MZ"
_MACH = {b"\xfe\xed\xfa\xce": ">", b"\xfe\xed\xfa\xcf": ">", b"\xce\xfa\xed\xfe": "<", b"\xcf\xfa\xed\xfe": "<"}
_FAT = b"\xca\xfe\xba\xbe"  # also that of a Java class, which has a version of 45 and more where this has a count
_ARCHITECTURES = 20  # of one fat file
_HEADERS = 4096  # sections, segments or load commands that are looked at
_NAMES = 1024**2  # bytes of a table of section names

GO_SECTIONS = (".go.buildinfo", "__go_buildinfo")
GO_MAGIC = b"\xff Go buildinf:"
_GO_ALIGNMENT = 16
_GO_HEADER = 32
_GO_INLINE, _GO_BIG_ENDIAN = 2, 1  # flags
_GO_WINDOW = 1024**2  # bytes of a data segment in which the header is looked for
_GO_VERSION = 1000  # bytes
_GO_MODULES = 4 * 1024**2  # bytes; Kubernetes has 50 thousand
_GO_SENTINEL = 16  # bytes on each side of the text

RUST_SECTION = ".dep-v0"
_RUST_PACKED = 4 * 1024**2
_RUST_UNPACKED = 8 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildInformation:
    """What a program says it was built from. Empty texts where it says nothing."""

    go_version: str = ""  # "go1.21.3", or longer
    go_modules: str = ""  # lines of `runtime/debug.BuildInfo`
    rust: str = ""  # the JSON of `cargo auditable`


class _Section(NamedTuple):
    name: str
    offset: int
    size: int


class _Segment(NamedTuple):
    address: int
    offset: int
    size: int
    is_data: bool


class _Program(NamedTuple):
    sections: list[_Section]
    segments: list[_Segment]


class _UnreadableError(ValueError):
    """A header that does not fit its file."""


def is_executable(magic: bytes) -> bool:
    return magic.startswith((_ELF, _PE, _FAT, *_MACH))


def read_build_information(file: IO[bytes]) -> BuildInformation | None:
    """What is in the file, None where nothing is. Whatever the file holds, it does not raise."""
    found = BuildInformation()
    for start in _starts(file):
        try:
            window = _Window(file, start)
            program = _read_program(window)
            version, modules = _go(window, program)
            rust = _rust(window, program)
        except (_UnreadableError, struct.error):
            continue
        if version or rust:
            found = BuildInformation(go_version=version, go_modules=modules, rust=rust)
            break
    return found if found.go_version or found.rust else None


class _Window:
    """The file from where a program starts in it."""

    def __init__(self, file: IO[bytes], start: int) -> None:
        self._file = file
        self._start = start

    def read(self, offset: int, size: int) -> bytes:
        """As many of the bytes as there are."""
        if offset < 0 or offset >> 62:
            raise _UnreadableError
        self._file.seek(self._start + offset)
        return self._file.read(size)

    def unpack(self, form: str, offset: int) -> tuple[Any, ...]:
        return struct.unpack(form, self.read(offset, struct.calcsize(form)))


def _starts(file: IO[bytes]) -> Iterator[int]:
    """Where programs begin: at 0, or for each architecture of a fat file."""
    window = _Window(file, 0)
    head = window.read(0, 8)
    if not head.startswith(_FAT):
        yield 0
    elif len(head) == 8 and (count := int.from_bytes(head[4:])) <= _ARCHITECTURES:  # noqa: PLR2004 -- the size of the head
        table = window.read(8, 20 * count)
        for at in range(0, len(table) - 19, 20):
            yield int.from_bytes(table[at + 8 : at + 12])


def _read_program(window: _Window) -> _Program:
    magic = window.read(0, MAGIC_SIZE)
    if magic == _ELF:
        return _read_elf(window)
    if magic.startswith(_PE):
        return _read_pe(window)
    if magic in _MACH:
        return _read_mach(window, _MACH[magic])
    raise _UnreadableError


def _read_elf(window: _Window) -> _Program:
    wide, order = window.unpack("BB", 4)
    end = "<" if order == 1 else ">"
    if wide == 2:  # noqa: PLR2004 -- ELFCLASS64
        program_at, section_at = window.unpack(f"{end}QQ", 32)
        entries = window.unpack(f"{end}6H", 52)
        program_form, section_form = f"{end}IIQQQQQQ", f"{end}IIQQQQIIQQ"
    else:
        program_at, section_at = window.unpack(f"{end}II", 28)
        entries = window.unpack(f"{end}6H", 40)
        program_form, section_form = f"{end}8I", f"{end}10I"
    _, program_size, program_count, section_size, section_count, names = entries
    segments = []
    for row in _table(window, program_form, program_at, program_size, program_count):
        if wide == 2:  # noqa: PLR2004
            kind, flags, offset, address, _, size, _, _ = row
        else:
            kind, offset, address, _, size, _, flags, _ = row
        if kind == 1:  # PT_LOAD
            segments.append(_Segment(address, offset, size, flags & 3 == 2))  # noqa: PLR2004 -- writable, not executable
    rows = list(_table(window, section_form, section_at, section_size, section_count))
    table = window.read(rows[names][4], min(rows[names][5], _NAMES)) if names < len(rows) else b""
    sections = [_Section(_name(table, row[0]), row[4], row[5]) for row in rows if row[1] != 8]  # noqa: PLR2004 -- SHT_NOBITS
    return _Program(sections, segments)


def _table(window: _Window, form: str, offset: int, size: int, count: int) -> Iterator[tuple[Any, ...]]:
    needed = struct.calcsize(form)
    if count and size < needed:
        raise _UnreadableError
    data = window.read(offset, size * min(count, _HEADERS)) if count else b""
    for at in range(0, len(data) - needed + 1, size or 1):
        yield struct.unpack_from(form, data, at)


def _name(table: bytes, at: int) -> str:
    return table[at : at + 64].partition(b"\0")[0].decode("latin-1")


def _read_pe(window: _Window) -> _Program:
    (start,) = window.unpack("<I", 0x3C)
    if window.read(start, 4) != b"PE\0\0":
        raise _UnreadableError
    (count,) = window.unpack("<H", start + 6)
    (optional,) = window.unpack("<H", start + 20)
    (kind,) = window.unpack("<H", start + 24)
    (base,) = window.unpack("<Q", start + 48) if kind == 0x20B else window.unpack("<I", start + 52)  # noqa: PLR2004 -- PE32+
    sections, segments = [], []
    for row in _table(window, "<8sIIIIIIHHI", start + 24 + optional, 40, count):
        raw_name, _, address, size, offset, _, _, _, _, flags = row
        sections.append(_Section(raw_name.rstrip(b"\0").decode("latin-1"), offset, size))
        is_data = flags & 0xE0000040 == 0xC0000040  # noqa: PLR2004 -- initialised, readable, writable, not executable
        segments.append(_Segment(base + address, offset, size, is_data))
    return _Program(sections, segments)


def _read_mach(window: _Window, end: str) -> _Program:
    wide = window.read(0, 4) in {b"\xfe\xed\xfa\xcf", b"\xcf\xfa\xed\xfe"}
    (count,) = window.unpack(f"{end}I", 16)
    at = 32 if wide else 28
    sections: list[_Section] = []
    segments: list[_Segment] = []
    for _ in range(min(count, _HEADERS)):
        command, length = window.unpack(f"{end}II", at)
        if length < 8:  # noqa: PLR2004 -- the two numbers themselves
            raise _UnreadableError
        if command in {0x1, 0x19}:  # LC_SEGMENT, LC_SEGMENT_64
            form, row_form, head = (
                (f"{end}QQQQIIII", f"{end}16s16sQQIIIIIIII", 72)
                if wide
                else (f"{end}IIIIIIII", f"{end}16s16sIIIIIIIII", 56)
            )
            address, _, offset, size, _, protection, parts, _ = window.unpack(form, at + 24)
            segments.append(_Segment(address, offset, size, protection & 6 == 2))  # noqa: PLR2004 -- written, not run
            for row in _table(window, row_form, at + head, struct.calcsize(row_form), parts):
                name = row[0].rstrip(b"\0").decode("latin-1")
                sections.append(_Section(name, row[4], row[3]))
        at += length
    return _Program(sections[:_HEADERS], segments)


# Go


def _go(window: _Window, program: _Program) -> tuple[str, str]:
    """(version, modules)."""
    places = [(each.offset, each.size) for each in program.sections if each.name in GO_SECTIONS]
    places += [(each.offset, min(each.size, _GO_WINDOW)) for each in program.segments if each.is_data]
    for offset, size in places:
        data = window.read(offset, min(size, _GO_WINDOW))
        at = data.find(GO_MAGIC)
        while at >= 0 and at % _GO_ALIGNMENT:
            at = data.find(GO_MAGIC, at + 1)
        if at >= 0 and len(header := window.read(offset + at, _GO_HEADER)) == _GO_HEADER:
            version, modules = _go_texts(window, program, offset + at, header)
            return version.decode("utf-8", "replace"), _without_sentinels(modules).decode("utf-8", "replace")
    return "", ""


def _go_texts(window: _Window, program: _Program, offset: int, header: bytes) -> tuple[bytes, bytes]:
    pointer, flags = header[14], header[15]
    if flags & _GO_INLINE:  # since Go 1.18: two texts, each with its length before it, right behind the header
        at = offset + _GO_HEADER
        version, at = _counted(window, at, _GO_VERSION)
        return version, _counted(window, at, _GO_MODULES)[0]
    if pointer not in {4, 8}:
        raise _UnreadableError
    order = ">" if flags & _GO_BIG_ENDIAN else "<"
    form = f"{order}{'Q' if pointer == 8 else 'I'}"  # noqa: PLR2004 -- bytes
    texts = []
    for at, most in ((16, _GO_VERSION), (16 + pointer, _GO_MODULES)):
        (header_address,) = struct.unpack_from(form, header, at)
        text = b""
        if header_address:
            address, length = window.unpack(f"{order}2{form[1]}", _offset_of(program, header_address))
            if length:
                text = window.read(_offset_of(program, address), min(length, most))
        texts.append(text)
    return texts[0], texts[1]


def _counted(window: _Window, at: int, most: int) -> tuple[bytes, int]:
    """A text behind its length, a varint of seven bits a byte, and where the next one starts."""
    length = 0
    for index, byte in enumerate(window.read(at, 10)):
        length |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            start = at + index + 1
            return window.read(start, min(length, most)), start + length
    raise _UnreadableError


def _offset_of(program: _Program, address: int) -> int:
    for segment in program.segments:
        if segment.address <= address < segment.address + segment.size:
            return segment.offset + address - segment.address
    raise _UnreadableError


def _without_sentinels(modules: bytes) -> bytes:
    if len(modules) > 2 * _GO_SENTINEL and modules[-_GO_SENTINEL - 1 : -_GO_SENTINEL] == b"\n":
        return modules[_GO_SENTINEL:-_GO_SENTINEL]
    return b""


# Rust


def _rust(window: _Window, program: _Program) -> str:
    for section in program.sections:
        if section.name == RUST_SECTION:
            inflate = zlib.decompressobj()
            try:
                packed = window.read(section.offset, min(section.size, _RUST_PACKED))
                return inflate.decompress(packed, _RUST_UNPACKED).decode("utf-8", "replace")
            except zlib.error:
                return ""
    return ""
