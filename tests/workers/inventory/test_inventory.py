from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema.dependencies.records import Inventory, PackageType
from schema.scans.failures import FailureCode, ScanFailure
from tests.factories import images
from tests.factories.images import Opaque, Symlink, Whiteout
from tests.factories.rpm import header, ndb_database
from tests.workers.inventory.files import files
from workers.inventory import (
    apk,
    dotnet,
    dpkg,
    inventory,
    node,
    node_locks,
    os_release,
    php,
    python,
    python_locks,
    ruby,
    rust,
)
from workers.inventory.inventory import take_inventory, wanted
from workers.inventory.rpm import packages as rpm
from workers.oci.files import MergedImage
from workers.oci.layers import merge_layers
from workers.oci.limits import ImageLimits

OS_RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
ROCKY = 'ID="rocky"\nVERSION_ID="9.3"\nPRETTY_NAME="Rocky Linux 9.3 (Blue Onyx)"'
STATUS = "var/lib/dpkg/status"
SITE = "usr/lib/python3.11/site-packages"
WANTED = [
    "etc/os-release",
    "usr/lib/os-release",
    "etc/debian_version",
    "etc/alpine-release",
    STATUS,
    "var/lib/dpkg/status.d/base",
    "var/lib/dpkg/info/libc6:amd64.list",
    "usr/share/doc/libc6/copyright",
    "var/lib/dpkg/info/libc6:amd64.md5sums",
    "var/lib/dpkg/status.d/base.md5sums",
    "var/lib/rpm/rpmdb.sqlite",
    "var/lib/rpm/rpmdb.sqlite-wal",
    "usr/lib/sysimage/rpm/Packages.db",
    "usr/share/rpm/Packages",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    f"{SITE}/six-1.16.0.dist-info/METADATA",
    f"{SITE}/six.egg-info/PKG-INFO",
    f"{SITE}/six.egg-info",
    "opt/six.egg/EGG-INFO/PKG-INFO",
    "app/node_modules/a/package.json",
    "package.json",
    "app/package-lock.json",
    "app/npm-shrinkwrap.json",
    "app/yarn.lock",
    "app/pnpm-lock.yaml",
    "app/requirements.txt",
    "app/requirements-prod.txt",
    "app/Pipfile.lock",
    "app/poetry.lock",
    "app/pdm.lock",
    "app/uv.lock",
    "usr/lib/ruby/gems/3.1.0/specifications/default/json-2.6.1.gemspec",
    "app/Gemfile.lock",
    "app/gems.locked",
    "app/vendor/composer/installed.json",
    "app/composer.lock",
    "app/web.deps.json",
    "app/packages.lock.json",
    "app/Cargo.lock",
]
ANALYSERS = (apk, dotnet, dpkg, node, node_locks, os_release, php, python, python_locks, rpm, ruby, rust)


def status(**versions: str) -> bytes:
    stanzas = (
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        for name, version in versions.items()
    )
    return "\n".join(stanzas).encode()


def manifest(name: str, version: str) -> bytes:
    return json.dumps({"name": name, "version": version}).encode()


def inventory_of(directory: Path, *layers: images.Layer) -> Inventory:
    root = images.write_layout(directory, images.image(*layers))
    return take_inventory(merge_layers(root, wanted=wanted, limits=ImageLimits()))


def found(taken: Inventory) -> list[tuple[str, str, int]]:
    return [(package.name, package.version, package.layer_index) for package in taken.packages]


def test_an_image_of_several_layers(tmp_path: Path) -> None:
    base = images.layer(
        {
            "usr/lib/os-release": OS_RELEASE,
            "etc/os-release": Symlink("../usr/lib/os-release"),
            STATUS: status(libc6="2.36-9", openssl="3.0.9-1"),
            "var/lib/dpkg/info/libc6:amd64.list": b"/.\n",
            "var/lib/dpkg/info/openssl.list": b"/.\n",
        },
        created_by="ADD rootfs",
    )
    wheel = images.layer({f"{SITE}/six-1.15.0.dist-info/METADATA": b"Name: six\nVersion: 1.15.0\n"})
    modules = images.layer(
        {
            "app/node_modules/a/package.json": manifest("a", "1.0.0"),
            "app/node_modules/b/package.json": manifest("b", "1.0.0"),
        }
    )
    taken = inventory_of(tmp_path, base, wheel, modules)
    assert taken.operating_system is not None
    assert taken.operating_system.ecosystem == "Debian:12"
    assert found(taken) == [
        ("libc6", "2.36-9", 0),
        ("openssl", "3.0.9-1", 0),
        ("a", "1.0.0", 2),
        ("b", "1.0.0", 2),
        ("six", "1.15.0", 1),
    ]
    assert [package.layer_digest for package in taken.packages[-2:]] == [modules.diff_id, wheel.diff_id]
    assert [layer.created_by for layer in taken.layers] == ["ADD rootfs", "", ""]
    assert taken.warnings == ()


