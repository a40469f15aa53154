"""The migrations build exactly the tables the code declares, on both databases, and can be taken back."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect

from app.migrations import downgrade, upgrade
from schema.kernel.database import Database
from schema.tables import metadata
from tests.conftest import BACKENDS
from tests.servers import Server, create_database


@pytest.fixture(params=BACKENDS)
async def empty(request: pytest.FixtureRequest, tmp_path: Path, postgres: Server) -> str:
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    return await create_database(postgres.url, f"empty_{secrets.token_hex(4)}")


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata))


async def test_upgrade_builds_the_declared_tables_and_downgrade_removes_them(empty: str) -> None:
    database = Database(empty)
    try:
        await upgrade(database)
        async with database.writer.connect() as connection:
            assert await connection.run_sync(differences) == []
        await downgrade(database, "base")
        async with database.writer.connect() as connection:
            tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert tables == ["alembic_version"]
        await upgrade(database)
        async with database.writer.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.close()


async def test_upgrade_twice_changes_nothing(empty: str) -> None:
    database = Database(empty)
    try:
        await upgrade(database)
        await upgrade(database)
        async with database.writer.connect() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.close()
