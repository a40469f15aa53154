"""The demonstration image as a container engine would see it."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from app.demo.description import DebianPackage, Description, load_description
from app.demo.image import FILE_LISTS, REFERENCE, STATUS, DemoImage, build_demo_image, dpkg_status
from app.demo.layout import OPAQUE
from app.demo.wheels import SITE_PACKAGES

from .wheelhouse import with_small_wheels

MODULES = "usr/src/app/node_modules"


@pytest.fixture(scope="module")
def description() -> Description:
    return load_description()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, description: Description) -> DemoImage:
    small, fetch = with_small_wheels(description)
    directory = tmp_path_factory.mktemp("demo")
    return build_demo_image(directory, cache=directory / "cache", description=small, fetch=fetch)


@pytest.fixture(scope="module")
def layers(image: DemoImage) -> list[dict[str, bytes | None]]:
    """The entries of each layer: the content of a regular file, None for anything else."""
    return read_layers(image)


def read_blob(image: DemoImage, digest: str) -> bytes:
    return (image.layout / "blobs" / digest.replace(":", "/")).read_bytes()


def read_layers(image: DemoImage) -> list[dict[str, bytes | None]]:
    manifest = json.loads(read_blob(image, image.digest))
    layers = []
    for descriptor in manifest["layers"]:
        content = gzip.decompress(read_blob(image, descriptor["digest"]))
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            streams = {member.name: archive.extractfile(member) for member in archive.getmembers() if member.isreg()}
            files = {name: stream.read() for name, stream in streams.items() if stream is not None}
            layers.append({member.name: files.get(member.name) for member in archive.getmembers()})
    return layers


def merge(layers: list[dict[str, bytes | None]]) -> dict[str, bytes]:
    """The merged files, by the letter of the OCI layer specification: whiteouts of a layer hide lower layers only."""
    merged: dict[str, bytes] = {}
    for layer in layers:
        for name in layer:
            parent, _, last = name.rpartition("/")
            if last == OPAQUE:
                hidden = f"{parent}/"
            elif last.startswith(".wh."):
                hidden = f"{parent}/{last.removeprefix('.wh.')}"
            else:
                continue
            directory = hidden.rstrip("/") + "/"
            merged = {path: data for path, data in merged.items() if path != hidden and not path.startswith(directory)}
        merged |= {path: data for path, data in layer.items() if data is not None and ".wh." not in path}
    return merged


def stanzas(status: bytes) -> dict[str, dict[str, str]]:
    packages = [dict(line.split(": ", 1) for line in block.splitlines()) for block in status.decode().split("\n\n")]
    return {package["Package"]: package for package in packages}


def test_the_same_description_gives_the_same_bytes(tmp_path: Path, image: DemoImage, description: Description) -> None:
    small, fetch = with_small_wheels(description)
    again = build_demo_image(tmp_path / "elsewhere", cache=tmp_path / "cache", description=small, fetch=fetch)
    assert again.digest == image.digest
    assert again.archive.read_bytes() == image.archive.read_bytes()
    files = {path.relative_to(image.layout) for path in image.layout.rglob("*")}
    assert {path.relative_to(again.layout) for path in again.layout.rglob("*")} == files


def test_building_over_an_earlier_build_is_harmless(image: DemoImage, description: Description) -> None:
    small, fetch = with_small_wheels(description)
    before = image.archive.read_bytes()
    again = build_demo_image(image.layout.parent, cache=image.layout.parent / "cache", description=small, fetch=fetch)
    assert again == image
    assert image.archive.read_bytes() == before


def test_progress_is_told_in_order(tmp_path: Path, description: Description) -> None:
    small, fetch = with_small_wheels(description)
    lines: list[str] = []
    build_demo_image(tmp_path, cache=tmp_path / "cache", description=small, fetch=fetch, progress=lines.append)
    assert [line.split()[0] for line in lines] == ["collecting", "packing", "writing", "writing"]


def test_history_tells_how_each_layer_came_to_be(image: DemoImage) -> None:
    manifest = json.loads(read_blob(image, image.digest))
    configuration = json.loads(read_blob(image, manifest["config"]["digest"]))
    with_layer = [line["created_by"] for line in configuration["history"] if not line.get("empty_layer")]
    assert len(with_layer) == len(manifest["layers"]) == len(configuration["rootfs"]["diff_ids"]) == 7
    assert [line.split()[0] for line in with_layer] == ["ADD", "RUN", "RUN", "RUN", "COPY", "RUN", "RUN"]
    assert any(line.get("empty_layer") for line in configuration["history"])
    assert configuration["config"]["User"] == "shop"
    assert image.reference == REFERENCE


def test_os_release_says_debian_12(layers: list[dict[str, bytes | None]]) -> None:
    lines = merge(layers)["usr/lib/os-release"].decode().splitlines()
    assert {"ID=debian", 'VERSION_ID="12"'} <= set(lines)
    assert "etc/os-release" in layers[0]  # a symbolic link, as in Debian


def test_the_last_dpkg_database_wins(layers: list[dict[str, bytes | None]], description: Description) -> None:
    first = stanzas(layers[0][STATUS] or b"")
    last = stanzas(merge(layers)[STATUS])
    assert len(first) == len(description.base)
    assert len(last) == len(description.base) + len(description.installed)
    assert "curl" not in first
    assert stanzas(layers[1][STATUS] or b"")["curl"]["Version"] == "7.88.1-10"
    assert last["curl"]["Version"] == last["libcurl4"]["Version"] == "7.88.1-10+deb12u4"
    assert last["libssl3"]["Source"] == "openssl"


def test_file_lists_tell_which_layer_brought_a_package(layers: list[dict[str, bytes | None]]) -> None:
    def bringing(name: str) -> list[int]:
        return [index for index, layer in enumerate(layers) if f"{FILE_LISTS}/{name}.list" in layer]

    assert (bringing("libc6"), bringing("libxml2"), bringing("curl")) == ([0], [1], [1, 5])
    assert layers[0][f"{FILE_LISTS}/zlib1g.list"] == b"/.\n/usr/share/doc/zlib1g/copyright\n"


def test_stanzas_name_a_source_only_where_it_differs() -> None:
    def package(**differences: str) -> DebianPackage:
        return DebianPackage(
            name="a", version="1-1+b2", architecture="amd64", section="libs", priority="optional", **differences
        )

    assert "Source" not in dpkg_status([package()])
    assert "\nSource: b\n" in dpkg_status([package(source="b")])
    assert "\nSource: a (1-1)\n" in dpkg_status([package(source_version="1-1")])
    assert "\nSource: b (1-1)\n" in dpkg_status([package(source="b", source_version="1-1")])


def test_an_uninstalled_distribution_is_hidden_but_still_in_its_layer(layers: list[dict[str, bytes | None]]) -> None:
    metadata = f"{SITE_PACKAGES}/wheel-0.37.1.dist-info/METADATA"
    assert metadata in layers[2]
    assert f"{SITE_PACKAGES}/.wh.wheel-0.37.1.dist-info" in layers[6]
    merged = merge(layers)
    assert not [path for path in merged if path.startswith(f"{SITE_PACKAGES}/wheel")]
    assert f"{SITE_PACKAGES}/requests-2.19.1.dist-info/METADATA" in merged


def test_a_replaced_npm_package_is_hidden_as_a_whole(layers: list[dict[str, bytes | None]]) -> None:
    assert json.loads(layers[3][f"{MODULES}/json5/package.json"] or b"")["version"] == "1.0.1"
    assert f"{MODULES}/json5/{OPAQUE}" in layers[6]
    assert json.loads(merge(layers)[f"{MODULES}/json5/package.json"])["version"] == "1.0.2"


def test_npm_packages_are_where_npm_puts_them(layers: list[dict[str, bytes | None]]) -> None:
    merged = merge(layers)
    scoped = json.loads(merged[f"{MODULES}/@babel/traverse/package.json"])
    nested = json.loads(merged[f"{MODULES}/mkdirp/node_modules/minimist/package.json"])
    assert (scoped["name"], scoped["license"]) == ("@babel/traverse", "MIT")
    assert (nested["name"], nested["version"]) == ("minimist", "0.0.8")
    assert json.loads(merged[f"{MODULES}/minimist/package.json"])["version"] == "1.2.0"


@pytest.mark.skipif(
    os.environ.get("HARBORGUARD_TEST_INDEX") != "1", reason="downloads 11 MB; set HARBORGUARD_TEST_INDEX=1"
)
def test_the_real_wheels_come_from_the_package_index(tmp_path: Path) -> None:
    image = build_demo_image(tmp_path, cache=tmp_path / "cache")
    merged = merge(read_layers(image))
    assert b"\nVersion: 3.2.13\n" in merged[f"{SITE_PACKAGES}/Django-3.2.13.dist-info/METADATA"]
    assert merged["usr/local/bin/django-admin.py"].startswith(b"#!/usr/local/bin/python\n")
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) < 20_000_000