def test_an_upper_layer_upgrades_and_removes(tmp_path: Path) -> None:
    base = images.layer(
        {
            "etc/os-release": OS_RELEASE,
            STATUS: status(curl="7.88.1-10", libc6="2.36-9"),
            "var/lib/dpkg/info/curl.list": b"/.\n",
            "var/lib/dpkg/info/libc6:amd64.list": b"/.\n",
            f"{SITE}/six-1.15.0.dist-info/METADATA": b"Name: six\nVersion: 1.15.0\n",
            f"{SITE}/wheel-0.40.0.dist-info/METADATA": b"Name: wheel\nVersion: 0.40.0\n",
            "app/node_modules/a/package.json": manifest("a", "1.0.0"),
            "app/node_modules/b/package.json": manifest("b", "1.0.0"),
        }
    )
    top = images.layer(
        {
            STATUS: status(curl="7.88.1-10+deb12u5", libc6="2.36-9", jq="1.6-2.1"),
            "var/lib/dpkg/info/curl.list": b"/.\n",
            "var/lib/dpkg/info/jq.list": b"/.\n",
            f"{SITE}/six-1.15.0.dist-info": Whiteout(),
            f"{SITE}/six-1.16.0.dist-info/METADATA": b"Name: six\nVersion: 1.16.0\n",
            f"{SITE}/wheel-0.40.0.dist-info/METADATA": Whiteout(),
            "app/node_modules/a": Opaque(),
            "app/node_modules/a/package.json": manifest("a", "2.0.0"),
            "app/node_modules/b": Whiteout(),
        }
    )
    assert found(inventory_of(tmp_path, base, top)) == [
        ("curl", "7.88.1-10+deb12u5", 1),
        ("jq", "1.6-2.1", 1),
        ("libc6", "2.36-9", 0),
        ("a", "2.0.0", 1),
        ("six", "1.16.0", 1),
    ]


def test_the_layer_of_an_apk_package_is_that_of_its_files(tmp_path: Path) -> None:
    base = b"P:musl\nV:1.2.5-r9\nF:lib\nR:libc.musl-x86_64.so.1\nR:ld-musl-x86_64.so.1\n\nP:virtual\nV:1\n"
    added = base + b"\nP:curl\nV:8\nF:usr/bin\nR:curl\n"
    library: dict[str, images.Entry] = {
        "usr/lib/ld-musl-x86_64.so.1": b"ELF",
        "usr/lib/libc.musl-x86_64.so.1": Symlink("ld-musl-x86_64.so.1"),
    }
    taken = inventory_of(
        tmp_path,
        images.layer({"lib": Symlink("usr/lib"), "usr/lib/apk/db/installed": base, **library}),
        images.layer({"usr/lib/apk/db/installed": added, "usr/bin/curl": b"ELF"}),
        images.layer({"usr/lib/apk/db/installed": added}),
    )
    assert found(taken) == [("curl", "8", 1), ("musl", "1.2.5-r9", 0), ("virtual", "1", 2)]
    assert taken.packages[0].layer_digest == taken.layers[1].diff_id


