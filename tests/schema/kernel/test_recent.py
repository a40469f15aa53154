from __future__ import annotations

from datetime import UTC, datetime, timedelta

from schema.kernel import recent
from schema.kernel.recent import RecentRows

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TABLES = frozenset({"api_keys"})


class Shelf:
    """A row that counts how often it was loaded."""

    def __init__(self, row: object = "row") -> None:
        self.row = row
        self.loads = 0

    async def load(self) -> object:
        self.loads += 1
        return self.row


async def test_a_row_is_believed_for_a_second() -> None:
    rows, shelf = RecentRows(), Shelf()
    for seconds in (0.0, 0.5, 0.999, 1.0, 1.5, 2.0):
        assert await rows.find("a", shelf.load, tables=TABLES, now=NOW + timedelta(seconds=seconds)) == "row"
    assert shelf.loads == 3


async def test_a_clock_that_was_set_back_makes_nothing_recent() -> None:
    rows, shelf = RecentRows(), Shelf()
    for now in (NOW, NOW - timedelta(hours=1)):
        await rows.find("a", shelf.load, tables=TABLES, now=now)
    assert shelf.loads == 2


async def test_what_is_missing_is_asked_for_again() -> None:
    rows, shelf = RecentRows(), Shelf(None)
    for _ in range(2):
        assert await rows.find("a", shelf.load, tables=TABLES, now=NOW) is None
    assert shelf.loads == 2


async def test_a_change_of_its_table_makes_a_row_forgotten() -> None:
    rows, shelf = RecentRows(), Shelf()
    for changed, loads in ({"scans"}, 1), ({"api_keys", "scans"}, 2):
        await rows.find("a", shelf.load, tables=TABLES, now=NOW)
        rows.forget(changed)
        await rows.find("a", shelf.load, tables=TABLES, now=NOW)
        assert shelf.loads == loads


async def test_a_row_that_was_changed_while_it_was_read_is_not_kept() -> None:
    rows, shelf = RecentRows(), Shelf()

    async def load_beside_a_commit() -> object:
        row = await shelf.load()
        rows.forget({"api_keys"})
        return row

    await rows.find("a", load_beside_a_commit, tables=TABLES, now=NOW)
    await rows.find("a", shelf.load, tables=TABLES, now=NOW)
    assert shelf.loads == 2


async def test_rows_do_not_pile_up() -> None:
    rows, shelf = RecentRows(), Shelf()
    for number in range(recent.MAX_ROWS + 10):
        await rows.find(number, shelf.load, tables=TABLES, now=NOW)
    assert len(rows._rows) == recent.MAX_ROWS
    await rows.find(0, shelf.load, tables=TABLES, now=NOW)
    assert shelf.loads == recent.MAX_ROWS + 11
