from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from tests.workers.inventory.files import ALPINE, files
from workers.inventory.apk import DATABASES, apk_packages, wants
from workers.inventory.notes import Notes
from workers.inventory.ownership import Ownership
from workers.oci.files import ImageFile, Locate, Place

DATABASE = DATABASES[0]
# As apk-tools 2.14 writes it, shortened.
INSTALLED = """\
C:Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=
P:alpine-baselayout
V:3.4.3-r2
A:x86_64
S:8911
I:315392
T:Alpine base dir structure and init scripts
U:https://git.alpinelinux.org/cgit/aports/tree/main/alpine-baselayout
L:GPL-2.0-only
o:alpine-baselayout
m:Natanael Copa <ncopa@alpinelinux.org>
t:1695719370
c:3e3d0a3a4aaa1b6c4d5e
D:alpine-baselayout-data=3.4.3-r2 /bin/sh
F:dev
F:etc
R:motd
Z:Q1SLkS9hBidUbPwwrw+XR0Whv3ww8=

P:busybox-binsh
V:1.36.1-r15
A:x86_64
L:GPL-2.0-only
o:busybox
p:/bin/sh cmd:sh=1.36.1-r15
r:busybox-initscripts

P:libcrypto3
V:3.1.4-r5
A:x86_64
L:Apache-2.0
o:openssl

P:libgcc
V:13.2.1_git20231014-r0
A:x86_64
L:GPL-2.0-or-later AND LGPL-2.1-or-later WITH GCC-exception-3.1
o:gcc

P:older
V:1.0-r0
A:x86_64
L:BSD GPL2+ custom
"""


def read(
    found: dict[str, ImageFile],
    notes: Notes | None = None,
    system: OperatingSystem | None = ALPINE,
    locate: Locate = lambda _path: None,
) -> list[PackageRecord]:
    return list(apk_packages(found, system, Ownership(found, locate), notes or Notes()))


def test_packages_with_their_origin() -> None:
    packages = read(files({DATABASE: INSTALLED}, layer=2))
    assert [(each.name, each.version, each.source_name, each.source_version) for each in packages] == [
        ("alpine-baselayout", "3.4.3-r2", "alpine-baselayout", "3.4.3-r2"),
        ("busybox-binsh", "1.36.1-r15", "busybox", "1.36.1-r15"),
        ("libcrypto3", "3.1.4-r5", "openssl", "3.1.4-r5"),
        ("libgcc", "13.2.1_git20231014-r0", "gcc", "13.2.1_git20231014-r0"),
        ("older", "1.0-r0", "older", "1.0-r0"),
    ]
    first = packages[0]
    assert (first.type, first.ecosystem, first.architecture) == (PackageType.APK, "Alpine:v3.19", "x86_64")
    assert (first.path, first.layer_index) == (DATABASE, 2)


def test_the_package_url() -> None:
    packages = read(files({DATABASE: INSTALLED}))
    assert packages[2].purl == "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine-3.19.1"
    wolfi = OperatingSystem(id="wolfi", name="Wolfi", version="20230201", ecosystem="Wolfi")
    packages = read(files({DATABASE: INSTALLED}), system=wolfi)
    assert packages[2].purl == "pkg:apk/wolfi/libcrypto3@3.1.4-r5?arch=x86_64&distro=wolfi-20230201"
    assert packages[2].ecosystem == "Wolfi"
    rolling = OperatingSystem(id="alpine", name="Alpine", version="", ecosystem=None)
    packages = read(files({DATABASE: INSTALLED}), system=rolling)
    assert packages[2].purl == "pkg:apk/alpine/libcrypto3@3.1.4-r5?arch=x86_64&distro=alpine"


def test_licences_are_an_expression_or_a_list() -> None:
    licences = {each.name: each.licenses for each in read(files({DATABASE: INSTALLED}))}
    assert licences["libcrypto3"] == ("Apache-2.0",)
    assert licences["libgcc"] == ("GPL-2.0-or-later AND LGPL-2.1-or-later WITH GCC-exception-3.1",)
    assert licences["older"] == ("BSD", "GPL-2.0-or-later", "custom")


def test_the_database_of_a_merged_usr() -> None:
    [package] = read(files({DATABASES[1]: "P:musl\nV:1.2.5-r9\nA:aarch64\n"}))
    assert (package.name, package.path) == ("musl", "usr/lib/apk/db/installed")


def test_the_layer_is_the_lowest_that_still_has_a_file_of_the_package() -> None:
    layers = {"etc/motd": 3, "usr/lib/libgcc_s.so.1": 1, "usr/lib/libgcc.a": 4}
    database = INSTALLED.replace("L:GPL-2.0-or-later AND", "F:usr/lib\nR:gone\nR:libgcc.a\nR:libgcc_s.so.1\nL:GPL AND")

    def locate(path: str) -> Place | None:
        return Place(layer_index=layers[path], layer_digest=f"sha256:{layers[path]}") if path in layers else None

    found = {each.name: each for each in read(files({DATABASE: database}, layer=5), locate=locate)}
    assert (found["alpine-baselayout"].layer_index, found["alpine-baselayout"].layer_digest) == (3, "sha256:3")
    assert found["libgcc"].layer_index == 1
    assert found["busybox-binsh"].layer_index == 5  # has no files


def test_a_file_is_its_packages_while_its_digest_is_right() -> None:
    sha1 = base64.b64encode(hashlib.sha1(b"Name: six", usedforsecurity=False).digest()).decode()
    sha256 = base64.b64encode(hashlib.sha256(b"Name: six").digest()).decode()
    path = "usr/lib/python3.12/site-packages/six-1.16.0.egg-info"
    directory, _, name = path.rpartition("/")
    for digest, content, owner in (
        (f"Q1{sha1}", "Name: six", "py3-six"),
        (f"Q2{sha256}", "Name: six", "py3-six"),
        (f"Q1{sha1}", "Name: six, newer", None),
        ("Q1%", "Name: six", None),
        ("Q9AAAA", "Name: six", None),
    ):
        found = files({DATABASE: f"P:py3-six\nV:1\nF:{directory}\nR:{name}\na:0:0:755\nZ:{digest}\n", path: content})
        owned = Ownership(found)
        list(apk_packages(found, ALPINE, owned, Notes()))
        assert owned.owner(path) == owner


def test_a_malformed_entry_costs_only_itself() -> None:
    notes = Notes()
    packages = read(files({DATABASE: f"P:broken\nA:x86_64\n\nV:1\n\nP:a b\nV:1\n\n{INSTALLED}"}), notes)
    assert len(packages) == 5
    assert notes.lines() == (
        f"{DATABASE}: a package without a version",
        f"{DATABASE}: a package without a name",
        f"{DATABASE}: “a b” is not a package's name or version",
    )


@pytest.mark.parametrize(
    ("path", "wanted"), [(DATABASES[0], True), (DATABASES[1], True), ("srv/lib/apk/db/installed", False)]
)
def test_wanted_files(path: str, wanted: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    assert wants(path) is wanted


@settings(deadline=None)
@given(st.binary())
def test_nothing_makes_it_raise(content: bytes) -> None:
    for package in read(files({DATABASE: b"P:a\nV:1\nF:b\n" + content})):
        assert package.purl.startswith("pkg:apk/alpine/")
