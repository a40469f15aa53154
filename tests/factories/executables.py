"""Small programs with chosen sections, as linkers lay them out: ELF, PE and Mach-O. Nothing in them can run.

elf({".go.buildinfo": go_inline("go1.21.3", modules)})
mach({"__go_buildinfo": ...}), fat(mach(...), mach(...)), pe({".data": ...})
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

PAGE = 0x1000
BASE = 0x400000  # where the first section is in memory; each next one a page further
_SENTINEL = b"0w\xaf\x0c\x92t\x08\x02A\xe1\xc1\x07\xe6\xd6\x18\xe6"  # any 16 bytes


def go_inline(version: str, modules: str = "") -> bytes:
    """What Go 1.18 and later put into a program."""
    framed = _SENTINEL + modules.encode() + b"\n" + _SENTINEL if modules else b""
    header = b"\xff Go buildinf:" + bytes([8, 2])
    return header.ljust(32, b"\0") + _counted(version.encode()) + _counted(framed)


def go_pointers(version: str, modules: str = "", *, at: int = BASE, wide: bool = True, order: str = "<") -> bytes:
    """What Go before 1.18 put there: pointers to the headers of two strings. `at` is its address in memory."""
    word = "Q" if wide else "I"
    size = 8 if wide else 4
    framed = _SENTINEL + modules.encode() + b"\n" + _SENTINEL if modules else b""
    first = at + 32
    texts = first + 4 * size
    header = b"\xff Go buildinf:" + bytes([size, 1 if order == ">" else 0])
    header += struct.pack(f"{order}2{word}", first, first + 2 * size)
    strings = struct.pack(f"{order}4{word}", texts, len(version), texts + len(version), len(framed))
    return header.ljust(32, b"\0") + strings + version.encode() + framed


def _counted(text: bytes) -> bytes:
    length, prefix = len(text), b""
    while length >= 0x80:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return prefix + bytes([length]) + text


def auditable(*crates: Mapping[str, Any]) -> bytes:
    """The section `.dep-v0` of `cargo auditable`."""
    return zlib.compress(json.dumps({"packages": crates}).encode())


def elf(sections: Mapping[str, bytes], *, wide: bool = True, order: str = "<", named: bool = True) -> bytes:
    """Each section is a segment of its own, readable and writable. Without names it is a program that was stripped bare."""
    contents = list(sections.values())
    names = b"\0" + b"".join(name.encode() + b"\0" for name in (*sections, ".shstrtab"))
    head, program_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
    offsets = [PAGE * (index + 1) for index in range(len(contents))]
    end = offsets[-1] + len(contents[-1]) if contents else PAGE
    body = bytearray(end)
    for offset, content in zip(offsets, contents, strict=True):
        assert len(content) <= PAGE or content is contents[-1]
        body[offset : offset + len(content)] = content
    program = b""
    for index, (offset, content) in enumerate(zip(offsets, contents, strict=True)):
        address, size = BASE + PAGE * index, len(content)
        if wide:
            program += struct.pack(f"{order}IIQQQQQQ", 1, 6, offset, address, address, size, size, PAGE)
        else:
            program += struct.pack(f"{order}8I", 1, offset, address, address, size, size, 6, PAGE)
    table = bytes(section_size)
    at = 1
    word = f"{order}IIQQQQIIQQ" if wide else f"{order}10I"
    for index, (name, content) in enumerate(sections.items()):
        table += struct.pack(word, at, 1, 3, BASE + PAGE * index, offsets[index], len(content), 0, 0, 16, 0)
        at += len(name) + 1
    table += struct.pack(word, at, 3, 0, 0, end, len(names), 0, 0, 1, 0)
    count = len(contents) + 2
    header = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    header += struct.pack(f"{order}HHI", 2, 62, 1)
    section_at = end + len(names) if named else 0
    header += struct.pack(f"{order}3{'Q' if wide else 'I'}I", BASE, head, section_at, 0)
    header += struct.pack(
        f"{order}6H", head, program_size, len(contents), section_size, count if named else 0, count - 1 if named else 0
    )
    body[: len(header)] = header
    body[head : head + len(program)] = program
    return bytes(body) + (names + table if named else b"")


def pe(sections: Mapping[str, bytes]) -> bytes:
    """A 64-bit program of Windows."""
    start = 0x80
    header = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", start)
    header = header.ljust(start, b"\0") + b"PE\0\0"
    header += struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, 112, 0x22)
    header += struct.pack("<H", 0x20B).ljust(24, b"\0") + struct.pack("<Q", BASE)
    header = header.ljust(start + 24 + 112, b"\0")
    body = b""
    for index, (name, content) in enumerate(sections.items()):
        offset = PAGE + len(body)
        header += struct.pack(
            "<8sIIIIIIHHI", name.encode(), len(content), PAGE * index, len(content), offset, 0, 0, 0, 0, 0xC0000040
        )
        body += content
    return header.ljust(PAGE, b"\0") + body


def mach(sections: Mapping[str, bytes], *, wide: bool = True, order: str = "<") -> bytes:
    """A program of macOS with one segment, `__DATA`."""
    word = "Q" if wide else "I"
    parts = b""
    offset = PAGE
    for name, content in sections.items():
        parts += name.encode().ljust(16, b"\0") + b"__DATA".ljust(16, b"\0")
        parts += struct.pack(f"{order}2{word}", BASE + offset - PAGE, len(content))
        parts += struct.pack(f"{order}{8 if wide else 7}I", offset, *[0] * (7 if wide else 6))
        offset += len(content)
    size = offset - PAGE
    command = b"__DATA".ljust(16, b"\0") + struct.pack(f"{order}4{word}", BASE, size, PAGE, size)
    command += struct.pack(f"{order}4I", 3, 3, len(sections), 0) + parts
    command = struct.pack(f"{order}II", 0x19 if wide else 0x1, len(command) + 8) + command
    magic = 0xFEEDFACF if wide else 0xFEEDFACE
    header = struct.pack(f"{order}7I", magic, 0x0100000C, 0, 2, 1, len(command), 0) + (bytes(4) if wide else b"")
    return (header + command).ljust(PAGE, b"\0") + b"".join(sections.values())


def fat(*programs: bytes) -> bytes:
    """Programs for several processors in one file."""
    header, body = struct.pack(">II", 0xCAFEBABE, len(programs)), b""
    for program in programs:
        header += struct.pack(">5I", 7, 3, PAGE + len(body), len(program), 12)
        body += program
    return header.ljust(PAGE, b"\0") + body
