from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageRecord, PackageType
from tests.workers.inventory.files import DEBIAN, file, files
from workers.inventory.dpkg import STATUS, dpkg_packages, wants
from workers.inventory.notes import Notes
from workers.inventory.ownership import Ownership
from workers.oci.files import ImageFile

# As dpkg 1.21 writes it, shortened.
BOOKWORM = """\
Package: adduser
Status: install ok installed
Priority: important
Section: admin
Installed-Size: 686
Maintainer: Debian Adduser Developers <adduser@packages.debian.org>
Architecture: all
Multi-Arch: foreign
Version: 3.134
Depends: passwd
Conffiles:
 /etc/adduser.conf 6e9ae6e4c47d9b8e3a0b6f6e2c6ad5b8
 /etc/deluser.conf 773fb95e98a27947de4a95abb3d3f2a2
Description: add and remove users and groups
 This package includes the 'adduser' and 'deluser' commands for creating
 and removing users.
 .
 Version: of this text is not the package's

Package: gcc-12-base
Status: install ok installed
Architecture: amd64
Source: gcc-12
Version: 12.2.0-14

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u4

Package: libc6
Status: install ok installed
Architecture: i386
Multi-Arch: same
Source: glibc
Version: 2.36-9+deb12u4

Package: login
Essential: yes
Status: install ok installed
Architecture: amd64
Source: shadow (1:4.13+dfsg1-1)
Version: 1:4.13+dfsg1-1+b1

Package: old-config
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0

Package: half
Status: install reinstreq half-installed
Architecture: amd64
Version: 1.0

Package: man-db
Status: install ok triggers-pending
Architecture: amd64
Version: 2.11.2-2

Package: held
Status: hold ok installed
Architecture: amd64
Version: 1.2
"""


def read(found: dict[str, ImageFile], notes: Notes | None = None) -> list[PackageRecord]:
    return list(dpkg_packages(found, DEBIAN, Ownership(found), notes or Notes()))


def test_packages_whose_files_are_in_place() -> None:
    packages = read(files({STATUS: BOOKWORM}))
    assert [(each.name, each.version, each.architecture) for each in packages] == [
        ("adduser", "3.134", "all"),
        ("gcc-12-base", "12.2.0-14", "amd64"),
        ("libc6", "2.36-9+deb12u4", "amd64"),
        ("libc6", "2.36-9+deb12u4", "i386"),
        ("login", "1:4.13+dfsg1-1+b1", "amd64"),
        ("man-db", "2.11.2-2", "amd64"),
        ("held", "1.2", "amd64"),
    ]
    assert {(each.type, each.ecosystem, each.path) for each in packages} == {(PackageType.DEB, "Debian:12", STATUS)}


def test_the_source_package_and_its_version() -> None:
    sources = {each.name: (each.source_name, each.source_version) for each in read(files({STATUS: BOOKWORM}))}
    assert sources["adduser"] == ("adduser", "3.134")
    assert sources["gcc-12-base"] == ("gcc-12", "12.2.0-14")
    assert sources["login"] == ("shadow", "1:4.13+dfsg1-1")


def test_the_package_url() -> None:
    urls = {each.name: each.purl for each in read(files({STATUS: BOOKWORM}))}
    assert urls["adduser"] == "pkg:deb/debian/adduser@3.134?arch=all&distro=debian-12"
    assert urls["login"] == "pkg:deb/debian/login@1:4.13%2Bdfsg1-1%2Bb1?arch=amd64&distro=debian-12"


def test_an_image_that_does_not_say_what_it_is() -> None:
    found = files({STATUS: BOOKWORM})
    package = next(dpkg_packages(found, None, Ownership(found), Notes()))
    assert (package.ecosystem, package.purl) == (None, "pkg:deb/debian/adduser@3.134?arch=all")


def test_distroless_images_have_a_file_for_each_package() -> None:
    stanza = "Package: tzdata\nVersion: 2024a-0+deb12u1\nArchitecture: all\n"
    found = files({"var/lib/dpkg/status.d/tzdata": stanza, "var/lib/dpkg/status.d/tzdata.md5sums": "0123 usr/share"})
    [package] = read(found)
    assert (package.name, package.path) == ("tzdata", "var/lib/dpkg/status.d/tzdata")


def test_the_layer_is_that_of_the_packages_file_list() -> None:
    found = files({STATUS: BOOKWORM}, layer=4) | {
        each.path: each
        for each in (
            file("var/lib/dpkg/info/adduser.list", "/.\n", 0),
            file("var/lib/dpkg/info/libc6:amd64.list", "/.\n", 1),
            file("var/lib/dpkg/info/libc6:i386.list", "/.\n", 2),
        )
    }
    layers = {(each.name, each.architecture): each.layer_index for each in read(found)}
    assert layers["adduser", "all"] == 0
    assert (layers["libc6", "amd64"], layers["libc6", "i386"]) == (1, 2)
    assert layers["login", "amd64"] == 4  # has no list: the status file's layer
    assert read(found)[0].layer_digest == f"sha256:{0:064x}"


