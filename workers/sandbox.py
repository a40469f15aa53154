"""Running a program on hostile input: its own process group, a minimal environment, limits on everything, no survivors.

The program gets no secret of ours (only the environment that is passed), no standard input but what is given, no shell.
When it takes too long, says too much, or is no longer wanted, its whole group is killed within two seconds; when we are
killed, so is it (on Linux). Of what it started itself, that ends what stayed in its process group. Where the kernel
has Landlock, a fence keeps it from writing elsewhere, from the network, and from files that are none of its business.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

KIB, MIB, GIB = 1024, 1024**2, 1024**3
_CONFINE = Path(__file__).with_name("confine.py")
_CHUNK = 64 * KIB
_GRACE_SECONDS = 0.5  # to end after being asked to; also to be seen dead, and to leave the pipes
_STDERR_KEPT = 64 * KIB
# DATA counts the memory a program can write, AS also what it only reserves: 64 MiB for each thread's arena with glibc,
# much more with Go.
_MEMORY = "DATA" if sys.platform == "linux" else "AS"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxLimits:
    """What one run may take. Bytes and seconds."""

    memory_bytes: int = 512 * MIB  # private memory of each process; an allocation beyond it fails
    wall_seconds: float = 600.0
    cpu_seconds: int | None = None  # of each process; None: what all processors give in `wall_seconds`
    file_bytes: int = 32 * GIB  # the largest file it may write
    open_files: int = 1024
    processes: int | None = None  # of its user, those outside included; root has no such limit
    stdout_bytes: int = 256 * MIB
    stderr_bytes: int = 16 * MIB  # read; the last 64 KiB are kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """What a program sees of this machine: it writes beneath its `cwd` only and opens no TCP connection.

    It cannot read files in `hidden` (keys, databases, other people's images), but those in `shown` and in its `cwd`.
    """

    hidden: tuple[Path, ...] = ()
    shown: tuple[Path, ...] = ()


class SandboxFailureKind(StrEnum):
    TIME = "TIME"  # by the clock, or of a processor
    OUTPUT = "OUTPUT"  # it printed more than it may
    MEMORY = "MEMORY"  # the kernel killed it, for want of memory of the machine or of its container
    FILE = "FILE"  # it wrote a larger file than it may


class SandboxFailure(Exception):  # noqa: N818 -- a program that fails is an outcome, not a bug
    """The program was ended by a limit. The message continues a sentence: "stopped after 600 seconds"."""

    def __init__(self, kind: SandboxFailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How the program ended by itself. `exit_code` is negative when a signal ended it, as in subprocess.

    A program whose own allocation failed (`memory_bytes`) ends as it sees fit, so that is among these.
    """

    exit_code: int
    stdout: bytes  # empty when it went into a file
    stderr: str  # the last 64 KiB
    duration_ms: int


async def run(
    argv: Sequence[str],
    *,
    limits: SandboxLimits,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    stdout: Path | None = None,
    fence: Fence | None = None,
) -> Completed:
    """Runs a program to its end; when this returns or raises, nothing of its process group is left.

    `cwd` is a scratch directory, its HOME and TMPDIR too; `env` is all else it gets beside PATH and a locale. `stdout` is
    a new file for what it prints, within the same limit; without it that is kept in memory.
    Raises SandboxFailure at a limit, FileNotFoundError when there is no such program. Cancelled, it kills the group.
    The kernel ties the program to the thread that starts it, which is the event loop's: it dies with that, too.
    """
    started = time.monotonic()
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(cwd), "TMPDIR": str(cwd), **(env or {})}
    program = shutil.which(argv[0], path=environment["PATH"])
    if program is None:
        raise FileNotFoundError(f"{argv[0]} is not a program that can be run")
    confined = _confined([program, *argv[1:]], limits, () if fence is None else _fence(fence, cwd))
    running = _Running(confined, limits, cwd=cwd, env=environment, stdin=stdin, stdout=stdout)
    try:
        await running.finish()
    finally:
        await running.end()
    return Completed(
        exit_code=running.exit_code(),
        stdout=bytes(running.stdout.data),
        stderr=running.stderr.data[-_STDERR_KEPT:].decode(errors="replace"),
        duration_ms=int((time.monotonic() - started) * 1000),
    )


def _fence(fence: Fence, cwd: Path) -> Iterable[str]:
    yield f"WRITE={cwd.absolute()}"
    yield from (f"HIDE={path.absolute()}" for path in fence.hidden)
    yield from (f"SHOW={path.absolute()}" for path in fence.shown)


def _confined(argv: Sequence[str], limits: SandboxLimits, fence: Iterable[str]) -> list[str]:
    # A limit of processor time also ends what nobody watches: where a parent's death is no signal.
    cpu_seconds = limits.cpu_seconds or int(limits.wall_seconds * (os.cpu_count() or 1)) + 1
    resources = {
        _MEMORY: limits.memory_bytes,
        "CPU": cpu_seconds,
        "FSIZE": limits.file_bytes,
        "NOFILE": limits.open_files,
        "CORE": 0,
    }
    if limits.processes is not None:
        resources["NPROC"] = limits.processes
    limited = [f"{name}={value}" for name, value in resources.items()]
    return [sys.executable, "-I", "-S", str(_CONFINE), str(os.getpid()), *limited, *fence, "--", *argv]


