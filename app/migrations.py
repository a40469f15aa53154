"""Bringing a database to the schema this version needs."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from schema.kernel.database import Database

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK = 4_815_162_342  # any number; the same in every version


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes["connection"] = connection
    return config


def _locked(connection: Connection) -> Config:
    """Many processes may start at once: on PostgreSQL one migrates at a time, on SQLite the write lock sees to it."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    return _config(connection)


async def upgrade(database: Database, revision: str = "head") -> None:
    """Applies what is missing, in one transaction: a failed migration leaves the database as it was."""
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(_locked(sync), revision))


async def downgrade(database: Database, revision: str) -> None:
    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_locked(sync), revision))


async def revisions(database: Database) -> tuple[str | None, str | None]:
    """(that of the database, that of this version); None for a database that was never migrated. Changes nothing."""
    async with database.read() as session:
        connection = await session.connection()
        return await connection.run_sync(
            lambda sync: (
                MigrationContext.configure(sync).get_current_revision(),
                ScriptDirectory.from_config(_config(sync)).get_current_head(),
            )
        )


async def write_revision(database: Database, message: str) -> None:
    """Writes the migration from an up-to-date database to the tables as they are in the code."""
    number = f"{len(list((_MIGRATIONS / 'versions').glob('[0-9]*.py'))) + 1:04d}"
    async with database.writer.begin() as connection:
        await connection.run_sync(
            lambda sync: command.revision(_locked(sync), message=message, autogenerate=True, rev_id=number)
        )
