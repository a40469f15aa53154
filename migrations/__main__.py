"""`python -m migrations new "what changes"`: writes a migration by comparing the code with a fresh database."""

from __future__ import annotations

import asyncio
import sys
import tempfile

from app.migrations import upgrade, write_revision
from schema.kernel.database import Database


async def new(message: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        database = Database(f"sqlite+aiosqlite:///{directory}/new.db")
        try:
            await upgrade(database)
            await write_revision(database, message)
        finally:
            await database.close()


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "new":  # noqa: PLR2004
        sys.exit('usage: python -m migrations new "what changes"')
    asyncio.run(new(sys.argv[2]))
