"""Scratch space goes with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.workspace import Workspace

OWNER = """
import sys, time
from pathlib import Path
from workers.workspace import Workspace
with Workspace(Path(sys.argv[1]), "owner") as space, space.scratch() as scratch:
    (scratch / "image").mkdir()
    (scratch / "image" / "blob").write_bytes(b"x" * 1000)
    print(scratch, flush=True)
    time.sleep(600)
"""


def test_scratch_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with Workspace(tmp_path / "work", "me") as space:
        with space.scratch() as first, space.scratch() as second:
            assert first != second
            assert first.parent.stat().st_mode & 0o777 == 0o700
            (first / "file").write_bytes(b"1")
        assert not first.exists()
    assert list((tmp_path / "work").iterdir()) == []


def test_scratch_is_gone_after_an_exception(tmp_path: Path) -> None:
    def fail() -> None:
        with space.scratch() as scratch:
            (scratch / "file").write_bytes(b"1")
            raise ZeroDivisionError

    with Workspace(tmp_path, "me") as space:
        with pytest.raises(ZeroDivisionError):
            fail()
        assert [path for path in tmp_path.rglob("*") if path.name == "file"] == []


def test_t100_what_a_killed_process_left_is_swept_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        scratch = Path(process.stdout.readline().strip())
        with Workspace(tmp_path, "neighbour"):
            assert (scratch / "image" / "blob").exists(), "its owner lives"

        process.kill()
        process.wait()
        assert (scratch / "image" / "blob").exists(), "a killed process cleans nothing up"

        with Workspace(tmp_path, "neighbour"):
            assert sorted(path.name for path in tmp_path.iterdir()) == ["neighbour", "neighbour.lock"]


def test_sweepers_at_once_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has removed the lock between our listing and our opening it."""
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead.lock").touch()
    listed = list(tmp_path.glob("*.lock"))
    (tmp_path / "dead.lock").unlink()
    monkeypatch.setattr(Path, "glob", lambda *_: listed)

    with Workspace(tmp_path, "me") as space, space.scratch() as scratch:
        assert scratch.is_dir()


def test_a_lock_a_sweeper_removed_before_it_was_ours_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock
    taken: list[int] = []

    def swept_first(handle: int, how: int) -> None:
        if not taken:
            (tmp_path / "me.lock").unlink()
        taken.append(handle)
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", swept_first)

    with Workspace(tmp_path, "me"):
        assert len(taken) == 2
        held = os.open(tmp_path / "me.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(held)
