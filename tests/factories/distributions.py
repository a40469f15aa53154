"""Images of real distributions, as real tools install them: Debian by mmdebstrap and dpkg, RPMs by rpmbuild and rpm, Python's
and Node's packages by pip and npm, programs of Go and Rust from the wheels they are published in.

    workshop = Distributions(scratch)
    workshop.debian()        # raises UnavailableError where a tool or a package registry is missing

No package of Alpine or of a distribution with RPMs can be had from the registries: those two kinds are made of the files
of Debian's packages. RPMs are built and installed by rpm itself. apk's database is written here, in its format.
"""

from __future__ import annotations

import base64
import filecmp
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from tests.factories.images import File, Image, Layer, Opaque, Whiteout, image, layer, tar

SUITE = "bookworm"
_SECONDS = 900  # for one tool, most of which a registry takes
# In the small images: packages of Python and Node and an archive of Java that Debian brings.
PACKAGES = ("python3-minimal", "python3-urllib3", "python3-yaml", "libcommons-lang3-java", "node-lru-cache")
WHEELS = ("Django==4.2.11", "typing_extensions==4.11.0", "ruamel.yaml==0.18.6", "zope.interface==6.3", "urllib3==2.2.1")
MODULES = ("express@4.19.2", "@babel/core@7.24.5")
PROGRAMS = ("dive", "uv")  # Go; Rust with `cargo auditable`

_ROCKY = (
    'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.3"\nPRETTY_NAME="Rocky Linux 9.3"\n'
)
_ALPINE = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.19.1\nPRETTY_NAME="Alpine Linux v3.19"\n'
_APK_VERSION = re.compile(r"\d+(?:\.\d+)*")
_SITE = "usr/local/lib/python3.11/dist-packages"


class UnavailableError(Exception):
    """What is needed to make such an image is not here. The message says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deb:
    """A package as dpkg has it installed. `files` are paths of regular files below the root."""

    name: str
    version: str
    architecture: str
    stanza: str
    files: tuple[str, ...]
    sums: str | None


@dataclass
class Distributions:
    """Makes each thing once. `scratch` is an empty directory."""

    scratch: Path
    packages: Sequence[str] = PACKAGES
    wheels: Sequence[str] = WHEELS
    modules: Sequence[str] = MODULES

    @cached_property
    def root(self) -> Path:
        """A Debian that mmdebstrap installed."""
        return bootstrap(self.scratch / "root", self.packages)

    @cached_property
    def base(self) -> Layer:
        return layer(tar_of(self.root), created_by="ADD rootfs.tar /")

    @cached_property
    def applications(self) -> tuple[Layer, ...]:
        """What is put on top of a distribution: by pip, by npm, and by hand."""
        wheels = install_wheels(self.scratch / "wheels", self.wheels)
        modules = install_modules(self.scratch / "modules", self.modules)
        programs = {f"usr/local/bin/{name}": File(_script(name), mode=0o755) for name in PROGRAMS}
        return (
            layer(tar_of(wheels, below=_SITE), created_by="RUN pip install"),
            layer(tar_of(modules, below="srv"), created_by="RUN npm install"),
            layer(programs, compression="zstd", created_by="COPY programs /usr/local/bin"),
        )

    def debian(self) -> Image:
        """Debian's packages, beside them Python's and Node's, and programs in /usr/local."""
        return image(self.base, *self.applications)

    def distroless(self) -> Image:
        """Some packages of a Debian without a package manager: a status file for each."""
        chosen = [deb for deb in debs(self.root) if deb.name.startswith(("base-files", "lib", "python3", "zlib1g"))]
        paths = {path for deb in chosen for path in deb.files}
        directory = self.scratch / "status"
        directory.mkdir()
        for deb in chosen:
            (directory / deb.name).write_bytes(_without_status(deb.stanza))
            if deb.sums is not None:
                (directory / f"{deb.name}.md5sums").write_text(deb.sums)
        status = layer(tar_of(directory, below="var/lib/dpkg/status.d"), created_by="bazel build ...")
        return image(layer(tar_of(self.root, paths), created_by="bazel build ..."), status, *self.applications)

    def multi_stage(self) -> Image:
        """What later layers delete and replace: packages removed by dpkg, a directory made anew, files with new content."""
        after = self.scratch / "after"
        _run(["cp", "--archive", self.root, after])  # not by reading files: there are devices among them
        _run(["dpkg", "--root", after, "--force-all", "--log", "/dev/null", "--purge", *_REMOVED])
        (after / _NODE_MODULE).write_text('{"name": "lru-cache", "version": "10.2.0"}\n')
        changed = layer(difference(self.root, after), created_by=f"RUN apt-get purge {' '.join(_REMOVED)}")
        shutil.rmtree(after)
        anew = layer(
            {f"{_SITE}": Opaque(), f"{_SITE}/attr.egg-info": b"Metadata-Version: 1.0\nName: attr\nVersion: 0.3.2\n"}
        )
        gone = layer({"srv/node_modules/express": Whiteout(), "usr/local/bin/uv": Whiteout()}, created_by="RUN rm")
        return image(self.base, *self.applications, changed, anew, gone)

    def rpm_based(self) -> Image:
        """The files of Debian's packages in RPMs, installed by rpm."""
        root = self.scratch / "rpm-root"
        install_rpms(root, build_rpms(self.scratch / "rpmbuild", self.root, debs(self.root)))
        (root / "etc/os-release").write_text(_ROCKY)
        return image(layer(tar_of(root), created_by="ADD rootfs.tar /"), *self.applications)

    def alpine_like(self) -> Image:
        """The files of Debian's packages, and a database as apk writes it."""
        installed = debs(self.root)
        paths = {path for deb in installed for path in deb.files} - {"etc/os-release", "usr/lib/os-release"}
        database = "\n".join(_apk_stanza(self.root, deb) for deb in installed)
        files = {"etc/os-release": _ALPINE.encode(), "lib/apk/db/installed": database.encode()}
        return image(layer(tar_of(self.root, paths)), layer(tar(files)), *self.applications)