class _Running:
    """A started program. A thread of its own waits for it, so that it is buried even when the event loop is gone.

    As long as the program is not buried its number belongs to no other process group, so `_buried` is only looked at
    and changed, and the group only signalled, under the lock.
    """

    def __init__(
        self,
        argv: Sequence[str],
        limits: SandboxLimits,
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: bytes,
        stdout: Path | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._lock = threading.Lock()
        self._buried = False
        self._failure: SandboxFailure | None = None
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()  # exited, or failed
        target = None if stdout is None else stdout.open("xb", buffering=0)
        with _file_of(stdin) as source:
            self._process = subprocess.Popen(  # noqa: S603 -- an argument list; what is run is the caller's to judge
                argv,
                cwd=cwd,
                env=env,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        threading.Thread(target=self._wait, name=f"sandbox-{self._process.pid}", daemon=True).start()
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self.stdout = _Pipe(self._process.stdout, limits.stdout_bytes, None, self._overflow, target=target)
        self.stderr = _Pipe(self._process.stderr, limits.stderr_bytes, _STDERR_KEPT, self._overflow)

    async def finish(self) -> None:
        """Returns when the program has exited or reached a limit."""
        seconds = self._limits.wall_seconds
        await asyncio.wait({self._over}, timeout=seconds)
        if not self._over.done():
            self._fail(SandboxFailureKind.TIME, f"stopped after {seconds:g} seconds")

    async def end(self) -> None:
        """Ends what is left of the group, the program's own or not, and takes what is left in the pipes."""
        try:
            if not self._exited.done():
                self._signal(signal.SIGTERM)
                await asyncio.wait({self._exited}, timeout=_GRACE_SECONDS)
        finally:
            self._signal(signal.SIGKILL)
            try:
                await asyncio.wait({self._exited}, timeout=_GRACE_SECONDS)
                # A process that left the group may hold the other end for ever.
                await asyncio.wait({self.stdout.ended, self.stderr.ended}, timeout=_GRACE_SECONDS)
            finally:
                self.stdout.close()
                self.stderr.close()

    def exit_code(self) -> int:
        """Of a program that ended by itself; raises SandboxFailure for one that did not."""
        if self._failure is not None:
            raise self._failure
        code: int = self._process.returncode
        if code == -signal.SIGXCPU:
            raise SandboxFailure(SandboxFailureKind.TIME, "stopped after using too much processor time")
        if code == -signal.SIGXFSZ:
            raise SandboxFailure(SandboxFailureKind.FILE, f"stopped at a file of {self._limits.file_bytes} bytes")
        if code == -signal.SIGKILL:
            raise SandboxFailure(SandboxFailureKind.MEMORY, "killed by the system, most likely for want of memory")
        return code

    def _overflow(self, problem: str) -> None:
        self._fail(SandboxFailureKind.OUTPUT, problem)

    def _fail(self, kind: SandboxFailureKind, message: str) -> None:
        if self._failure is None:
            self._failure = SandboxFailure(kind, message)
        _settle(self._over)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            if not self._buried:
                self._kill_group(number)

    def _kill_group(self, number: signal.Signals) -> None:
        # Some systems refuse to signal a group of which only the dead are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _wait(self) -> None:
        if sys.platform == "linux":
            with suppress(ChildProcessError):  # in a process that was started to ignore its children
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        else:
            self._process.wait()
        with self._lock:
            self._kill_group(signal.SIGKILL)
            self._process.wait()
            self._buried = True
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle_exit)

    def _settle_exit(self) -> None:
        _settle(self._exited)
        _settle(self._over)


class _Pipe:
    """Takes what a program prints as it comes; more than `most` bytes is an overflow.

    Keeps all, or `kept` of the end, or nothing where it goes into the file `target`.
    """

    def __init__(
        self,
        file: IO[bytes],
        most: int,
        kept: int | None,
        overflow: Callable[[str], None],
        *,
        target: IO[bytes] | None = None,
    ) -> None:
        self._target = target
        self.data = bytearray()
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._file = file
        self._left = self._most = most
        self._kept = kept
        self._overflow = overflow
        os.set_blocking(file.fileno(), False)
        self._loop.add_reader(file.fileno(), self._read)

    def _read(self) -> None:
        try:
            chunk = os.read(self._file.fileno(), _CHUNK)
        except BlockingIOError:
            return
        self._left -= len(chunk)
        if self._left < 0:
            self._overflow(f"stopped after printing {self._most} bytes")
        elif chunk and self._target is not None:
            self._keep(chunk, self._target)
        elif chunk:
            self.data += chunk
            if self._kept is not None and len(self.data) > 2 * self._kept:
                del self.data[: -self._kept]
        if not chunk or self._left < 0:
            self.close()

    def _keep(self, chunk: bytes, target: IO[bytes]) -> None:
        try:
            while chunk:
                chunk = chunk[target.write(chunk) :]
        except OSError as error:
            self._left = -1
            self._overflow(f"stopped because its output could not be kept: {error.strerror}")

    def close(self) -> None:
        if not self._file.closed:
            self._loop.remove_reader(self._file.fileno())
            self._file.close()
            if self._target is not None:
                self._target.close()
        _settle(self.ended)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _file_of(data: bytes) -> IO[bytes]:
    """A file, because a pipe would have to be fed at the speed of whoever reads it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 -- the caller closes it
    file.write(data)
    file.seek(0)
    return file
