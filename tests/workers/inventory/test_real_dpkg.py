"""Root file systems that a real dpkg made, and the list dpkg-query gives of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from schema.dependencies.records import Inventory
from tests.workers.inventory.files import file
from workers.inventory.inventory import take_inventory, wanted
from workers.inventory.licenses import spdx_license
from workers.oci.files import ImageFile, MergedImage

pytestmark = pytest.mark.skipif(
    shutil.which("dpkg-query") is None or shutil.which("dpkg-deb") is None, reason="dpkg is not installed"
)
MACHINE = Path("/var/lib/dpkg")
QUERY = r"${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\t${source:Version}\n"
IN_PLACE = {"installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}
EGG = "usr/lib/python3/dist-packages/urllib3-1.26.12.egg-info/PKG-INFO"
NPM = "usr/share/nodejs/npm/package.json"


def query(database: Path) -> list[tuple[str, ...]]:
    command = ["dpkg-query", "--admindir", str(database), "-W", "-f", QUERY]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = (line.split("\t") for line in run.stdout.splitlines())
    return sorted(tuple(row) for status, *row in rows if status in IN_PLACE)


def listed(taken: Inventory) -> list[tuple[str, ...]]:
    return sorted(
        (each.name, each.version, each.architecture or "", each.source_name, each.source_version)
        for each in taken.packages
        if each.type == "deb"
    )


def image(root: Path, below: Iterable[str] = ("",)) -> MergedImage:
    """The files an analyser wants, as one layer. Links are left out, as the merged image has them under other names."""
    found: dict[str, ImageFile] = {}
    for start in below:
        for directory, _, names in os.walk(root / start):
            for name in names:
                path = Path(directory, name)
                relative = str(path.relative_to(root))
                if wanted(relative) and not path.is_symlink():
                    found[relative] = file(relative, path.read_bytes())
    return MergedImage(files=found, layers=())


def build(directory: Path, control: str, contents: Mapping[str, str]) -> Path:
    tree = directory / hashlib.sha256(control.encode()).hexdigest()[:12]
    for path, content in contents.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(content)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN").chmod(0o755)
    sums = (
        f"{hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()}  {path}\n"
        for path, content in contents.items()
    )
    (tree / "DEBIAN/md5sums").write_text("".join(sums))
    (tree / "DEBIAN/conffiles").write_text("".join(f"/{path}\n" for path in contents if path.startswith("etc/")))
    (tree / "DEBIAN/control").write_text(f"{control}Maintainer: x <x@example.org>\nDescription: x\n")
    deb = tree.with_suffix(".deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True)
    return deb


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Installed, upgraded, removed with its configuration left behind, and unpacked without being configured."""
    if os.geteuid() != 0:
        pytest.skip("dpkg --root is for root")
    architecture = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout
    debs = tmp_path / "debs"
    packages = {
        "urllib3": "Package: python3-urllib3\nSource: python-urllib3\nVersion: 1.26.12-1\nArchitecture: all\n",
        "upgraded": "Package: python3-urllib3\nSource: python-urllib3\nVersion: 1.26.12-1+deb12u1\nArchitecture: all\n",
        "npm": "Package: npm\nVersion: 9.2.0~ds1-1\nArchitecture: all\n",
        "login": f"Package: login\nSource: shadow (1:4.13-1)\nVersion: 1:4.13-1+b1\nArchitecture: {architecture}",
        "same": f"Package: libc6\nSource: glibc\nVersion: 2.36-9\nMulti-Arch: same\nArchitecture: {architecture}",
        "gone": "Package: gone\nVersion: 1.0\nArchitecture: all\n",
        "unpacked": "Package: unpacked\nVersion: 2.0\nArchitecture: all\n",
    }
    contents = {
        "urllib3": {EGG: "Name: urllib3\nVersion: 1.26.12\n"},
        "upgraded": {EGG: "Name: urllib3\nVersion: 1.26.12\nSummary: patched\n"},
        "npm": {NPM: '{"name": "npm", "version": "9.2.0"}'},
        "gone": {"etc/gone.conf": "x\n", "usr/share/gone": "x\n"},
    }
    built = {name: build(debs, control, contents.get(name, {})) for name, control in packages.items()}
    path = tmp_path / "root"
    for directory in ("var/lib/dpkg/info", "var/lib/dpkg/updates"):
        (path / directory).mkdir(parents=True)
    (path / "var/lib/dpkg/status").touch()

    def dpkg(*arguments: str | Path) -> None:
        command = ["dpkg", "--root", path, "--force-all", "--log", "/dev/null", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    dpkg("--install", *(built[name] for name in ("urllib3", "npm", "login", "same", "gone")))
    dpkg("--install", built["upgraded"])
    dpkg("--remove", "gone")
    dpkg("--unpack", built["unpacked"])
    return path


def test_the_inventory_is_what_dpkg_says(root: Path) -> None:
    taken = take_inventory(image(root))
    names = [name for name, *_ in query(root / "var/lib/dpkg")]
    assert names == ["libc6", "login", "npm", "python3-urllib3", "unpacked"]
    assert listed(taken) == query(root / "var/lib/dpkg")
    assert taken.warnings == ()


def test_packages_of_a_language_that_dpkg_installed_are_its_own(root: Path) -> None:
    owners = {each.name: each.owner for each in take_inventory(image(root)).packages if each.type != "deb"}
    assert owners == {"urllib3": "python3-urllib3", "npm": "npm"}


def test_what_was_put_in_the_place_of_a_packages_file_is_nobodys(root: Path) -> None:
    (root / NPM).write_text('{"name": "npm", "version": "10.9.0"}')
    owners = {each.name: each.owner for each in take_inventory(image(root)).packages if each.type == "npm"}
    assert owners == {"npm": None}


@pytest.mark.skipif(not (MACHINE / "status").exists(), reason="this machine is no Debian")
def test_the_inventory_of_this_machine_is_what_dpkg_says() -> None:
    taken = take_inventory(image(Path("/"), ("var/lib/dpkg", "usr/share/doc")))
    assert len(listed(taken)) > 50
    assert listed(taken) == query(MACHINE)
    licences = {licence for each in taken.packages for licence in each.licenses}
    assert spdx_license("GPL-2+") in licences
