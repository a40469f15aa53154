from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.node_locks import NAMES, locked_modules
from workers.inventory.notes import Notes

LOCKS = Path(__file__).with_name("locks")
# What the application runs with: its dependencies, theirs, and what is optional.
NEEDED = {
    ("@babel/code-frame", "7.22.5"),
    ("@babel/helper-validator-identifier", "7.29.7"),
    ("@babel/highlight", "7.25.9"),
    ("ansi-styles", "3.2.1"),
    ("chalk", "2.4.2"),
    ("color-convert", "1.9.3"),
    ("color-name", "1.1.3"),
    ("debug", "4.3.4"),
    ("escape-string-regexp", "1.0.5"),
    ("fsevents", "2.3.2"),
    ("has-flag", "3.0.0"),
    ("js-tokens", "4.0.0"),
    ("ms", "2.0.0"),
    ("ms", "2.1.2"),
    ("picocolors", "1.1.1"),
    ("supports-color", "5.5.0"),
}
DEVELOPMENT = {("is-number", "6.0.0"), ("is-odd", "3.0.1")}
ALIASED = {("old-ms", "2.0.0")}  # formats that write nothing of what the alias stands for


def read(contents: dict[str, str | bytes], notes: Notes | None = None) -> list[PackageRecord]:
    return list(locked_modules(files(contents, 1), notes or Notes()))


def pairs(contents: dict[str, str | bytes]) -> set[tuple[str, str]]:
    return {(each.name, each.version) for each in read(contents)}


@pytest.mark.parametrize(
    ("lock", "expected"),
    [
        ("npm1/package-lock.json", NEEDED),
        ("npm2/package-lock.json", NEEDED),
        ("npm3/package-lock.json", NEEDED),
        ("pnpm7/pnpm-lock.yaml", NEEDED),
        ("pnpm8/pnpm-lock.yaml", NEEDED),
        ("pnpm9/pnpm-lock.yaml", NEEDED),
        ("yarn1/yarn.lock", NEEDED | DEVELOPMENT),
    ],
)
def test_a_lock_file_as_its_tool_writes_it(lock: str, expected: set[tuple[str, str]]) -> None:
    assert pairs({f"app/{lock.partition('/')[2]}": (LOCKS / lock).read_bytes()}) == expected


def test_a_lock_file_of_a_newer_yarn() -> None:
    """Which also locks what builds fsevents, and patches; neither the application nor a patch is a package of its own."""
    found = pairs({"app/yarn.lock": (LOCKS / "yarn4/yarn.lock").read_bytes()})
    assert found >= NEEDED | DEVELOPMENT
    assert not {"shop"} & {name for name, _ in found}


def test_a_locked_package() -> None:
    lock = {"lockfileVersion": 3, "packages": {"node_modules/@a/b": {"version": "1.0.0", "license": "MIT"}}}
    assert read({"app/package-lock.json": json.dumps(lock)}) == [
        PackageRecord(
            name="@a/b",
            version="1.0.0",
            type=PackageType.NPM,
            ecosystem="npm",
            source_name="@a/b",
            source_version="1.0.0",
            purl="pkg:npm/%40a/b@1.0.0",
            path="app/package-lock.json",
            layer_digest=f"sha256:{1:064x}",
            layer_index=1,
        )
    ]


def test_what_is_no_package_of_the_registry() -> None:
    packages: dict[str, Any] = {
        "": {"name": "shop", "version": "1.0.0"},
        "packages/core": {"name": "core", "version": "1.0.0"},
        "node_modules/core": {"resolved": "packages/core", "link": True},
        "node_modules/of-git": {"version": "git+ssh://git@github.com/a/b.git#1"},
        "node_modules/of-file": {"version": "file:../b"},
        "node_modules/a/node_modules/alias": {"name": "real", "version": "2.0.0"},
    }
    assert pairs({"app/package-lock.json": json.dumps({"packages": packages})}) == {("real", "2.0.0")}


