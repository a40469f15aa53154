"""Wheels are fetched once, believed only by their hash, and unpacked without leaving their directory."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.demo import wheels as module
from app.demo.description import PinnedWheel
from app.demo.wheels import SITE_PACKAGES, collect_wheels, download_wheels, installed_names, unpack_wheel
from schema.kernel.errors import ErrorCode, HarborGuardError

from .wheelhouse import pin, small_wheel, wheel_bytes

CONTENT = small_wheel("demo-one", "1.0")
ONE = replace(pin("demo_one", "1.0", CONTENT), name="demo-one")


class RecordingFetch:
    """Writes what it was told to, and remembers what it was asked for."""

    def __init__(self, content: bytes | None) -> None:
        self.content = content
        self.asked: list[list[str]] = []

    def __call__(self, wheels: Sequence[PinnedWheel], directory: Path) -> None:
        self.asked.append([wheel.name for wheel in wheels])
        for wheel in wheels:
            assert not (directory / wheel.file).exists()
            if self.content is not None:
                (directory / wheel.file).write_bytes(self.content)


def test_a_wheel_is_fetched_once(tmp_path: Path) -> None:
    fetch = RecordingFetch(CONTENT)
    assert collect_wheels([ONE], tmp_path / "cache", fetch=fetch) == {ONE.file: CONTENT}
    assert collect_wheels([ONE], tmp_path / "cache", fetch=fetch) == {ONE.file: CONTENT}
    assert fetch.asked == [["demo-one"]]


def test_a_damaged_file_of_the_cache_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / ONE.file).write_bytes(CONTENT[:-1])
    fetch = RecordingFetch(CONTENT)
    assert collect_wheels([ONE], tmp_path, fetch=fetch) == {ONE.file: CONTENT}
    assert fetch.asked == [["demo-one"]]


@pytest.mark.parametrize("content", [None, b"", CONTENT + b"x"])
def test_a_missing_or_different_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    with pytest.raises(HarborGuardError) as caught:
        collect_wheels([ONE], tmp_path, fetch=RecordingFetch(content))
    assert caught.value.code == ErrorCode.SERVICE_UNAVAILABLE
    assert ONE.sha256 in caught.value.message


def test_files_go_where_an_installation_puts_them() -> None:
    entries = unpack_wheel(
        wheel_bytes(
            {
                "demo/": b"",
                "demo/__init__.py": b"x = 1\n",
                "demo-1.0.dist-info/METADATA": b"Name: demo\n",
                "demo-1.0.data/purelib/demo/extra.py": b"",
                "demo-1.0.data/scripts/demo": b"#!python\nprint()\n",
                "demo-1.0.data/data/share/demo.txt": b"d",
            }
        )
    )
    assert {entry.path: (entry.content, entry.executable) for entry in entries} == {
        f"{SITE_PACKAGES}/demo/__init__.py": (b"x = 1\n", False),
        f"{SITE_PACKAGES}/demo-1.0.dist-info/METADATA": (b"Name: demo\n", False),
        f"{SITE_PACKAGES}/demo/extra.py": (b"", False),
        "usr/local/bin/demo": (b"#!/usr/local/bin/python\nprint()\n", True),
        "usr/local/share/demo.txt": (b"d", False),
    }
    assert list(installed_names(entries)) == [
        f"{SITE_PACKAGES}/demo",
        f"{SITE_PACKAGES}/demo-1.0.dist-info",
        "usr/local/bin/demo",
        "usr/local/share/demo.txt",
    ]


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/passwd", "a\\..\\b", "x.data/headers/x.h", "x.data/scripts", "x.data/../y/z"],
)
def test_a_name_that_leaves_its_place_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"would leave|no place"):
        unpack_wheel(wheel_bytes({name: b""}))


@given(st.lists(st.sampled_from(["..", ".", "", "a", "x.data", "scripts", "data", "purelib", "\\", "b\0"]), max_size=5))
def test_no_name_leads_out_of_the_installation(parts: list[str]) -> None:
    try:
        entries = unpack_wheel(wheel_bytes({"/".join(parts): b""}))
    except ValueError:
        return
    for entry in entries:
        assert entry.path.startswith("usr/local/")
        assert not {"", ".", ".."} & set(entry.path.split("/"))


@pytest.mark.parametrize("content", [b"", b"not a zip", CONTENT[: len(CONTENT) // 2]])
def test_what_is_no_zip_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="zip"):
        unpack_wheel(content)


def test_a_symbolic_link_is_refused() -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("demo/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ValueError, match="regular"):
        unpack_wheel(buffer.getvalue())


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_BYTES"])
def test_a_wheel_beyond_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    content = wheel_bytes({"a": b"1234", "b": b"5678"})
    monkeypatch.setattr(module, limit, 1)
    with pytest.raises(ValueError, match="larger"):
        unpack_wheel(content)


@pytest.fixture
def offline_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the real pip takes for its only source of packages."""
    source = tmp_path / "source"
    source.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(source))
    return source


def test_pip_downloads_what_has_the_right_hash(tmp_path: Path, offline_pip: Path) -> None:
    (offline_pip / ONE.file).write_bytes(CONTENT)
    assert collect_wheels([ONE], tmp_path / "cache", fetch=download_wheels) == {ONE.file: CONTENT}


@pytest.mark.parametrize("content", [None, CONTENT + b"x"])
def test_what_pip_says_reaches_the_caller(tmp_path: Path, offline_pip: Path, content: bytes | None) -> None:
    if content is not None:
        (offline_pip / ONE.file).write_bytes(content)
    with pytest.raises(HarborGuardError, match="pip failed: ") as caught:
        collect_wheels([ONE], tmp_path / "cache", fetch=download_wheels)
    assert caught.value.code == ErrorCode.SERVICE_UNAVAILABLE
    assert not (tmp_path / "cache" / ONE.file).exists()


def test_a_download_that_hangs_is_given_up(tmp_path: Path, offline_pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOWNLOAD_SECONDS", 0.01)
    with pytest.raises(HarborGuardError, match="try again") as caught:
        download_wheels([ONE], tmp_path)
    assert caught.value.code == ErrorCode.TIMEOUT
