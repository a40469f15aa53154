from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.tools import fenced
from workers import confine
from workers.sandbox import MIB, Completed, Fence, SandboxFailure, SandboxFailureKind, SandboxLimits, run

LIMITS = SandboxLimits(memory_bytes=256 * MIB, wall_seconds=30)
PATIENCE = 20.0  # seconds a test waits for what must come
SLEEPER = "import time; time.sleep(600)"
# Notes its number in the scratch directory, ignores every polite request, and has a child that does the same.
STUBBORN = """
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, "-c", pathlib.Path("program.py").read_text(), "child"])
pathlib.Path(f"{os.getpid()}.tmp").touch()
os.rename(f"{os.getpid()}.tmp", f"{os.getpid()}.pid")
time.sleep(600)
"""


async def python(code: str, tmp_path: Path, *arguments: str, limits: SandboxLimits = LIMITS) -> Completed:
    return await run([sys.executable, "-c", code, *arguments], limits=limits, cwd=tmp_path)


async def failing(code: str, tmp_path: Path, *, limits: SandboxLimits = LIMITS) -> SandboxFailure:
    with pytest.raises(SandboxFailure) as caught:
        await python(code, tmp_path, limits=limits)
    return caught.value


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 -- another process tells us nothing
            await asyncio.sleep(0.02)


async def wait_until_dead(*pids: int) -> None:
    await until(lambda: not any(is_alive(pid) for pid in pids))


async def noted_pids(directory: Path, count: int) -> list[int]:
    await until(lambda: len(names(directory, "*.pid")) == count)
    return [int(name.removesuffix(".pid")) for name in names(directory, "*.pid")]


def names(directory: Path, pattern: str = "*") -> list[str]:
    return [path.name for path in directory.glob(pattern)]


async def test_what_a_program_prints_and_its_exit_code(tmp_path: Path) -> None:
    done = await python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (done.exit_code, done.stdout, done.stderr) == (3, b"out\n", "err\n")
    assert done.duration_ms > 0


async def test_a_program_that_a_signal_ended(tmp_path: Path) -> None:
    done = await python("import os; os.abort()", tmp_path)
    assert done.exit_code == -signal.SIGABRT


async def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    hostile = ["; touch hacked", "$(touch hacked)", "--", "A=B", ""]
    done = await python("import json, sys; print(json.dumps(sys.argv[1:]))", tmp_path, *hostile)
    assert json.loads(done.stdout) == hostile
    assert names(tmp_path) == []


async def test_the_environment_is_only_what_was_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARBORGUARD_MASTER_KEY", "canary")
    monkeypatch.setenv("PYTHONPATH", "/canary")
    done = await run(
        [sys.executable, "-c", "import json, os; print(json.dumps(dict(os.environ)))"],
        limits=LIMITS,
        cwd=tmp_path,
        env={"COLOUR": "blue"},
    )
    assert json.loads(done.stdout) == {
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "COLOUR": "blue",
    }