def test_an_rpm_image_of_several_layers(tmp_path: Path) -> None:
    dist_info = f"{SITE}/urllib3-1.26.5.dist-info/METADATA"
    metadata = b"Name: urllib3\nVersion: 1.26.5\n"
    bash = header("bash", "5.1.8", "6.el9", files={"/usr/bin/bash": b"1"})
    newer = header("bash", "5.1.8", "9.el9", files={"/usr/bin/bash": b"2"})
    glibc = header("glibc", "2.34", "100.el9", files={"/lib64/libc.so.6": b"1"})
    urllib3 = header("python3-urllib3", "1.26.5", "3.el9", files={f"/{dist_info}": metadata})
    database = "usr/lib/sysimage/rpm/Packages.db"
    taken = inventory_of(
        tmp_path,
        images.layer(
            {
                "etc/os-release": ROCKY.encode(),
                "lib64": Symlink("usr/lib64"),
                "var/lib/rpm": Symlink("../../usr/lib/sysimage/rpm"),
                database: ndb_database([bash, glibc]),
                "usr/bin/bash": b"1",
                "usr/lib64/libc.so.6": b"1",
            }
        ),
        images.layer(
            {
                "var/lib/rpm/Packages.db": ndb_database([newer, glibc, urllib3]),
                "usr/bin/bash": b"2",
                dist_info: metadata,
            }
        ),
        images.layer({f"{SITE}/six-1.16.0.dist-info/METADATA": b"Name: six\nVersion: 1.16.0\n"}),
    )
    assert found(taken) == [
        ("six", "1.16.0", 2),
        ("urllib3", "1.26.5", 1),
        ("bash", "5.1.8-9.el9", 1),
        ("glibc", "2.34-100.el9", 0),
        ("python3-urllib3", "1.26.5-3.el9", 1),
    ]
    assert [(each.name, each.owner) for each in taken.packages[:2]] == [("six", None), ("urllib3", "python3-urllib3")]
    assert taken.unread == ()


def test_an_alpine_image_with_a_merged_usr(tmp_path: Path) -> None:
    base = images.layer(
        {
            "etc/os-release": b"ID=alpine\nVERSION_ID=3.22.0\n",
            "lib": Symlink("usr/lib"),
            "usr/lib/apk/db/installed": b"P:musl\nV:1.2.5-r9\nA:x86_64\no:musl\n",
        }
    )
    [package] = inventory_of(tmp_path, base).packages
    assert (package.name, package.ecosystem, package.type) == ("musl", "Alpine:v3.22", PackageType.APK)


def test_what_a_lock_file_names_counts_where_it_is_not_installed() -> None:
    requirements = "Flask_Login==0.6.3\nflask==2.0\nclick==8.1.7\n"
    contents: dict[str, str | bytes] = {
        f"{SITE}/Flask_Login-0.6.3.dist-info/METADATA": "Name: flask-login\nVersion: 0.6.3\n",
        f"{SITE}/flask-2.2.5.dist-info/METADATA": "Name: flask\nVersion: 2.2.5\n",
        "srv/requirements.txt": requirements,
        "srv/web/requirements.txt": requirements,
        "srv/Pipfile.lock": '{"default": {"click": {"version": "==8.1.7"}, "six": {"version": "==1.16.0"}}}',
        "srv/Cargo.lock": '[[package]]\nname = "click"\nversion = "8.1.7"\nsource = "registry"\n',
    }
    taken = take_inventory(MergedImage(files=files(contents), layers=()))
    assert [(each.type, each.name, each.version, each.path) for each in taken.packages] == [
        (PackageType.CARGO, "click", "8.1.7", "srv/Cargo.lock"),
        (PackageType.PIP, "click", "8.1.7", "srv/Pipfile.lock"),
        (PackageType.PIP, "flask", "2.0", "srv/requirements.txt"),
        (PackageType.PIP, "flask", "2.2.5", f"{SITE}/flask-2.2.5.dist-info/METADATA"),
        (PackageType.PIP, "flask-login", "0.6.3", f"{SITE}/Flask_Login-0.6.3.dist-info/METADATA"),
        (PackageType.PIP, "six", "1.16.0", "srv/Pipfile.lock"),
    ]


def test_an_empty_image(tmp_path: Path) -> None:
    taken = inventory_of(tmp_path, images.layer({"app": b"static binary"}))
    assert (taken.operating_system, taken.packages, taken.warnings) == (None, (), ())


def test_what_could_not_be_read_is_a_warning(tmp_path: Path) -> None:
    taken = inventory_of(
        tmp_path, images.layer({STATUS: b"\x00\x01", "node_modules/a/package.json": b"{", "a": images.Hardlink("b")})
    )
    assert taken.packages == ()
    assert taken.warnings == (
        "A hard link leads to b, which does not exist",
        f"{STATUS}: is not a package database that can be read",
        "node_modules/a/package.json: is not JSON",
    )


def test_packages_without_their_database_are_not_passed_over_in_silence() -> None:
    taken = take_inventory(MergedImage(files=files({"etc/os-release": ROCKY}), layers=()))
    assert taken.unread == ("the RPM packages of Rocky Linux 9.3 (Blue Onyx)",)


