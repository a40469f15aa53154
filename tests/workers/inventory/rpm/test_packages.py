from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from tests.factories.rpm import berkeley_database, header, header_of, ndb_database, sqlite_database
from tests.workers.inventory.files import file, files
from tests.workers.inventory.rpm.corruption import corrupted
from workers.inventory.notes import Notes
from workers.inventory.ownership import Ownership
from workers.inventory.rpm import packages as rpm
from workers.inventory.rpm.header import Tag
from workers.oci.files import ImageFile, Locate, Place

ROCKY = OperatingSystem(id="rocky", name="Rocky Linux 9.3", version="9.3", ecosystem="Rocky Linux:9")
RHEL = OperatingSystem(id="rhel", name="RHEL 8.9", version="8.9", ecosystem="Red Hat:enterprise_linux:8")
PATH = f"usr/lib/sysimage/rpm/{rpm.NDB}"


def read(
    found: dict[str, ImageFile],
    notes: Notes | None = None,
    *,
    system: OperatingSystem | None = ROCKY,
    locate: Locate = lambda _path: None,
) -> list[PackageRecord]:
    return list(rpm.rpm_packages(found, system, Ownership(found, locate), notes or Notes()))


def packages(*headers: bytes, system: OperatingSystem | None = ROCKY) -> list[PackageRecord]:
    return read(files({PATH: ndb_database(headers)}, layer=2), system=system)


def test_a_package() -> None:
    assert packages(header("openssl-libs", "3.0.7", "24.el9", epoch=1, sourcerpm="openssl-3.0.7-24.el9.src.rpm")) == [
        PackageRecord(
            name="openssl-libs",
            version="1:3.0.7-24.el9",
            type=PackageType.RPM,
            ecosystem="Rocky Linux:9",
            source_name="openssl",
            source_version="1:3.0.7-24.el9",
            purl="pkg:rpm/rocky/openssl-libs@3.0.7-24.el9?arch=x86_64&distro=rocky-9.3&epoch=1",
            licenses=("MIT",),
            architecture="x86_64",
            path=PATH,
            layer_digest=f"sha256:{2:064x}",
            layer_index=2,
        )
    ]


def test_an_epoch_of_zero_is_no_epoch() -> None:
    [package] = packages(header("bash", "5.1", "9", epoch=0))
    assert (package.version, package.purl) == ("5.1-9", "pkg:rpm/rocky/bash@5.1-9?arch=x86_64&distro=rocky-9.3")


def test_the_epoch_of_a_source_is_that_of_the_packages_with_its_version() -> None:
    source = "perl-5.32.1-480.el9.src.rpm"
    found = packages(
        header("perl-B", "1.80", "480.el9", epoch=0, sourcerpm=source),
        header("perl-libs", "5.32.1", "480.el9", epoch=4, sourcerpm=source),
    )
    assert {each.source_version for each in found} == {"4:5.32.1-480.el9"}
    assert {each.version for each in found} == {"1.80-480.el9", "4:5.32.1-480.el9"}


def test_a_package_without_a_source_is_its_own() -> None:
    [package] = packages(header("made-by-hand", "1", "2", sourcerpm=""))
    assert (package.source_name, package.source_version) == ("made-by-hand", "1-2")


def test_a_module_is_in_the_package_url() -> None:
    [package] = packages(header("nodejs", "18.17", "1.module+el8", module="nodejs:18:8080020:63b34585"), system=RHEL)
    assert package.purl == (
        "pkg:rpm/redhat/nodejs@18.17-1.module%2Bel8?arch=x86_64&distro=rhel-8.9&rpmmod=nodejs:18:8080020:63b34585"
    )


def test_keys_are_no_packages() -> None:
    assert packages(header("gpg-pubkey", "8483c65d", "5ccc5b19", sourcerpm="")) == []


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("GPLv3+ and LGPLv2.1+ and (MIT or ASL 2.0)", ("GPL-3.0-or-later", "LGPL-2.1-or-later", "MIT", "Apache-2.0")),
        ("GPL-2.0-or-later AND (MIT OR BSD-3-Clause)", ("GPL-2.0-or-later AND (MIT OR BSD-3-Clause)",)),
        ("BSD with advertising", ("BSD with advertising",)),
    ],
)
def test_licences(licence: str, expected: tuple[str, ...]) -> None:
    assert packages(header("a", licence=licence))[0].licenses == expected