def test_licences_are_those_of_the_packages_copyright_file() -> None:
    copyright_file = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nLicense: LGPL-2.1+\n"
    found = files({STATUS: BOOKWORM, "usr/share/doc/libc6/copyright": copyright_file})
    licences = {each.name: each.licenses for each in read(found)}
    assert licences["libc6"] == ("LGPL-2.1-or-later",)
    assert licences["login"] == ()


PKG_INFO = "usr/lib/python3/dist-packages/urllib3-1.26.12.egg-info/PKG-INFO"
LIST = "var/lib/dpkg/info/adduser.list"
SUMS = "var/lib/dpkg/info/adduser.md5sums"


def owner(found: dict[str, ImageFile], path: str = PKG_INFO) -> str | None:
    owned = Ownership(found)
    list(dpkg_packages(found, DEBIAN, owned, Notes()))
    return owned.owner(path)


def test_a_file_is_its_packages_while_its_sum_is_right() -> None:
    sums = f"{hashlib.md5(b'Name: urllib3', usedforsecurity=False).hexdigest()}  {PKG_INFO}\n"
    assert owner(files({STATUS: BOOKWORM, SUMS: sums, PKG_INFO: "Name: urllib3"})) == "adduser"
    assert owner(files({STATUS: BOOKWORM, SUMS: sums, PKG_INFO: "Name: urllib3, newer"})) is None
    assert owner(files({STATUS: BOOKWORM.replace("adduser", "other"), SUMS: sums, PKG_INFO: "Name: urllib3"})) is None


def test_without_sums_a_file_is_its_packages_up_to_the_layer_of_the_list() -> None:
    database = files({STATUS: BOOKWORM, LIST: f"/.\n/usr\n/{PKG_INFO}\n"}, layer=1)
    assert owner(database | files({PKG_INFO: "Name: urllib3"}, layer=1)) == "adduser"
    assert owner(database | files({PKG_INFO: "Name: urllib3"}, layer=2)) is None


def test_distroless_images_have_their_sums_beside_the_stanza() -> None:
    stanza = "Package: python3-six\nVersion: 1\nArchitecture: all\n"
    digest = hashlib.md5(b"Name: six", usedforsecurity=False).hexdigest()
    found = files(
        {
            "var/lib/dpkg/status.d/six": stanza,
            "var/lib/dpkg/status.d/six.md5sums": f"{digest}  ./opt/six.egg-info\n",
            "opt/six.egg-info": "Name: six",
        }
    )
    assert owner(found, "opt/six.egg-info") == "python3-six"


@pytest.mark.parametrize(
    ("stanza", "note"),
    [
        ("Package: a\nStatus: install ok installed\n", "a package without a version"),
        ("Version: 1\nStatus: install ok installed\n", "a package without a name"),
        ("Package: a b\nStatus: install ok installed\nVersion: 1\n", "“a b” is not a package's name or version"),
        ("Package: a\nStatus: install ok installed\nVersion: 1\nVersion: 2\n", "“1\N{REPLACEMENT CHARACTER}2” is not"),
        (f"Package: {'a' * 400}\nStatus: install ok installed\nVersion: 1\n", "is not a package's name or version"),
    ],
)
def test_a_malformed_stanza_costs_only_itself(stanza: str, note: str) -> None:
    notes = Notes()
    packages = read(files({STATUS: f"{stanza}\n{BOOKWORM}"}), notes)
    assert len(packages) == 7
    [line] = notes.lines()
    assert line.startswith(f"{STATUS}: ")
    assert note in line


def test_a_source_that_cannot_be_read_is_the_package_itself() -> None:
    stanza = "Package: a\nStatus: install ok installed\nVersion: 1\nSource: b (c\n"
    [package] = read(files({STATUS: stanza}))
    assert (package.source_name, package.source_version) == ("a", "1")


def test_a_database_that_is_cut_off_gives_what_is_there() -> None:
    packages = read(files({STATUS: BOOKWORM[: BOOKWORM.index("Version: 12.2.0")]}))
    assert [each.name for each in packages] == ["adduser"]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (STATUS, True),
        ("var/lib/dpkg/status-old", False),
        ("var/lib/dpkg/info/libc6:amd64.list", True),
        ("var/lib/dpkg/info/libc6:amd64.md5sums", True),
        ("var/lib/dpkg/info/libc6:amd64.postinst", False),
        ("var/lib/dpkg/status.d/tzdata.md5sums", True),
        ("usr/share/doc/libc6/copyright", True),
        ("usr/share/doc/libc6/examples/copyright", False),
        ("usr/share/doc/copyright", False),
        ("home/status", False),
    ],
)
def test_wanted_files(path: str, wanted: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    assert wants(path) is wanted


@settings(deadline=None)
@given(st.binary(), st.binary(), st.text())
def test_nothing_makes_it_raise(status: bytes, listed: bytes, name: str) -> None:
    head = f"Package: a\nStatus: install ok installed\nVersion: {name}\n\n".encode(errors="replace")
    infos = {f"var/lib/dpkg/info/a.{ending}": listed for ending in ("list", "md5sums")}
    found = files({STATUS: head + status, **infos})
    for package in read(found):
        assert package.name.isascii()
        assert package.version.isascii()
