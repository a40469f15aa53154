"""Bringing a database to the schema this version needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from schema.kernel.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_LOCK = 4_815_162_342  # any number; the same in every version


def _config(connection: Connection) -> Config:
    # Imported where it is needed: a start on an up-to-date database, which is most of them, does without.
    from alembic.config import Config  # noqa: PLC0415

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


def _newest() -> str:
    return max(path.name for path in (_MIGRATIONS / "versions").glob("[0-9]*.py")).partition("_")[0]


def _stored(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


async def revisions(database: Database) -> tuple[str | None, str]:
    """(that of the database, that of this version); None for a database that was never migrated. Changes nothing."""
    async with database.read() as session:
        return await (await session.connection()).run_sync(_stored), _newest()


async def upgrade(database: Database, revision: str = "head") -> None:
    """Applies what is missing, in one transaction: a failed migration leaves the database as it was."""
    if revision == "head":
        found, needed = await revisions(database)
        if found == needed:
            return

    def migrate(connection: Connection) -> None:
        from alembic import command  # noqa: PLC0415 -- see `_config`

        command.upgrade(_locked(connection), revision)

    async with database.writer.begin() as connection:
        await connection.run_sync(migrate)


async def downgrade(database: Database, revision: str) -> None:
    from alembic import command  # noqa: PLC0415 -- see `_config`

    async with database.writer.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(_locked(sync), revision))


async def write_revision(database: Database, message: str) -> None:
    """Writes the migration from an up-to-date database to the tables as they are in the code."""
    from alembic import command  # noqa: PLC0415 -- see `_config`

    number = f"{len(list((_MIGRATIONS / 'versions').glob('[0-9]*.py'))) + 1:04d}"
    async with database.writer.begin() as connection:
        await connection.run_sync(
            lambda sync: command.revision(_locked(sync), message=message, autogenerate=True, rev_id=number)
        )