_REMOVED = ("python3-yaml", "libcommons-lang3-java")
_NODE_MODULE = "usr/share/nodejs/lru-cache/package.json"  # of Debian's node-lru-cache


def _script(name: str) -> bytes:
    return Path(sysconfig.get_path("scripts"), name).read_bytes()


def bootstrap(root: Path, packages: Iterable[str]) -> Path:
    """A Debian of essential packages and these, as mmdebstrap installs it; no index of packages is left in it."""
    if os.geteuid() != 0 or shutil.which("mmdebstrap") is None:
        raise UnavailableError("mmdebstrap is not installed, or we are not root, as it needs")
    command: list[str | Path] = [
        "mmdebstrap",
        "--mode=root",
        "--variant=essential",
        "--quiet",
        f"--include={','.join(packages)}",
        SUITE,
        root,
    ]
    _fetch(command)
    return root


def install_wheels(target: Path, requirements: Iterable[str]) -> Path:
    """By pip, without running anything they bring."""
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--only-binary=:all:", "--target", str(target)]
    _fetch([sys.executable, "-m", "pip", "install", *options, *requirements])
    return target


def install_modules(target: Path, modules: Iterable[str]) -> Path:
    """By npm, with its lock file beside them, without running anything they bring."""
    if shutil.which("npm") is None:
        raise UnavailableError("npm is not installed")
    target.mkdir()
    (target / "package.json").write_text('{"name": "shop", "private": true}')
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    _fetch(["npm", "install", "--prefix", target, *options, *modules])
    return target


def build_rpms(top: Path, root: Path, installed: Iterable[Deb]) -> list[Path]:
    """One of each package, with its files, of a version in the manner of RPM: an epoch, and a release of its own."""
    if shutil.which("rpmbuild") is None:
        raise UnavailableError("rpm is not installed")
    (top / "SPECS").mkdir(parents=True)
    for deb in installed:
        files = [
            path for path in deb.files if not path.startswith(("var/lib/dpkg/", "etc/os-release", "usr/lib/os-release"))
        ]
        listing = top / f"{deb.name}.files"
        listing.write_text("".join(f'"/{path}"\n' for path in files))
        (top / f"{deb.name}.paths").write_text("".join(f"{path}\n" for path in files))
        epoch, version, release = _rpm_version(deb.version)
        spec = top / "SPECS" / f"{deb.name}.spec"
        spec.write_text(
            f"Name: {deb.name}\nEpoch: {epoch}\nVersion: {version}\nRelease: {release}\nSummary: x\nLicense: MIT\n"
            "AutoReqProv: no\n%description\nx\n%install\nmkdir -p %{buildroot}\n"
            f"tar -C {root} -c -T {top}/{deb.name}.paths | tar -C %{{buildroot}} -x\n%files -f {listing}\n"
        )
    defines = {
        "_topdir": top,
        "_binary_payload": "w0.ufdio",
        "_build_id_links": "none",
        "debug_package": "%{nil}",
        "__os_install_post": "%{nil}",
    }
    options = [part for name, value in defines.items() for part in ("--define", f"{name} {value}")]
    _run(["rpmbuild", "-bb", "--quiet", *options, *sorted((top / "SPECS").iterdir())])
    return sorted(top.glob("RPMS/*/*.rpm"))


def install_rpms(root: Path, rpms: Iterable[Path]) -> None:
    root.mkdir()
    options = ["--nodeps", "--nosignature", "--noscripts", "--replacefiles"]
    _run(["rpm", "--root", root, "--dbpath", "/var/lib/rpm", "-i", *options, *rpms])
    (root / "etc").mkdir(exist_ok=True)


