"""The database: one for reading, one for writing, and the transaction every change runs in.

The boundary commits: a request or a job opens `write()`, everything below it adds to that one transaction, and nobody
else calls commit. SQLite has a single writer, so the write engine holds one connection and begins with BEGIN IMMEDIATE:
writers queue in the pool, in order, instead of failing half-way with "database is locked". Work in the background stands
there one at a time, so that whoever waits for an answer has at most one such transaction before them.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any, cast

import orjson
from sqlalchemy import Table, event
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.dml import UpdateBase

from schema.kernel import sqlite
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.recent import RecentRows

BUSY_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 8_000
READ_CONNECTIONS = 8
CHANGED = "changed"
# An execution option of statements after which whatever was read before still counts, such as a time of last use.
BOOKKEEPING = "bookkeeping"
# SQLSTATE classes: connection lost, rolled back for another transaction (deadlock), out of resources, shutting down or
# starting up (PostgreSQL manual, appendix A).
_AWAY = ("08", "40", "53", "57P")
CONNECT_ARGS_POSTGRESQL = {
    "server_settings": {"application_name": "harborguard", "statement_timeout": str(STATEMENT_TIMEOUT_MS)}
}


def _dump_json(value: object) -> str:
    return orjson.dumps(value).decode()


class _NotingSession(Session):
    """Notes in `info` which tables its statements change.

    No statement looks for loaded rows that it might concern: nobody reads a row, changes it and looks at it again.
    """

    def execute(self, statement: Executable, *args: Any, **options: Any) -> Any:
        if isinstance(statement, UpdateBase):
            if BOOKKEEPING not in statement.get_execution_options():
                self.info.setdefault(CHANGED, set()).add(cast("Table", statement.table).name)
            given = options.get("execution_options") or {}
            options["execution_options"] = {"synchronize_session": False, **given}
        return super().execute(statement, *args, **options)


def _load_json(text: str) -> Any:
    """Half of what lists hold is nothing, and a large read has a hundred thousand of them."""
    return [] if text == "[]" else orjson.loads(text)


class Database:
    """Both engines of one database. `await close()` when done."""

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.recent = RecentRows()
        self._background = asyncio.Lock()
        if self.is_sqlite:
            self._reader = self._sqlite_engine(writer=False)
            self._writer = self._sqlite_engine(writer=True)
        else:
            self._writer = create_async_engine(
                self.url,
                pool_size=READ_CONNECTIONS,
                max_overflow=READ_CONNECTIONS,
                pool_pre_ping=True,
                pool_use_lifo=True,
                pool_timeout=10,
                json_serializer=_dump_json,
                json_deserializer=_load_json,
                connect_args=CONNECT_ARGS_POSTGRESQL,
            )
            event.listen(self._writer.sync_engine, "do_connect", _connect)
            # Each statement looks anew by default, so a transaction around reads is two round trips for nothing.
            self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")

    def _sqlite_engine(self, *, writer: bool) -> AsyncEngine:
        engine = create_async_engine(
            self.url,
            pool_size=1 if writer else READ_CONNECTIONS,
            max_overflow=0,
            pool_use_lifo=True,  # the connection whose cache is warm
            pool_timeout=30,
            json_serializer=_dump_json,
            json_deserializer=_load_json,
            connect_args={"timeout": BUSY_TIMEOUT_MS / 1000},
        )

        def configure(connection: DBAPIConnection, _record: object) -> None:
            # The driver must not begin transactions by itself: BEGIN below says which kind.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                "synchronous=NORMAL",
                "foreign_keys=ON",
                f"busy_timeout={BUSY_TIMEOUT_MS}",
                *(() if writer else ("query_only=ON",)),
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        def begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

        event.listen(engine.sync_engine, "do_connect", sqlite.connect)
        event.listen(engine.sync_engine, "connect", configure)
        event.listen(engine.sync_engine, "begin", begin)
        return engine

    @property
    def writer(self) -> AsyncEngine:
        """For migrations and tests; everything else goes through `read` and `write`."""
        return self._writer

    @property
    def engines(self) -> tuple[AsyncEngine, ...]:
        """Each with a pool of its own."""
        return (self._reader, self._writer) if self.is_sqlite else (self._writer,)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A snapshot to read from. Raises SERVICE_UNAVAILABLE when the database cannot be reached."""
        with _translated():
            async with AsyncSession(self._reader, expire_on_commit=False, autoflush=False) as session:
                yield session

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncSession]:
        """For several reads that must agree: all of them see the database as the first one did.

        On SQLite every transaction does; on PostgreSQL by default each statement looks anew.
        """
        bind = self._reader if self.is_sqlite else self._writer.execution_options(isolation_level="REPEATABLE READ")
        with _translated():
            async with AsyncSession(bind, expire_on_commit=False, autoflush=False) as session:
                yield session

    @asynccontextmanager
    async def write(self, *, awaited: bool = False) -> AsyncIterator[AsyncSession]:
        """One transaction: committed when the block ends, rolled back when it raises.

        `awaited`: somebody waits for it, so it goes before work in the background.
        """
        with _translated():
            async with (
                nullcontext() if awaited or not self.is_sqlite else self._background,
                AsyncSession(self._writer, expire_on_commit=False, sync_session_class=_NotingSession) as session,
            ):
                async with session.begin():
                    yield session
                self.recent.forget(session.info.get(CHANGED, set()))

    async def close(self) -> None:
        for engine in self.engines:
            await engine.dispose()


def _connect(dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> DBAPIConnection:
    """No such socket, no such host, nobody there in time: the driver raises these as they are."""
    try:
        return dialect.connect(*arguments, **options)
    except OSError as error:
        raise HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "The database is not reachable; retry") from error


class _translated:  # noqa: N801 -- reads as a word in a `with`
    """Turns an unreachable database into the documented 503 and a statement time-out into the documented 504."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, PoolTimeoutError | ConnectionError):
            raise HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "The database is busy; retry shortly") from error
        if not isinstance(error, DBAPIError):
            return
        state = getattr(error.orig, "sqlstate", None) or ""
        if state == "57014":  # query_canceled: our statement_timeout
            raise HarborGuardError(ErrorCode.TIMEOUT, "The query took too long; narrow its filters") from error
        if (
            error.connection_invalidated
            or isinstance(error, InterfaceError)
            or (isinstance(error, OperationalError) and not isinstance(error.orig, sqlite3.OperationalError))
            or _sqlite_busy(error.orig)
            or state.startswith(_AWAY)
        ):
            raise HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "The database is not reachable; retry") from error


def _sqlite_busy(error: object) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF in {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    }
