"""Rows that every request asks for again, remembered for a moment.

A row is believed for a second. That bounds what another process may have changed meanwhile; a change by this process
counts at once, because the commit that makes it forgets every row of its tables.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Any

RECENT = timedelta(seconds=1)
MAX_ROWS = 10_000


class RecentRows:
    """Least recently asked rows go first. What was not found is not remembered: it is asked for by whoever guesses."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Hashable, tuple[datetime, Any]] = OrderedDict()
        self._tables: set[str] = set()
        self._changes = 0

    async def find(
        self, key: Hashable, load: Callable[[], Awaitable[Any | None]], *, tables: frozenset[str], now: datetime
    ) -> Any | None:
        """The row of a key, loaded when it is not remembered. `tables` are all that the row is read from."""
        kept = self._rows.get(key)
        if kept is not None and kept[0] <= now < kept[0] + RECENT:  # a clock that was set back makes nothing recent
            self._rows.move_to_end(key)
            return kept[1]
        self._tables |= tables
        changes = self._changes
        row = await load()
        # A commit during the look-up may have changed the row after it was read.
        if row is not None and changes == self._changes:
            self._rows[key] = (now, row)
            self._rows.move_to_end(key)
            if len(self._rows) > MAX_ROWS:
                self._rows.popitem(last=False)
        return row

    def forget(self, changed: set[str]) -> None:
        """After a commit that changed these tables."""
        if changed & self._tables:
            self._rows.clear()
            self._changes += 1
