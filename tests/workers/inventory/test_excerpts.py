"""Programs and archives of an image, from its layers to packages."""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from pathlib import Path

import pytest

from schema.dependencies.records import Inventory, PackageType
from tests.factories import images
from tests.factories.executables import auditable, elf, go_inline
from tests.factories.images import File, Hardlink, Symlink, Whiteout
from tests.factories.jars import jar, pom
from workers.examination import Questions
from workers.inventory import excerpts
from workers.inventory.excerpts import digest_of, take_excerpt
from workers.inventory.inventory import take_inventory, wanted
from workers.oci.layers import merge_layers
from workers.oci.limits import MIB, ImageLimits
from workers.reading import examine_image
from workers.sandbox import SandboxLimits


def go(version: str) -> bytes:
    return elf({".text": b"code", ".go.buildinfo": go_inline("go1.21.3", f"mod\texample.org/shop\t{version}\th1:")})


def program(version: str) -> File:
    return File(go(version), mode=0o755)


def inventory_of(directory: Path, *layers: images.Layer) -> Inventory:
    root = images.write_layout(directory, images.image(*layers))
    return take_inventory(merge_layers(root, wanted=wanted, limits=ImageLimits(), take_excerpt=take_excerpt))


def found(taken: Inventory) -> list[tuple[str, str, str, int]]:
    return [
        (package.name, package.version, package.path, package.layer_index)
        for package in taken.packages
        if package.name != "stdlib"
    ]


def test_programs_and_archives(tmp_path: Path) -> None:
    rust = elf({".dep-v0": auditable({"name": "memchr", "version": "2.5.0"})})
    base = images.layer({"usr/bin/shop": program("v1.0.0"), "usr/bin/rg": File(rust, mode=0o755)})
    top = images.layer({"opt/app.jar": jar(pom("g", "a", "1"))})
    taken = inventory_of(tmp_path, base, top)
    assert [(each.type, each.name, each.path, each.layer_digest) for each in taken.packages] == [
        (PackageType.CARGO, "memchr", "usr/bin/rg", base.diff_id),
        (PackageType.GO, "example.org/shop", "usr/bin/shop", base.diff_id),
        (PackageType.GO, "stdlib", "usr/bin/shop", base.diff_id),
        (PackageType.MAVEN, "g:a", "opt/app.jar", top.diff_id),
    ]
    assert taken.warnings == ()


def test_what_a_distribution_s_package_brought_has_that_as_its_owner(tmp_path: Path) -> None:
    """As long as it is as the package brought it, and the archives within an archive are the archive's."""
    inner = jar(pom("g", "inner", "1"))
    files: dict[str, bytes] = {
        "usr/bin/shop": go("v1.0.0"),
        "usr/bin/replaced": go("v2.0.0"),
        "usr/local/bin/own": go("v3.0.0"),
        "usr/share/java/a.jar": jar({**pom("g", "a", "1"), "lib/inner.jar": inner}),
    }
    sums = "".join(
        f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {path}\n" for path, content in files.items()
    )
    base = images.layer(
        {
            "var/lib/dpkg/status": b"Package: shop\nStatus: install ok installed\nArchitecture: all\nVersion: 1-1\n",
            "var/lib/dpkg/info/shop.md5sums": sums.encode(),
            **{path: File(content, mode=0o755) for path, content in files.items()},
        }
    )
    top = images.layer({"usr/bin/replaced": program("v2.0.1")})
    taken = inventory_of(tmp_path, base, top)
    owners = {package.path: package.owner for package in taken.packages}
    assert owners == {
        "var/lib/dpkg/status": None,
        "usr/bin/shop": "shop",
        "usr/bin/replaced": None,
        "usr/local/bin/own": None,
        "usr/share/java/a.jar": "shop",
        "usr/share/java/a.jar!/lib/inner.jar": "shop",
    }


@pytest.mark.parametrize(("algorithm", "size"), [("md5", 32), ("sha1", 40), ("sha256", 64), ("sha512", 0)])
def test_digests_are_those_of_the_whole_program(algorithm: str, size: int, tmp_path: Path) -> None:
    content = go("v1.0.0") + os.urandom(MIB)
    layout = images.write_layout(tmp_path, images.image(images.layer({"usr/bin/shop": File(content, mode=0o755)})))
    merged = merge_layers(layout, wanted=wanted, limits=ImageLimits(), take_excerpt=take_excerpt)
    digest = digest_of(merged.files["usr/bin/shop"], algorithm)
    assert digest == hashlib.new(algorithm, content).hexdigest()[:size]


def test_only_what_can_be_run_is_looked_into(tmp_path: Path) -> None:
    taken = inventory_of(
        tmp_path,
        images.layer(
            {
                "usr/share/doc/shop": File(go("v1.0.0"), mode=0o644),
                "usr/bin/group": File(go("v2.0.0"), mode=0o010),
                "usr/bin/script": File(b"#!/bin/sh\n" + go("v3.0.0"), mode=0o755),
                "usr/bin/empty": File(b"", mode=0o755),
                "usr/share/not-an-archive.jar": b"PX",
                "usr/share/archive.zip": jar(pom("g", "a", "1")),
            }
        ),
    )
    assert found(taken) == [("example.org/shop", "v2.0.0", "usr/bin/group", 0)]


