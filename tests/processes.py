"""Watching and stopping processes from outside, by what the kernel tells of them (Linux)."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeVar

T = TypeVar("T")
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


Reading = Literal["unpack", "examine"]


def readers(parent: int, command: Reading) -> list[int]:
    """The child processes that read an image for a worker. They have been confined: they die with their parent."""
    return [pid for pid in children(parent) if _reads(pid, command)]


def _reads(pid: int, command: Reading) -> bool:
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"workers.analysis" not in arguments or b"--" in arguments:  # there it still is to be confined
            return False
        return f'"{command}":{{'.encode() in Path(f"/proc/{pid}/fd/0").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


async def paused_reader(parent: int, command: Reading) -> int:
    """Waits for the child process that reads an image and holds it there; SIGKILL ends it all the same."""

    async def found() -> int | None:
        for pid in readers(parent, command):
            os.kill(pid, signal.SIGSTOP)
            return pid
        return None

    return await appearing(found, every=0.002)


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