def test_modules_beside_a_lock_file_are_better_evidence() -> None:
    lock = (LOCKS / "npm3/package-lock.json").read_bytes()
    assert read({"app/package-lock.json": lock, "app/node_modules/debug/package.json": "{}"}) == []
    assert read({"app/package-lock.json": lock, "lib/node_modules/npm/package.json": "{}"}) != []
    assert read({"package-lock.json": lock, "node_modules/debug/package.json": "{}"}) == []


def test_what_an_alias_stands_for_in_yarn() -> None:
    text = '# yarn lockfile v1\n\n"@x/old@npm:@y/new@^1.0.0", old@npm:@y/new@1:\n  version "1.2.3"\n  resolved "https://example.org"\n'
    assert pairs({"yarn.lock": text}) == {("@y/new", "1.2.3")}


def test_pnpm_with_peers_and_aliases() -> None:
    text = """
lockfileVersion: '9.0'
importers:
  .:
    dependencies:
      other: {specifier: 'npm:real@^1', version: real@1.0.0}
      with-peer: {specifier: ^1, version: 1.0.0(peer@2.0.0)}
      local: {specifier: 'workspace:*', version: 'link:../local'}
packages:
  real@1.0.0: {resolution: {integrity: x}}
  with-peer@1.0.0: {resolution: {integrity: x}}
  peer@2.0.0: {resolution: {integrity: x}}
  unused@1.10: {resolution: {integrity: x}}
snapshots:
  real@1.0.0: {}
  with-peer@1.0.0(peer@2.0.0): {dependencies: {peer: 2.0.0}}
  peer@2.0.0: {}
  unused@1.10: {}
"""
    assert pairs({"pnpm-lock.yaml": text}) == {("real", "1.0.0"), ("with-peer", "1.0.0"), ("peer", "2.0.0")}


def test_peers_in_older_pnpm() -> None:
    text = (
        "lockfileVersion: 5.4\npackages:\n  /@a/b/1.0.0_react@17.0.2:\n    dev: false\n  /c_d/2.0.0:\n    dev: false\n"
    )
    assert pairs({"pnpm-lock.yaml": text}) == {("@a/b", "1.0.0"), ("c_d", "2.0.0")}
    text = "lockfileVersion: '6.0'\npackages:\n  /@a/b@1.0.0(react@17.0.2):\n    dev: false\n"
    assert pairs({"pnpm-lock.yaml": text}) == {("@a/b", "1.0.0")}


def test_a_bomb_of_aliases_is_refused() -> None:
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    for text in (bomb, "[" * 100_000, "{a: " * 100, "- " * 50_000, "a: &a\n  <<: *a\n", "%", "\0"):
        notes = Notes()
        assert read({"pnpm-lock.yaml": text}, notes) == []
        assert notes.lines() == ("pnpm-lock.yaml: is not YAML as package managers write it",)


def test_a_lock_file_within_itself_for_ever() -> None:
    nested = '{"dependencies":{"a":' * 200 + '{"version":"1.0.0"}' + "}}" * 200
    assert pairs({"package-lock.json": nested}) == {("a", "1.0.0")}
    assert read({"package-lock.json": '{"dependencies":{"a":' * 5000}) == []


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.binary())
def test_nothing_makes_it_raise(name: str, content: bytes) -> None:
    read({name: content})


values = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
keys = st.sampled_from(["packages", "dependencies", "snapshots", "importers", "lockfileVersion"])


@settings(deadline=None)
@given(
    st.sampled_from(["package-lock.json", "pnpm-lock.yaml"]),
    st.dictionaries(keys, st.dictionaries(st.text(), values) | values),
)
def test_no_document_makes_it_raise(name: str, document: Any) -> None:
    read({name: json.dumps(document)})  # JSON is YAML


@settings(deadline=None)
@given(st.text(alphabet='@/"a1: \nversionresolutionnpm,^'))
def test_no_lock_file_of_yarn_makes_it_raise(text: str) -> None:
    read({"yarn.lock": f"a@1:\n{text}"})
