"""Scratch space of a worker process, and the removal of what a killed one left behind.

A process holds a lock on `<work_dir>/<owner>.lock` as long as it lives; the kernel releases it however the process ends.
So a directory whose lock can be taken belongs to nobody.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class Workspace:
    """`with Workspace(work_dir, owner) as space: with space.scratch() as directory: …`."""

    def __init__(self, work_dir: Path, owner: str) -> None:
        self._root = work_dir / owner
        self._lock_path = work_dir / f"{owner}.lock"
        self._work_dir = work_dir
        self._lock = -1

    def __enter__(self) -> Self:
        self._work_dir.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self._root.mkdir(mode=0o700, exist_ok=True)
        self._sweep()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._root, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)

    def _take_lock(self) -> int:
        """Of the file that stands there: a sweeper may have removed the one we made before we had locked it."""
        while True:
            lock = os.open(self._lock_path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock), self._lock_path.stat()):
                    return lock
            os.close(lock)

    def _sweep(self) -> None:
        for lock_path in self._work_dir.glob("*.lock"):
            if lock_path == self._lock_path:
                continue
            try:
                handle = os.open(lock_path, os.O_RDWR)
            except FileNotFoundError:
                continue  # another process sweeps, too
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # its process lives
            else:
                shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
                lock_path.unlink(missing_ok=True)
            finally:
                os.close(handle)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new empty directory, gone when the block ends."""
        directory = Path(tempfile.mkdtemp(dir=self._root))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
