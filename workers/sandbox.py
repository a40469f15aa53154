"""Running a program on hostile input: its own process group, a minimal environment, limits on everything, no survivors.

The program gets no secret of ours (only the environment that is passed), no standard input but what is given, no shell.
When it takes too long, says too much, or is no longer wanted, its whole group is killed within two seconds; when we are
killed, so is it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_CONFINE = Path(__file__).with_name("confine.py")
_CHUNK = 64 * 1024
_GRACE_SECONDS = 1.0
_STDERR_BYTES = 64 * 1024
_MEMORY_LIMIT = "DATA" if sys.platform == "linux" else "AS"  # DATA counts what is written, not what is mapped


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one run may take. Bytes and seconds."""

    memory_bytes: int = 512 * 1024**2  # private memory of each process
    wall_seconds: float = 600.0
    cpu_seconds: int = 600
    file_bytes: int = 32 * 1024**3  # the largest file it may write
    open_files: int = 1024
    output_bytes: int = 256 * 1024**2  # standard output


class SandboxFailureKind(StrEnum):
    TIMEOUT = "TIMEOUT"
    OUTPUT = "OUTPUT"  # it printed more than it may


class SandboxFailure(Exception):  # noqa: N818 -- a program that fails is an outcome, not a bug
    """The program was stopped because of a limit."""

    def __init__(self, kind: SandboxFailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How the program ended by itself. `exit_code` is negative when a signal ended it, as in subprocess."""

    exit_code: int
    stdout: bytes
    stderr: str  # the last 64 KiB
    duration_ms: int


async def run(
    argv: Sequence[str],
    *,
    limits: SandboxLimits,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Completed:
    """Runs the program to its end. Raises SandboxFailure at a limit; cancelled, it kills the group and re-raises."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *_confined(argv, limits),
        cwd=cwd,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(limits.wall_seconds):
            _, stdout, stderr = await asyncio.gather(
                _feed(process.stdin, stdin),
                _read(process.stdout, limits.output_bytes),
                _read_tail(process.stderr),
            )
            exit_code = await process.wait()
    except TimeoutError:
        message = f"stopped after {limits.wall_seconds:g} seconds"
        raise SandboxFailure(SandboxFailureKind.TIMEOUT, message) from None
    finally:
        await _end_group(process)
    return Completed(
        exit_code=exit_code,
        stdout=stdout,
        stderr=stderr.decode(errors="replace"),
        duration_ms=int((time.monotonic() - started) * 1000),
    )


def _confined(argv: Sequence[str], limits: SandboxLimits) -> list[str]:
    resources = {
        _MEMORY_LIMIT: limits.memory_bytes,
        "CPU": limits.cpu_seconds,
        "FSIZE": limits.file_bytes,
        "NOFILE": limits.open_files,
        "CORE": 0,
    }
    limited = [f"{name}={value}" for name, value in resources.items()]
    return [sys.executable, "-I", "-S", str(_CONFINE), str(os.getpid()), *limited, "--", *argv]


async def _feed(pipe: asyncio.StreamWriter, data: bytes) -> None:
    # A program that does not want its input closes it; that is its right.
    with suppress(BrokenPipeError, ConnectionResetError):
        pipe.write(data)
        await pipe.drain()
    pipe.close()


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    chunks, size = [], 0
    while chunk := await stream.read(_CHUNK):
        size += len(chunk)
        if size > most:
            message = f"stopped after printing {most} bytes"
            raise SandboxFailure(SandboxFailureKind.OUTPUT, message)
        chunks.append(chunk)
    return b"".join(chunks)


async def _read_tail(stream: asyncio.StreamReader) -> bytes:
    tail = b""
    while chunk := await stream.read(_CHUNK):
        tail = (tail + chunk)[-_STDERR_BYTES:]
    return tail


async def _end_group(process: asyncio.subprocess.Process) -> None:
    """Ends whatever is left of the group: also grandchildren of a program that ended by itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await process.wait()
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