def test_a_database_that_is_broken_is_unread() -> None:
    path = "usr/lib/sysimage/rpm/Packages.db"
    taken = take_inventory(MergedImage(files=files({"etc/os-release": ROCKY, path: b"nonsense"}), layers=()))
    assert taken.unread == (f"the RPM database {path}",)
    assert taken.warnings == (f"{path}: has a file that is cut off",)


def test_one_package_installed_for_two_architectures_is_two() -> None:
    both = status(libc6="2.36-9") + b"\n" + status(libc6="2.36-9").replace(b"amd64", b"i386")
    again = both + b"\n" + status(libc6="2.36-9")
    taken = take_inventory(MergedImage(files=files({STATUS: again}), layers=()))
    assert [package.architecture for package in taken.packages] == ["amd64", "i386"]


def test_the_order_does_not_depend_on_that_of_the_files() -> None:
    contents: dict[str, str | bytes] = {
        STATUS: status(b="2", a="1"),
        "z/node_modules/c/package.json": manifest("c", "1"),
        "a/node_modules/c/package.json": manifest("c", "1"),
        f"{SITE}/six.egg-info": b"Name: six\nVersion: 1\n",
    }
    backwards = dict(reversed(contents.items()))
    taken = [take_inventory(MergedImage(files=files(each), layers=())) for each in (contents, backwards)]
    assert taken[0] == taken[1]
    assert [package.path for package in taken[0].packages][2:4] == [
        "a/node_modules/c/package.json",
        "z/node_modules/c/package.json",
    ]


def test_too_many_packages_are_no_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_PACKAGES", 2)
    assert len(take_inventory(MergedImage(files=files({STATUS: status(a="1", b="1")}), layers=())).packages) == 2
    with pytest.raises(ScanFailure) as caught:
        take_inventory(MergedImage(files=files({STATUS: status(a="1", b="1", c="1")}), layers=()))
    assert caught.value.code is FailureCode.LIMIT_EXCEEDED


def test_a_package_listed_without_end_is_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_PACKAGES", 2)
    with pytest.raises(ScanFailure) as caught:
        take_inventory(MergedImage(files=files({STATUS: b"\n".join([status(a="1")] * 3)}), layers=()))
    assert caught.value.code is FailureCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("path", WANTED)
def test_wanted_files(path: str) -> None:
    assert wanted(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "usr/bin/node",
        "app/node_modules/a/index.js",
        "usr/share/doc/libc6/changelog.Debian.gz",
        "etc/apt/sources.list",
        "proc/1/status",
        "usr/src/METADATA",
        "var/lib/rpm/Name",
        "srv/var/lib/rpm/Packages",
        "srv/base.md5sums",
        "app/requirements-dev.txt",
        "app/requirements/test.txt",
        "app/node_modules/a/yarn.lock",
        "usr/lib/python3/site-packages/a/requirements.txt",
        "usr/lib/ruby/gems/3.1.0/gems/a-1/Gemfile.lock",
        "usr/lib/ruby/gems/3.1.0/gems/a-1/a.gemspec",
        "app/vendor/acme/composer.lock",
        "app/installed.json",
        "root/.cargo/registry/src/a/Cargo.lock",
    ],
)
def test_files_of_no_use(path: str) -> None:
    assert not wanted(path)


parts = sorted({part for path in WANTED for part in path.split("/")} | {"node_modules", "test", "x"})
paths = st.sampled_from(WANTED) | st.lists(st.sampled_from(parts), max_size=8).map("/".join) | st.text()


@settings(deadline=None)
@example("var/lib/dpkg/status.d/os-release")  # a package may bear the name of another analyser's file
@given(st.tuples(paths, paths).map("/".join) | paths)
def test_the_quick_look_at_a_path_decides_as_the_analysers_do(path: str) -> None:
    assert wanted(path) == any(module.wants(path) for module in ANALYSERS)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(WANTED), st.binary(max_size=200) | st.just(status(a="1"))),
    st.integers(min_value=0, max_value=3),
)
def test_no_image_makes_it_raise(contents: dict[str, str | bytes], layer: int) -> None:
    taken = take_inventory(MergedImage(files=files(contents, layer), layers=()))
    assert all(package.layer_index == layer for package in taken.packages)
    assert len({(package.purl, package.path) for package in taken.packages}) == len(taken.packages)
