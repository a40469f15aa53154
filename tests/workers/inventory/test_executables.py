from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories.executables import BASE, PAGE, auditable, elf, fat, go_inline, go_pointers, mach, pe
from workers.inventory.executables import BuildInformation, is_executable, read_build_information

MODULES = "path\texample.org/shop\nmod\texample.org/shop\tv1.2.3\th1:\ndep\tgolang.org/x/net\tv0.17.0\th1:"
GO = BuildInformation(go_version="go1.21.3", go_modules=f"{MODULES}\n")
RUST = BuildInformation(rust='{"packages": [{"name": "memchr"}]}')
INLINE = go_inline("go1.21.3", MODULES)
CRATES = auditable({"name": "memchr"})
PROGRAMS = {
    "elf": elf({".text": b"code", ".go.buildinfo": INLINE}),
    "elf of 32 bits": elf({".go.buildinfo": INLINE}, wide=False),
    "big-endian elf": elf({".go.buildinfo": INLINE}, order=">"),
    "elf without section names": elf({".data": b"\xff Go" + bytes(28) + INLINE}, named=False),
    "old elf": elf({".go.buildinfo": go_pointers("go1.21.3", MODULES)}),
    "old elf of 32 bits": elf({".go.buildinfo": go_pointers("go1.21.3", MODULES, wide=False)}, wide=False),
    "old big-endian elf": elf({".go.buildinfo": go_pointers("go1.21.3", MODULES, order=">")}, order=">"),
    "pe": pe({".text": b"code", ".data": INLINE}),
    "old pe": pe({".data": go_pointers("go1.21.3", MODULES)}),
    "mach-o": mach({"__data": b"data", "__go_buildinfo": INLINE}),
    "mach-o of 32 bits": mach({"__go_buildinfo": INLINE}, wide=False),
    "big-endian mach-o": mach({"__go_buildinfo": INLINE}, order=">"),
    "old mach-o": mach({"__go_buildinfo": go_pointers("go1.21.3", MODULES)}),
    "fat mach-o": fat(mach({"__data": b"other"}), mach({"__go_buildinfo": INLINE})),
}


def read(program: bytes) -> BuildInformation | None:
    return read_build_information(io.BytesIO(program))


@pytest.mark.parametrize("form", PROGRAMS)
def test_a_program_of_go(form: str) -> None:
    program = PROGRAMS[form]
    assert is_executable(program[:4])
    assert read(program) == GO


@pytest.mark.parametrize(
    "program",
    [
        elf({".dep-v0": CRATES}),
        elf({".dep-v0": CRATES}, wide=False),
        pe({".dep-v0": CRATES}),
        mach({".dep-v0": CRATES}),
        fat(mach({".dep-v0": CRATES})),
    ],
)
def test_a_program_of_rust(program: bytes) -> None:
    assert read(program) == RUST


def test_a_program_of_both() -> None:
    assert read(elf({".go.buildinfo": INLINE, ".dep-v0": CRATES})) == BuildInformation(
        go_version=GO.go_version, go_modules=GO.go_modules, rust=RUST.rust
    )


def test_a_program_that_says_nothing() -> None:
    assert read(elf({".text": b"code"})) is None
    assert read(pe({".text": b"code"})) is None
    assert read(mach({"__text": b"code"})) is None
    assert read(fat()) is None


def test_the_mark_of_go_in_a_text_is_no_build_information() -> None:
    """A program that looks for it, like Go's own, has it among its constants."""
    assert read(elf({".rodata": b"x" * 7 + INLINE}, named=False)) is None


def test_modules_without_their_frame_are_not_believed() -> None:
    bare = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16) + b"\x08go1.21.3" + b"\x40" + b"x" * 64
    assert read(elf({".go.buildinfo": bare})) == BuildInformation(go_version="go1.21.3")


@pytest.mark.parametrize(
    "section",
    [
        b"",
        INLINE[:20],
        INLINE[:32],
        INLINE[:32] + b"\xff" * 12,  # a length without end
        INLINE[:32] + b"\xff\xff\xff\xff\x7f",  # a length beyond the file
        go_pointers("go1.21.3", at=BASE + 10 * PAGE),  # pointers to nowhere
        go_pointers("go1.21.3", at=1 << 62),
        b"\xff Go buildinf:" + bytes([3, 0]) + bytes(16),  # pointers of three bytes
    ],
)
def test_damaged_build_information(section: bytes) -> None:
    assert read(elf({".go.buildinfo": section, ".data": b"x"})) is None


def test_a_list_of_crates_that_unpacks_without_end_is_cut() -> None:
    bomb = auditable({"name": "a" * 64_000_000})
    found = read(elf({".dep-v0": bomb}))
    assert found is not None
    assert len(found.rust) == 8 * 1024**2
    assert read(elf({".dep-v0": b"\0" * 100})) is None


@settings(deadline=None, max_examples=500)
@given(st.sampled_from([*PROGRAMS.values(), elf({".dep-v0": CRATES})]), st.data())
def test_no_program_makes_it_raise(program: bytes, data: st.DataObject) -> None:
    """Numbers in headers replaced by any others: offsets, counts, sizes."""
    changed = bytearray(program)
    interesting = st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(
            st.integers(0, 400) | st.integers(0, len(program) - 1) | st.integers(len(program) - 300, len(program) - 1)
        )
        changed[at] = data.draw(interesting)
    end = data.draw(st.just(len(changed)) | st.integers(0, len(changed)))
    read(bytes(changed[:end]))


@settings(deadline=None)
@given(
    st.sampled_from([b"\x7fELF\2\1", b"\x7fELF\1\2", b"MZ", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"]),
    st.binary(max_size=600),
)
def test_nothing_makes_it_raise(magic: bytes, rest: bytes) -> None:
    read(magic + rest)