async def test_standard_input_is_what_was_given_or_nothing(tmp_path: Path) -> None:
    echo = [sys.executable, "-c", "import shutil, sys; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]
    data = b"x" * MIB  # more than a pipe holds
    assert (await run(echo, limits=LIMITS, cwd=tmp_path, stdin=data)).stdout == data
    assert (await run(echo, limits=LIMITS, cwd=tmp_path)).stdout == b""


async def test_a_program_inherits_no_open_file(tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        done = await python("import os; print(len(os.listdir('/proc/self/fd')))", tmp_path)
    finally:
        os.close(secret)
    assert int(done.stdout) == 4  # the standard three, and the listing itself


async def test_a_program_has_its_own_session_and_limits(tmp_path: Path) -> None:
    code = """
import json, os, resource
names = ("DATA", "CPU", "FSIZE", "NOFILE", "CORE")
limits = [resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0] for name in names]
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines())
print(json.dumps([limits, os.getpid() == os.getpgrp() == os.getsid(0), os.getcwd(), status["NoNewPrivs"]]))
"""
    limits = SandboxLimits(memory_bytes=200 * MIB, wall_seconds=30, cpu_seconds=7, file_bytes=5, open_files=64)
    done = await python(code, tmp_path, limits=limits)
    assert json.loads(done.stdout) == [[200 * MIB, 7, 5, 64, 0], True, str(tmp_path), "1"]


async def test_a_missing_program_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-engine"):
        await run(["no-such-engine"], limits=LIMITS, cwd=tmp_path)


async def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(STUBBORN)
    failure = await failing(STUBBORN, tmp_path, limits=SandboxLimits(wall_seconds=3))
    assert (failure.kind, failure.message) == (SandboxFailureKind.TIME, "stopped after 3 seconds")
    await wait_until_dead(*await noted_pids(tmp_path, 2))


async def test_a_program_may_clean_up_when_its_time_is_over(tmp_path: Path) -> None:
    code = """
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path("cleaned").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
time.sleep(600)
"""
    failure = await failing(code, tmp_path, limits=SandboxLimits(wall_seconds=1))
    assert failure.kind is SandboxFailureKind.TIME
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_a_flood_of_output_ends_the_program(tmp_path: Path, stream: str) -> None:
    code = f"import sys\nwhile True: sys.{stream}.write('x' * 65536)"
    limits = SandboxLimits(wall_seconds=30, stdout_bytes=MIB, stderr_bytes=MIB)
    failure = await failing(code, tmp_path, limits=limits)
    assert (failure.kind, failure.message) == (SandboxFailureKind.OUTPUT, f"stopped after printing {MIB} bytes")


async def test_output_up_to_the_limit_is_kept(tmp_path: Path) -> None:
    code = "import sys; sys.stdout.write('x' * 1000); sys.stderr.write('a' * 200_000 + 'end')"
    limits = SandboxLimits(wall_seconds=30, stdout_bytes=1000)
    done = await python(code, tmp_path, limits=limits)
    assert done.stdout == b"x" * 1000
    assert (len(done.stderr), done.stderr[-4:]) == (65536, "aend")


async def test_memory_beyond_the_limit_is_not_to_be_had(tmp_path: Path) -> None:
    code = """
try:
    hog = [bytes([1]) * 2**20 for _ in range(1024)]
except MemoryError:
    print("refused")
"""
    assert (await python(code, tmp_path)).stdout == b"refused\n"


async def test_a_program_the_system_killed_ran_out_of_memory(tmp_path: Path) -> None:
    failure = await failing("import os; os.kill(os.getpid(), 9)", tmp_path)
    assert failure.kind is SandboxFailureKind.MEMORY


async def test_processor_time_is_limited(tmp_path: Path) -> None:
    failure = await failing("while True: pass", tmp_path, limits=SandboxLimits(wall_seconds=60, cpu_seconds=1))
    assert failure.kind is SandboxFailureKind.TIME


async def test_the_size_of_a_file_is_limited(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL); open('f', 'wb').write(b'x' * 2000)"
    failure = await failing(code, tmp_path, limits=SandboxLimits(wall_seconds=30, file_bytes=1000))
    assert failure.kind is SandboxFailureKind.FILE
    assert (tmp_path / "f").stat().st_size <= 1000


async def test_what_a_program_leaves_behind_is_killed(tmp_path: Path) -> None:
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]).pid)"
    done = await python(code, tmp_path)
    await wait_until_dead(int(done.stdout))


async def test_a_process_that_left_the_group_cannot_hold_us_up(tmp_path: Path) -> None:
    code = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True).pid)
"""
    done = await asyncio.wait_for(python(code, tmp_path), PATIENCE)
    os.kill(int(done.stdout), signal.SIGKILL)


@pytest.mark.parametrize("times", [1, 2])
async def test_cancellation_kills_the_whole_group(tmp_path: Path, times: int) -> None:
    (tmp_path / "program.py").write_text(STUBBORN)
    task = asyncio.create_task(python(STUBBORN, tmp_path))
    pids = await noted_pids(tmp_path, 2)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    await wait_until_dead(*pids)


async def test_a_program_dies_with_us(tmp_path: Path) -> None:
    ours = f"""
import asyncio, pathlib
from workers.sandbox import SandboxLimits, run
asyncio.run(run([{sys.executable!r}, "-c", {STUBBORN!r}, "alone"], limits=SandboxLimits(), cwd=pathlib.Path({str(tmp_path)!r})))
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", ours, cwd=Path(__file__).parents[2])
    pids = await noted_pids(tmp_path, 1)
    process.kill()
    await process.wait()
    await wait_until_dead(*pids)


def test_nothing_is_run_for_a_parent_that_died_before(tmp_path: Path) -> None:
    touch = [sys.executable, "-c", "import pathlib; pathlib.Path('ran').touch()"]
    command = [sys.executable, "-I", "-S", str(confine.__file__), "1", "--", *touch]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "the parent is gone\n")
    assert not (tmp_path / "ran").exists()


def test_the_event_loop_of_the_server_can_run_programs(tmp_path: Path) -> None:
    async def both() -> tuple[Completed, Completed]:
        code = "import sys; print(sys.argv[1])"
        return await asyncio.gather(python(code, tmp_path, "one"), python(code, tmp_path, "two"))

    assert [done.stdout for done in uvloop.run(both())] == [b"one\n", b"two\n"]


