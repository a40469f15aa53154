from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import file, files
from workers.inventory.notes import Notes
from workers.inventory.rust import locked_crates, rust_packages

REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"


def packages(document: Any, notes: Notes | None = None) -> list[PackageRecord]:
    return list(rust_packages([(file("usr/bin/rg", "", 1), {"rust": json.dumps(document)})], notes or Notes()))


def locked(text: str, notes: Notes | None = None) -> list[tuple[str, str]]:
    found = locked_crates(files({"srv/Cargo.lock": text}), notes or Notes())
    return [(each.name, each.version) for each in found]


def test_the_crates_of_a_program() -> None:
    crates = [
        {"name": "cc", "version": "1.0.79", "source": "crates.io", "kind": "build"},
        {"name": "memchr", "version": "2.5.0", "source": "crates.io"},
        {"name": "ripgrep", "version": "13.0.0", "source": "local", "dependencies": [1], "root": True},
    ]
    [memchr, ripgrep] = packages({"packages": crates})
    assert ripgrep.name == "ripgrep"
    assert memchr == PackageRecord(
        name="memchr",
        version="2.5.0",
        type=PackageType.CARGO,
        ecosystem="crates.io",
        source_name="memchr",
        source_version="2.5.0",
        purl="pkg:cargo/memchr@2.5.0",
        path="usr/bin/rg",
        layer_digest=f"sha256:{1:064x}",
        layer_index=1,
    )


def test_a_lock_file() -> None:
    text = f"""
version = 3

[[package]]
name = "shop"
version = "0.1.0"
dependencies = ["memchr"]

[[package]]
name = "memchr"
version = "2.7.1"
source = "{REGISTRY}"
checksum = "523dc4f511e55ab87b694dc30d0f820d60906ef06413f93d4d7a1385599cc149"

[[package]]
name = "patched"
version = "1.0.0"
source = "git+https://example.org/patched?rev=1#1"
"""
    assert locked(text) == [("memchr", "2.7.1"), ("patched", "1.0.0")]


def test_a_name_of_endless_parts_is_refused_before_it_costs_anything() -> None:
    for text in ("a." * 100_000 + "a = 1", '"a"."' + 'a"."' * 100_000 + 'a" = 1', "[" + "a . " * 100_000 + "a]"):
        notes = Notes()
        assert locked(text, notes) == []
        assert notes.lines() == ("srv/Cargo.lock: is not TOML",)


def test_dots_in_strings_and_comments_are_no_parts() -> None:
    dots = "." * 1000
    crate = f'[[package]]\nname = "a"\nversion = "1"\nsource = "{dots}"\n'
    for text in (f'# {"a." * 100} "\n', f'x = """\n{"a." * 100}"\n"""\n', f"x = '''{'a.' * 100}'''\n", ""):
        assert locked(text + crate) == [("a", "1")]


def test_what_is_not_toml_costs_only_itself() -> None:
    for text in (
        "[[package]",
        "x = [" * 100_000,
        "x = {" * 5_000,
        "a = " + "1" * 10_000,
        "\0",
        'x = "' + "a" * 5_000_000,
    ):
        assert locked(text) == []


@pytest.mark.parametrize("end", ["", "\\", '"', "'", '"""'])
@pytest.mark.parametrize(
    "text",
    ['\\"""\n', '\\"""\na', '\\"', '"\\', '"""\\', '"', "'", "'''a", "a = '''\n", "a.", "a ", "-", "#", "[", "{a."],
)
def test_what_looks_like_strings_without_end_takes_no_time_without_end(text: str, end: str) -> None:
    """Three million characters: if each were the start of another look at all that follow, it would take hours."""
    assert locked(text * (3_000_000 // len(text)) + end) == []


values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries({"packages": st.lists(st.dictionaries(st.sampled_from(["name", "version", "kind"]), values))})
    | values
)
def test_no_document_makes_it_raise(document: Any) -> None:
    packages(document)


@settings(deadline=None)
@given(st.text(alphabet="[]{}=\"'#.\n\\ pack1e"))
def test_no_lock_file_makes_it_raise(text: str) -> None:
    locked(text)
