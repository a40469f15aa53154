"""Watching and stopping processes from outside, by what the kernel tells of them (Linux)."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import pytest

from tests import holding
from workers import reading

T = TypeVar("T")
HOLDING = Path(tempfile.mkdtemp(prefix="harborguard-holding-"))
"""Where children look whether they are to hold still; see `tests.holding`."""
atexit.register(shutil.rmtree, HOLDING, ignore_errors=True)
PATIENCE = 60.0
"""Seconds a test waits for what must come: far more than it takes, so that only what never comes is refused."""


def is_alive(pid: int) -> bool:
    """Whether it runs or could run again; a zombie does not."""
    try:
        return _stat(pid)[0] != "Z"
    except FileNotFoundError:
        return False


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and _stat(int(entry.name))[1] == str(parent):
                found.append(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


Reading = Literal["unpack", "examine", "import"]


async def paused_reader(parent: int, command: Reading) -> int:
    """Waits for the child process that reads an image and holds it there; SIGKILL ends it all the same.

    Called, or its task made, before anything that starts the child. Another process of ours as parent was started by way
    of `tests.holding` and HOLDING.
    """
    wish = HOLDING / command
    wish.touch()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "_COMMAND", holding.command(HOLDING))
        try:
            return await appearing(partial(_stopped_reader, parent))
        finally:
            wish.unlink()


async def _stopped_reader(parent: int) -> int | None:
    return next((pid for pid in children(parent) if _is_stopped_reader(pid)), None)


def _is_stopped_reader(pid: int) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return _stat(pid)[0] == "T" and holding.MODULE.encode() in arguments
    except (FileNotFoundError, ProcessLookupError):
        return False


async def appearing(look: Callable[[], Awaitable[T | None]], *, every: float = 0.02) -> T:
    """What `look` finds, once it does."""
    async with asyncio.timeout(PATIENCE):
        while (found := await look()) is None:  # noqa: ASYNC110 -- another process tells us nothing
            await asyncio.sleep(every)
    return found


async def until(condition: Callable[[], Awaitable[bool]], *, every: float = 0.02) -> None:
    async def look() -> bool | None:
        return True if await condition() else None

    await appearing(look, every=every)


async def until_gone(*pids: int) -> None:
    async def gone() -> bool:
        return not any(is_alive(pid) for pid in pids)

    await until(gone)