def test_an_upper_layer_replaces_and_removes(tmp_path: Path) -> None:
    base = images.layer(
        {
            "bin/a": program("v1.0.0"),
            "bin/b": program("v1.0.0"),
            "lib/a.jar": jar(pom("g", "a", "1")),
            "bin/c": program("v1.0.0"),
        }
    )
    top = images.layer({"bin/a": program("v2.0.0"), "bin/.wh.b": b"", "lib/a.jar": Whiteout(), "bin/c": b"plain"})
    assert found(inventory_of(tmp_path, base, top)) == [("example.org/shop", "v2.0.0", "bin/a", 1)]


def test_links(tmp_path: Path) -> None:
    """Another name of the same file is another place; a symbolic link is none."""
    base = images.layer(
        {
            "usr/bin/a": program("v1.0.0"),
            "usr/bin/b": Hardlink("usr/bin/a"),
            "usr/bin/c": Symlink("a"),
            "usr/share/a-1.jar": jar(pom("g", "a", "1")),
            "usr/share/a.jar": Symlink("a-1.jar"),
        }
    )
    top = images.layer({"usr/local/bin/d": Hardlink("usr/bin/a"), "usr/bin/a": Whiteout()})
    assert found(inventory_of(tmp_path, base, top)) == [
        ("example.org/shop", "v1.0.0", "usr/bin/b", 0),
        ("example.org/shop", "v1.0.0", "usr/local/bin/d", 1),
        ("g:a", "1", "usr/share/a-1.jar", 0),
    ]


def test_below_a_link_to_a_directory(tmp_path: Path) -> None:
    base = images.layer({"usr/bin/x": b"", "bin": Symlink("usr/bin")})
    top = images.layer({"bin/shop": program("v1.0.0")})
    assert found(inventory_of(tmp_path, base, top)) == [("example.org/shop", "v1.0.0", "usr/bin/shop", 1)]


def test_a_larger_file_is_looked_into_on_disk(tmp_path: Path) -> None:
    large = elf(
        {".go.buildinfo": go_inline("go1.21.3", "mod\texample.org/shop\tv1\th1:"), ".rodata": os.urandom(9 * MIB)}
    )
    taken = inventory_of(tmp_path, images.layer({"bin/a": File(large, mode=0o755), "b.txt": b""}, compression="none"))
    assert found(taken) == [("example.org/shop", "v1", "bin/a", 0)]


def test_what_was_not_looked_into_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(excerpts, "_LARGEST", 100)
    taken = inventory_of(
        tmp_path,
        images.layer({"bin/a": program("v1"), "lib/b.jar": b"PK no archive", "bin/rust": File(b"\x7fELF", mode=0o755)}),
    )
    assert taken.packages == ()
    assert taken.warnings == ("bin/a: is too large to be looked into", "lib/b.jar: has no directory")


def test_an_egg_that_is_an_archive(tmp_path: Path) -> None:
    metadata = "Metadata-Version: 1.2\nName: six\nVersion: 1.16.0\nLicense: MIT\n"
    site = "usr/lib/python3/dist-packages"
    taken = inventory_of(
        tmp_path,
        images.layer(
            {
                f"{site}/six-1.16.0-py3.9.egg": jar({"six.py": "", "EGG-INFO/PKG-INFO": metadata}),
                f"{site}/bare.egg": jar({"bare.py": ""}),
                f"{site}/bomb.egg": jar({"EGG-INFO/PKG-INFO": bytes(5_000_000)}),
                f"{site}/damaged.egg": b"PK",
                f"{site}/link.egg": b"../six",
            }
        ),
    )
    assert [(each.type, each.licenses) for each in taken.packages] == [(PackageType.PIP, ("MIT",))]
    assert found(taken) == [("six", "1.16.0", f"{site}/six-1.16.0-py3.9.egg", 0)]
    assert taken.warnings == (
        f"{site}/bomb.egg: unpacks to more than is read",
        f"{site}/damaged.egg: has no directory",
    )


def test_crates_that_are_no_json_are_a_warning(tmp_path: Path) -> None:
    broken = elf({".dep-v0": zlib.compress(b"{")})
    taken = inventory_of(tmp_path, images.layer({"bin/a": File(broken, mode=0o755)}))
    assert taken.warnings == ("bin/a: has a list of crates that is not JSON",)


async def test_a_large_program_takes_little_memory(tmp_path: Path) -> None:
    """Trivy's own program, nearly twice as large as the memory the child may have."""
    trivy = Path(sys.executable).with_name("trivy").read_bytes()
    assert len(trivy) > 150 * MIB
    layer = images.layer({"usr/bin/trivy": File(trivy, mode=0o755)}, compression="none")
    layout = images.write_layout(tmp_path, images.image(layer))
    sandbox = SandboxLimits(memory_bytes=100 * MIB, wall_seconds=60)
    taken = (await examine_image(layout, Questions(), limits=ImageLimits(), sandbox=sandbox)).inventory
    names = {package.name for package in taken.packages}
    assert {"stdlib", "github.com/aquasecurity/trivy", "golang.org/x/net"} <= names
    assert len(names) > 300