def test_the_layer_is_the_lowest_that_still_has_a_file_of_the_package() -> None:
    layers = {"usr/bin/a": 1, "etc/a.conf": 3}
    found = files(
        {PATH: ndb_database([header("a", files={"/etc/a.conf": b"", "/usr/bin/a": b""}), header("b")])}, layer=4
    )

    def locate(path: str) -> Place | None:
        return Place(layer_index=layers[path], layer_digest=f"sha256:{layers[path]}") if path in layers else None

    assert [(each.layer_index, each.layer_digest) for each in read(found, locate=locate)] == [
        (1, "sha256:1"),
        (4, f"sha256:{4:064x}"),
    ]


def test_a_file_is_its_packages_while_its_digest_is_right() -> None:
    path = "usr/lib/node_modules/npm/package.json"
    database = ndb_database([header("npm", files={f"/{path}": b"{}"})])
    for content, owner in ((b"{}", "npm"), (b"{ }", None)):
        found = files({PATH: database, path: content})
        owned = Ownership(found)
        list(rpm.rpm_packages(found, ROCKY, owned, Notes()))
        assert owned.owner(path) == owner


def test_of_several_databases_in_one_directory_the_newest_kind_counts(tmp_path: Path) -> None:
    kinds = {
        rpm.SQLITE: sqlite_database(tmp_path, [header("a")]),
        rpm.NDB: ndb_database([header("b")]),
        rpm.BERKELEY: berkeley_database([header("c")]),
    }
    found = {f"var/lib/rpm/{name}": file(f"var/lib/rpm/{name}", content) for name, content in kinds.items()}
    assert [each.name for each in read(found)] == ["a"]
    del found[f"var/lib/rpm/{rpm.SQLITE}"]
    assert [each.name for each in read(found)] == ["b"]
    found[f"var/lib/rpm/{rpm.NDB}"] = file(f"var/lib/rpm/{rpm.NDB}", b"")
    assert [each.name for each in read(found)] == ["c"]


def test_a_broken_header_costs_its_package_and_the_database_is_unread() -> None:
    notes = Notes()
    broken = header_of({Tag.NAME: (4, [1])})
    stray = header_of(
        {
            Tag.NAME: (6, ["stray"]),
            Tag.BASENAMES: (8, ["a"]),
            Tag.DIRNAMES: (8, ["/"]),
            Tag.DIRINDEXES: (4, [1]),
        }
    )
    found = read(files({PATH: ndb_database([header("a"), broken, stray, header("b")])}), notes)
    assert [each.name for each in found] == ["a", "b"]
    assert notes.unread == [f"the RPM database {PATH}"]
    assert notes.lines() == (
        f"{PATH}: has a tag of another type than its own",
        f"{PATH}: has a file without a directory",
    )


def test_a_package_without_a_name_is_noted() -> None:
    notes = Notes()
    assert read(files({PATH: ndb_database([header("", sourcerpm=""), header("a", "")])}), notes) == []
    assert notes.lines() == (f"{PATH}: a package without a name", f"{PATH}: a package without a version")


def test_too_many_packages_are_no_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpm, "_MAX_PACKAGES", 2)
    notes = Notes()
    assert len(read(files({PATH: ndb_database([header("a"), header("b"), header("c")])}), notes)) == 2
    assert notes.unread == [f"the RPM database {PATH}"]


DATABASE = ndb_database([header(f"p{number}", epoch=number, files={"/usr/bin/a": b""}) for number in range(20)])


@settings(deadline=None)
@given(corrupted(DATABASE))
def test_nothing_makes_it_raise(content: bytes) -> None:
    for package in read(files({PATH: content})):
        assert package.purl.startswith("pkg:rpm/rocky/")
