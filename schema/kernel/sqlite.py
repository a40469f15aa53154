"""SQLite statements in one trip.

A connection of aiosqlite lives in a thread of its own, and SQLAlchemy goes there four times for one statement: to make a
cursor, to execute, to fetch and to close. A trip costs more than what most statements do, so this cursor takes one for all
of it: a fifth of the processor time of a scan's bookkeeping. SQLAlchemy fetches everything at once either way.
"""

from __future__ import annotations

import collections
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, cast

from sqlalchemy import Dialect, util
from sqlalchemy.dialects.sqlite.aiosqlite import AsyncAdapt_aiosqlite_connection, AsyncAdapt_aiosqlite_cursor
from sqlalchemy.engine.interfaces import DBAPIConnection


class OneTripCursor(AsyncAdapt_aiosqlite_cursor):
    """Has no cursor of aiosqlite; what is left of sqlite3's own, once it is closed, tells what there is to know."""

    __slots__ = ()

    def __init__(self, adapt_connection: AsyncAdapt_aiosqlite_connection) -> None:
        self._adapt_connection = adapt_connection
        self._connection = adapt_connection._connection  # noqa: SLF001 -- as the cursor's base class does
        self._cursor: Any = None
        self._soft_closed_memoized = util.EMPTY_DICT
        self._rows: collections.deque[Any] = collections.deque()

    @property
    def description(self) -> Any:
        return None if self._cursor is None else self._cursor.description

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._go(lambda connection: connection.execute(operation, parameters or ()))

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._go(lambda connection: connection.executemany(operation, seq_of_parameters))

    async def _go(self, statement: Any) -> None:
        driver: Any = self._connection

        def execute() -> tuple[sqlite3.Cursor, list[Any]]:
            cursor = statement(driver._conn)  # noqa: SLF001 -- aiosqlite's own methods do the same, one call each
            rows = cursor.fetchall()
            cursor.close()
            return cursor, rows

        async with self._adapt_connection._execute_mutex:  # noqa: SLF001
            self._cursor, rows = await driver._execute(execute)  # noqa: SLF001
        self._rows.extend(rows)

    async def _async_soft_close(self) -> None:
        """It was closed when it was executed."""

    def close(self) -> None:
        self._rows.clear()


class OneTripConnection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ()

    _cursor_cls: type[AsyncAdapt_aiosqlite_cursor] = OneTripCursor


def connect(dialect: Dialect, _record: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> DBAPIConnection:
    """For the event `do_connect` of an engine on aiosqlite."""
    adapted: Any = dialect.connect(*arguments, **options)
    return cast("DBAPIConnection", OneTripConnection(adapted.dbapi, adapted._connection))  # noqa: SLF001
