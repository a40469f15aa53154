"""The Python distributions of the demonstration image: fetched as data, checked by hash, unpacked, never run."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from app.demo.description import PinnedWheel
from app.demo.layout import Entry
from schema.kernel.errors import ErrorCode, HarborGuardError

# Puts the files of the given wheels into a directory; what it leaves out or gets wrong is found by hash.
Fetch = Callable[[Sequence[PinnedWheel], Path], None]

SITE_PACKAGES = "usr/local/lib/python3.11/site-packages"
# Where the parts of a wheel's .data directory go (PyPA binary distribution format).
DATA_TARGETS = {"purelib": SITE_PACKAGES, "platlib": SITE_PACKAGES, "scripts": "usr/local/bin", "data": "usr/local"}
MAX_FILES = 20_000
MAX_BYTES = 128 * 1024 * 1024  # of one unpacked wheel; the largest here has 21 MB
DOWNLOAD_SECONDS = 600


def download_wheels(wheels: Sequence[PinnedWheel], directory: Path) -> None:
    """Let pip download wheels, in one call, without dependencies, builds or installation.

    The operator's own settings (index, proxy, certificates) hold. Errors: SERVICE_UNAVAILABLE with the last line pip
    said, TIMEOUT after DOWNLOAD_SECONDS.
    """
    lines = [f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" for wheel in wheels]
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch) / "wheels.txt"
        requirements.write_text("".join(lines), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
        command += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
        command += ["--requirement", str(requirements), "--dest", str(directory)]
        try:
            finished = subprocess.run(  # noqa: S603 - our own interpreter, and arguments of the committed description
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=DOWNLOAD_SECONDS,
                text=True,
                errors="replace",
            )
        except subprocess.TimeoutExpired as error:
            raise HarborGuardError(ErrorCode.TIMEOUT, "pip did not finish the download; try again") from error
    if finished.returncode != 0:
        said = finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"]
        raise HarborGuardError(
            ErrorCode.SERVICE_UNAVAILABLE,
            f"the demonstration needs {len(wheels)} wheels of the Python package index, and pip failed: {said[-1]}",
        )


def collect_wheels(wheels: Sequence[PinnedWheel], cache: Path, *, fetch: Fetch) -> dict[str, bytes]:
    """The content of every wheel by file name, from the cache where its hash is right, else fetched into it.

    Errors: SERVICE_UNAVAILABLE if a file is missing or differs from its hash after fetching, and what `fetch` raises.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [wheel for wheel in wheels if _read(wheel, cache) is None]
    if missing:
        for wheel in missing:
            (cache / wheel.file).unlink(missing_ok=True)  # a damaged file; pip would keep it
        fetch(missing, cache)
    return {wheel.file: _require(wheel, cache) for wheel in wheels}


def unpack_wheel(content: bytes) -> list[Entry]:
    """The files of a wheel as an installation would lay them out. Errors: ValueError for a wheel that is not sound."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [member for member in archive.infolist() if not member.filename.endswith("/")]
            if len(members) > MAX_FILES or sum(member.file_size for member in members) > MAX_BYTES:
                raise ValueError("the wheel is larger than any of ours should be")
            return [_entry(archive, member) for member in members]
    except zipfile.BadZipFile as error:
        raise ValueError("the wheel is not a sound zip archive") from error


def installed_names(entries: Iterable[Entry]) -> Iterator[str]:
    """The paths an uninstallation removes: what a distribution has at the top of site-packages, and its scripts."""
    seen: set[str] = set()
    for entry in entries:
        inside = entry.path.removeprefix(f"{SITE_PACKAGES}/")
        path = f"{SITE_PACKAGES}/{inside.partition('/')[0]}" if inside != entry.path else entry.path
        if path not in seen:
            seen.add(path)
            yield path


def _read(wheel: PinnedWheel, cache: Path) -> bytes | None:
    try:
        content = (cache / wheel.file).read_bytes()
    except FileNotFoundError:
        return None
    return content if hashlib.sha256(content).hexdigest() == wheel.sha256 else None


def _require(wheel: PinnedWheel, cache: Path) -> bytes:
    content = _read(wheel, cache)
    if content is None:
        raise HarborGuardError(
            ErrorCode.SERVICE_UNAVAILABLE,
            f"{wheel.file} could not be fetched or is not the file the demonstration expects (SHA-256 {wheel.sha256})",
        )
    return content


def _entry(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Entry:
    name = PurePosixPath(member.filename)
    if name.is_absolute() or ".." in name.parts or "\\" in member.filename or "\0" in member.filename:
        raise ValueError(f"{member.filename!r} would leave the directory it is unpacked into")
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise ValueError(f"{member.filename!r} is not a regular file")
    path = _installed_path(name)
    content = archive.read(member)
    if path.startswith("usr/local/bin/") and content.startswith(b"#!python"):
        content = b"#!/usr/local/bin/python" + content.removeprefix(b"#!python")
    return Entry(path=path, content=content, executable=path.startswith("usr/local/bin/"))


def _installed_path(name: PurePosixPath) -> str:
    match name.parts:
        case [top, kind, _, *_] if top.endswith(".data") and kind in DATA_TARGETS:
            return "/".join([DATA_TARGETS[kind], *name.parts[2:]])
        case [top, *_] if not top.endswith(".data"):
            return f"{SITE_PACKAGES}/{name}"
        case _:
            raise ValueError(f"{str(name)!r} has no place in an installation")
