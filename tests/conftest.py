"""Fixtures every test may ask for. Whatever takes `database` runs on SQLite and on PostgreSQL, with no skip list."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from app.migrations import upgrade
from schema.kernel.database import Database
from tests.servers import Server, create_database, postgres_server, redis_server

# How fast a loaded machine makes examples says nothing about the code.
settings.register_profile("harborguard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("harborguard"), max_examples=2_000)
settings.load_profile("harborguard")

BACKENDS = ("sqlite", "postgresql")
TEMPLATE = "harborguard_template"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """One line an event. The default shows every local variable of a traceback, which takes half a second each."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ]
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One cluster per test process, started when the first test needs it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[Server]:
    with redis_server() as server:
        yield server


async def _migrated(url: str) -> None:
    database = Database(url)
    try:
        await upgrade(database)
    finally:
        await database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty database file to copy."""
    path = tmp_path_factory.mktemp("template") / "template.db"
    asyncio.run(_migrated(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres: Server) -> str:
    """The name of a migrated, empty database to copy."""

    async def make() -> None:
        await _migrated(await create_database(postgres.url, TEMPLATE))

    asyncio.run(make())
    return TEMPLATE


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated, empty database of its own."""
    if request.param == "sqlite":
        path = tmp_path / "harborguard.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite+aiosqlite:///{path}"
    template = request.getfixturevalue("postgresql_template")
    server: Server = request.getfixturevalue("postgres")
    return asyncio.run(create_database(server.url, f"test_{secrets.token_hex(6)}", template=template))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()
