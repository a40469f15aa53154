from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import files
from workers.inventory.node import node_packages, wants
from workers.inventory.notes import Notes

Manifests = dict[str, dict[str, Any] | str | bytes]


def read(manifests: Manifests, notes: Notes | None = None) -> list[PackageRecord]:
    contents: dict[str, str | bytes] = {
        path: json.dumps(manifest) if isinstance(manifest, dict) else manifest for path, manifest in manifests.items()
    }
    return list(node_packages(files(contents, layer=1), notes or Notes()))


def named(name: str, version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    return {"name": name, "version": version, **more}


def test_an_installed_package() -> None:
    path = "usr/src/app/node_modules/lodash/package.json"
    assert read({path: named("lodash", "4.17.11", license="MIT", main="lodash.js")}) == [
        PackageRecord(
            name="lodash",
            version="4.17.11",
            type=PackageType.NPM,
            ecosystem="npm",
            source_name="lodash",
            source_version="4.17.11",
            purl="pkg:npm/lodash@4.17.11",
            licenses=("MIT",),
            path=path,
            layer_digest=f"sha256:{1:064x}",
            layer_index=1,
        )
    ]


def test_a_scoped_package() -> None:
    [package] = read({"app/node_modules/@babel/traverse/package.json": named("@babel/traverse", "7.22.5")})
    assert (package.name, package.purl) == ("@babel/traverse", "pkg:npm/%40babel/traverse@7.22.5")


@pytest.mark.parametrize(
    "path",
    [
        "usr/local/lib/node_modules/npm/package.json",
        "usr/local/lib/node_modules/npm/node_modules/semver/package.json",
        "app/node_modules/.pnpm/a@1.0.0/node_modules/a/package.json",
        "node_modules/a/package.json",
        "opt/yarn-v1.22.22/package.json",
        "app/node_modules/next/dist/compiled/ws/package.json",
        "app/tests/node_modules/a/package.json",
        "package.json",
    ],
)
def test_places_in_which_packages_are_found(path: str) -> None:
    assert wants(path)
    assert [each.path for each in read({path: named("a")})] == [path]


@pytest.mark.parametrize(
    "path",
    [
        "app/node_modules/resolve/test/resolver/multirepo/package.json",
        "app/node_modules/@scope/a/template/package.json",
        "app/node_modules/a/lib/__fixtures__/b/package.json",
        "app/node_modules/a/xpackage.json",
        "app/node_modules/a/package.json5",
        "app/node_modules/a/package-lock.json",
    ],
)
def test_places_in_which_they_are_not(path: str) -> None:
    assert not wants(path)
    assert read({path: named("a")}) == []


def test_a_package_describes_itself_once() -> None:
    packages = read(
        {
            "app/node_modules/a/dist/esm/package.json": named("a"),
            "app/node_modules/a/vendor/b/package.json": named("b"),
            "app/node_modules/a/package.json": named("a"),
            "app/node_modules/c/node_modules/a/package.json": named("a"),
        }
    )
    assert [(each.name, each.path) for each in packages] == [
        ("a", "app/node_modules/a/package.json"),
        ("b", "app/node_modules/a/vendor/b/package.json"),
        ("a", "app/node_modules/c/node_modules/a/package.json"),
    ]


def test_only_what_names_itself_and_its_version_is_a_package() -> None:
    manifests: Manifests = {
        "node_modules/a/package.json": {"type": "module"},
        "node_modules/b/package.json": {"name": "b"},
        "node_modules/c/package.json": {"name": "c", "version": 1},
        "node_modules/d/package.json": {"name": "", "version": ""},
        "node_modules/e/package.json": "[]",
    }
    notes = Notes()
    assert read(manifests, notes) == []
    assert notes.lines() == ()


def test_an_application_that_nobody_publishes_is_not_looked_up_in_public() -> None:
    manifests: Manifests = {
        "app/package.json": named("internal-billing", private=True),
        "app/node_modules/a/package.json": named("a", private=True),
    }
    assert [each.name for each in read(manifests)] == ["a"]


@pytest.mark.parametrize(
    ("stated", "licences"),
    [
        ({"license": "(MIT OR CC0-1.0)"}, ("(MIT OR CC0-1.0)",)),
        ({"license": {"type": "BSD-3-Clause", "url": "http://example.org"}}, ("BSD-3-Clause",)),
        ({"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}, {"type": "MIT"}]}, ("MIT", "Apache-2.0")),
        ({"licenses": "ISC"}, ("ISC",)),
        ({"license": "x" * 5000}, ()),
        ({"license": 7}, ()),
        ({"license": [None, {"type": 1}]}, ()),
        ({}, ()),
    ],
)
def test_licences_in_all_forms_npm_has_known(stated: dict[str, Any], licences: tuple[str, ...]) -> None:
    [package] = read({"node_modules/a/package.json": named("a", **stated)})
    assert package.licenses == licences


def test_a_byte_order_mark_is_no_error() -> None:
    [package] = read({"node_modules/a/package.json": b'\xef\xbb\xbf{"name": "a", "version": "1.0.0"}'})
    assert package.name == "a"


def test_a_malformed_file_costs_only_itself() -> None:
    notes = Notes()
    packages = read(
        {
            "node_modules/a/package.json": "{",
            "node_modules/b/package.json": b"\xff\xfe",
            "node_modules/c/package.json": b"[" * 100_000,
            "node_modules/d/package.json": json.dumps(named("d", readme="x" * 2**20)),
            "node_modules/e/package.json": named("e\n", "1"),
            "node_modules/f/package.json": named("///", "1"),
            "node_modules/g/package.json": named("g"),
        },
        notes,
    )
    assert [each.name for each in packages] == ["g"]
    assert notes.lines() == (
        "node_modules/a/package.json: is not JSON",
        "node_modules/b/package.json: is not JSON",
        "node_modules/c/package.json: is not JSON",
        "node_modules/d/package.json: is too large to be a package.json",
        "node_modules/e/package.json: “e\N{REPLACEMENT CHARACTER}” is not a package's name or version",
        "node_modules/f/package.json: the package /// cannot be described",
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["name", "version", "license", "licenses", "private"]), json_values) | json_values,
    st.sampled_from(["node_modules/a/package.json", "app/package.json", "node_modules/@/package.json"]),
)
def test_no_document_makes_it_raise(document: Any, path: str) -> None:
    read({path: json.dumps(document)})


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    read({"node_modules/a/package.json": content})


@settings(deadline=None)
@given(st.text(alphabet="@/.node_modulespackage.jsontest"))
def test_no_path_makes_it_raise(path: str) -> None:
    read({f"{path}/package.json": named("a"), path: named("a")})