async def test_the_event_loop_stays_free_while_a_program_runs(tmp_path: Path) -> None:
    task = asyncio.create_task(python("import time; time.sleep(0.5)", tmp_path))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0.01)
    assert turns > 5


async def test_output_may_go_into_a_file(tmp_path: Path) -> None:
    code = [sys.executable, "-c", "import sys; sys.stdout.write('x' * 200_000)"]
    done = await run(code, limits=LIMITS, cwd=tmp_path, stdout=tmp_path / "out")
    assert (done.stdout, (tmp_path / "out").stat().st_size) == (b"", 200_000)


async def test_a_flood_into_a_file_ends_the_program_and_the_file(tmp_path: Path) -> None:
    code = [sys.executable, "-c", "import sys\nwhile True: sys.stdout.write('x' * 65536)"]
    limits = SandboxLimits(wall_seconds=30, stdout_bytes=MIB)
    with pytest.raises(SandboxFailure, match="stopped after printing"):
        await run(code, limits=limits, cwd=tmp_path, stdout=tmp_path / "out")
    assert (tmp_path / "out").stat().st_size <= MIB


async def fenced_in(code: str, cwd: Path, *arguments: str, fence: Fence = Fence()) -> str:  # noqa: B008 -- frozen
    done = await run([sys.executable, "-c", code, *arguments], limits=LIMITS, cwd=cwd, fence=fence)
    return f"{done.stdout.decode()}{done.stderr}"


@fenced
async def test_a_fenced_program_writes_in_its_directory_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for directory in (inside, outside):
        directory.mkdir()
        (directory / "old").write_text("old")
    code = """
import os, pathlib, sys
pathlib.Path("new").write_text("new")
os.rename("new", "old")
open("/dev/null", "w").write("x")
outside = pathlib.Path(sys.argv[1])
for attempt in (
    lambda: (outside / "new").write_text("new"),
    lambda: (outside / "old").write_text("changed"),
    lambda: os.truncate(outside / "old", 0),
    lambda: (outside / "old").unlink(),
    lambda: os.rename("old", outside / "moved"),
    lambda: (outside / "directory").mkdir(),
    lambda: (outside / "link").symlink_to("old"),
):
    try:
        attempt()
        print("done")
    except OSError as error:
        print(type(error).__name__)
"""
    said = await fenced_in(code, inside, str(outside))
    assert set(said.split()) <= {"PermissionError", "OSError"}, said
    assert [path.name for path in outside.iterdir()] == ["old"]
    assert ((outside / "old").read_text(), (inside / "old").read_text()) == ("old", "new")


@fenced
async def test_a_fenced_program_has_no_network_and_no_neighbours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = """
import os, signal, socket, sys
for attempt in (
    lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5),
    lambda: socket.create_server(("127.0.0.1", 0)),
    lambda: os.kill(os.getppid(), 0),
    lambda: open(f"/proc/{os.getppid()}/environ").read(),
):
    try:
        print(attempt())
    except PermissionError:
        print("refused")
"""
        said = await fenced_in(code, tmp_path, str(server.getsockname()[1]))
    assert said.split() == ["refused"] * 4, said


@fenced
async def test_a_fenced_program_does_not_see_what_is_hidden(tmp_path: Path) -> None:
    data, shown = tmp_path / "data", tmp_path / "data" / "image"
    work = data / "work"
    for directory in (shown, work):
        directory.mkdir(parents=True)
    (data / "master.key").write_text("secret")
    (shown / "layer").write_text("layer")
    (tmp_path / "elsewhere").write_text("public")
    code = """
import sys
for path in sys.argv[1:]:
    try:
        print(open(path).read())
    except PermissionError:
        print("refused")
"""
    paths = [str(path) for path in (data / "master.key", shown / "layer", tmp_path / "elsewhere")]
    said = await fenced_in(code, work, *paths, fence=Fence(hidden=(data,), shown=(shown,)))
    assert said.split() == ["refused", "layer", "public"], said


def test_what_is_hidden_is_left_out_of_its_siblings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/b/hidden", "a/b/seen", "a/seen", "seen"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(tmp_path / "a" / "b")
    hidden = [str(tmp_path / "a" / "b" / "hidden")]
    seen = {str(Path(path).relative_to(tmp_path)) for path in confine._outside(str(tmp_path), hidden)}
    assert seen == {"a/b/seen", "a/seen", "seen"}

    def refuse(path: str) -> list[os.DirEntry[str]]:
        raise PermissionError(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(confine._outside(str(tmp_path), hidden)) == []