def debs(root: Path) -> list[Deb]:
    """The packages of a root file system, by name."""
    found = []
    for stanza in (root / "var/lib/dpkg/status").read_text().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.split("\n") if ": " in line and not line.startswith(" "))
        name = fields["Package"]
        info = [root / f"var/lib/dpkg/info/{name}{architecture}" for architecture in ("", f":{fields['Architecture']}")]
        own = next(path for path in info if Path(f"{path}.list").exists())
        sums = Path(f"{own}.md5sums")
        listed = (line.lstrip("/") for line in Path(f"{own}.list").read_text().splitlines())
        files = tuple(real for path in listed if (real := _real(root, path)) is not None)
        found.append(
            Deb(
                name=name,
                version=fields["Version"],
                architecture=fields["Architecture"],
                stanza=stanza,
                files=files,
                sums=sums.read_text() if sums.exists() else None,
            )
        )
    return sorted(found, key=lambda deb: deb.name)


def _real(root: Path, path: str) -> str | None:
    """Where a file or a link of a package's list is, below its directory's real name; None for a directory."""
    directory, _, name = path.rpartition("/")
    real = Path(os.path.realpath(root / directory)) / name
    if not real.is_relative_to(root) or not (real.is_symlink() or real.is_file()):
        return None
    return str(real.relative_to(root))


def tar_of(root: Path, paths: Iterable[str] | None = None, *, below: str = "") -> bytes:
    """A tree as a layer, or these paths in it; every directory has an entry. Owners and times are left out, so that equal
    trees give equal layers.
    """
    chosen = set(_paths(root) if paths is None else paths)
    chosen |= {str(parent) for path in chosen for parent in PurePosixPath(path).parents if str(parent) != "."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for parent in reversed([below, *map(str, PurePosixPath(below).parents)][:-1] if below else []):
            directory = tarfile.TarInfo(parent)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(directory)
        for path in sorted(chosen):
            archive.add(root / path, f"{below}/{path}" if below else path, recursive=False, filter=_bare)
    return buffer.getvalue()


def _paths(root: Path) -> Iterator[str]:
    for directory, directories, names in os.walk(root):
        for name in (*directories, *names):
            yield os.path.relpath(os.path.join(directory, name), root)  # noqa: PTH118 -- a hundred thousand of them


def _bare(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def difference(before: Path, after: Path) -> bytes:
    """The layer that turns one tree into the other: what is new or changed, and a whiteout for what is gone."""
    old, new = set(_paths(before)), set(_paths(after))
    gone = {path for path in old - new if os.path.dirname(path) in new or "/" not in path}  # noqa: PTH120
    changed = {path for path in new if path not in old or _differs(before / path, after / path)}
    whiteouts = tar({path: Whiteout() for path in sorted(gone)})
    # An archive ends with records of zeros; what was added behind them would not be read.
    with tarfile.open(fileobj=(buffer := io.BytesIO(whiteouts)), mode="a") as archive:
        for path in sorted(changed):
            archive.add(after / path, path, recursive=False, filter=_bare)
    return buffer.getvalue()


def _differs(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return not (one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink())
    if one.is_dir() or other.is_dir():
        return one.is_dir() != other.is_dir()
    return not filecmp.cmp(one, other, shallow=False) if one.is_file() and other.is_file() else False


def _without_status(stanza: str) -> bytes:
    return "\n".join(line for line in f"{stanza}\n".split("\n") if not line.startswith("Status:")).encode()


def _rpm_version(version: str) -> tuple[str, str, str]:
    """Epoch, version and release of a version of Debian's; RPM allows no hyphen in either."""
    epoch, _, rest = version.rpartition(":")
    upstream, _, revision = rest.rpartition("-")
    return epoch or "0", (upstream or revision).replace("-", "."), f"{revision}.el9"


def _apk_stanza(root: Path, deb: Deb) -> str:
    """As apk-tools 2 writes it: fields, then directories, files in them, and the files' SHA-1."""
    number = _APK_VERSION.match(deb.version.rpartition(":")[2])
    version = f"{number[0] if number else 0}-r0"
    lines = [f"P:{deb.name}", f"V:{version}", "A:x86_64", "L:MIT", f"o:{deb.name}"]
    directory = None
    for path in sorted(deb.files, key=lambda path: path.rpartition("/")[::2]):
        above, _, name = path.rpartition("/")
        if above != directory:
            lines.append(f"F:{above}")
            directory = above
        lines.append(f"R:{name}")
        if not (root / path).is_symlink():
            digest = hashlib.sha1((root / path).read_bytes(), usedforsecurity=False).digest()
            lines.append(f"Z:Q1{base64.b64encode(digest).decode()}")
    return "\n".join([*lines, ""])


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run(command, capture_output=True, check=True, timeout=_SECONDS)


def _fetch(command: Sequence[str | Path]) -> None:
    """Runs what downloads. UnavailableError with what it said, where it fails."""
    try:
        _run(command)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"{command[0]} took more than {_SECONDS} seconds") from None
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.decode(errors="replace").strip()[-500:]
        raise UnavailableError(f"{Path(command[0]).name} fetched nothing: {said}") from None
