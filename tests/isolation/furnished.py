"""Databases with the estates of two organizations, made once a session and copied for each test."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from schema.kernel.database import Database
from tests.app.site import Site, open_site
from tests.conftest import BACKENDS
from tests.isolation.estate import Estate, Unlimited, furnish
from tests.servers import Server, create_database


@dataclass(frozen=True, kw_only=True)
class Furnished:
    """A database to copy, and what is in it. `source` is a file, or the name of a database of PostgreSQL's."""

    source: str
    directory: Path  # of the site that furnished it
    estates: tuple[Estate, Estate]  # (the owner's, the stranger's)


async def _furnish(url: str, directory: Path) -> tuple[Estate, Estate]:
    database = Database(url)
    try:
        async with open_site(database, directory) as site:
            object.__setattr__(site.services, "rates", Unlimited())
            return await furnish(site, "alpha"), await furnish(site, "omega")
    finally:
        await database.close()


@pytest.fixture(scope="session")
def furnished_sqlite(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    directory = tmp_path_factory.mktemp("furnished")
    path = directory / "furnished.db"
    shutil.copyfile(sqlite_template, path)
    estates = asyncio.run(_furnish(f"sqlite+aiosqlite:///{path}", directory))
    return Furnished(source=str(path), directory=directory, estates=estates)


@pytest.fixture(scope="session")
def furnished_postgresql(
    postgres: Server, postgresql_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Furnished:
    directory = tmp_path_factory.mktemp("furnished")

    name = f"furnished_{secrets.token_hex(6)}"

    async def make() -> tuple[Estate, Estate]:
        return await _furnish(await create_database(postgres.url, name, template=postgresql_template), directory)

    return Furnished(source=name, directory=directory, estates=asyncio.run(make()))


@pytest.fixture(params=BACKENDS)
def furnished(request: pytest.FixtureRequest) -> Furnished:
    found: Furnished = request.getfixturevalue(f"furnished_{request.param}")
    return found


@pytest.fixture
def database_url(request: pytest.FixtureRequest, furnished: Furnished, tmp_path: Path) -> str:
    """The URL of a copy of its own."""
    shutil.copytree(furnished.directory / "uploads", tmp_path / "uploads")
    if not furnished.source.endswith(".db"):
        server: Server = request.getfixturevalue("postgres")
        name = f"test_{secrets.token_hex(6)}"
        return asyncio.run(create_database(server.url, name, template=furnished.source))
    path = tmp_path / "harborguard.db"
    shutil.copyfile(furnished.source, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def estates(site: Site, furnished: Furnished) -> tuple[Estate, Estate]:
    """(the owner's, the stranger's)."""
    object.__setattr__(site.services, "rates", Unlimited())
    return furnished.estates
