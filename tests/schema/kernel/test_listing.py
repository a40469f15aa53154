"""Lists as statements: shapes, bounds, and what a row has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlmodel import col

from bench.findings import furnish
from schema.images.models import Image
from schema.images.repository import IMAGES, list_images
from schema.kernel import listing
from schema.kernel.clock import iso_utc
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Shape
from schema.kernel.pagination import PageRequest, SortOrder
from schema.organizations.models import Plan
from schema.organizations.repository import create_organization
from schema.vulnerabilities.filters import VulnerabilityFilter
from schema.vulnerabilities.repository import VULNERABILITIES, list_vulnerabilities

NOW = datetime(2026, 1, 1, 12, 30, 15, 987654, tzinfo=UTC)


@pytest.fixture
async def acme(database: Database) -> str:
    async with database.write() as session:
        return await create_organization(session, name="Acme", plan=Plan.ENTERPRISE, now=NOW)


async def add_images(database: Database, organization_id: str, count: int) -> list[str]:
    rows = [
        {
            "id": new_id(IdPrefix.IMAGE),
            "organization_id": organization_id,
            "name": f"registry.example/app-{number:03}",
            "created_at": NOW + timedelta(seconds=number % 5),  # many ties
        }
        for number in range(count)
    ]
    async with database.write() as session:
        await session.execute(insert(Image), rows)
    return [str(row["name"]) for row in rows]


@pytest.mark.parametrize("sort", ["createdAt:desc", "createdAt:asc", "name:desc", "riskScore:asc"])
@pytest.mark.parametrize("by_cursor", [False, True])
async def test_pages_together_are_the_whole_list_once(
    database: Database, acme: str, sort: str, *, by_cursor: bool
) -> None:
    names = await add_images(database, acme, 23)
    seen: list[str] = []
    request = PageRequest(limit=5, sort=sort)
    while True:
        async with database.read() as session:
            page = await list_images(session, acme, request)
        seen += [row.name for row in page.items]
        assert page.meta.total == 23
        if not page.meta.has_next:
            break
        after = page.meta.end_cursor if by_cursor else None
        request = PageRequest(page=1 if by_cursor else request.page + 1, limit=5, sort=sort, after=after)
    assert sorted(seen) == sorted(names)
    assert len(seen) == len(set(seen))


async def test_a_row_has_the_wanted_columns_and_no_others(database: Database, acme: str) -> None:
    await add_images(database, acme, 1)
    async with database.read() as session:
        page = await list_images(session, acme, PageRequest(), wanted=frozenset({"name", "no_such_column"}))
    assert page.items[0]._fields == ("name", "page_key", "page_id")


async def test_times_are_written_as_the_schema_writes_them(database: Database, acme: str) -> None:
    await add_images(database, acme, 1)
    async with database.read() as session:
        [row] = (await list_images(session, acme, PageRequest())).items
    assert (row.created_at, row.last_scanned_at) == (iso_utc(NOW), None)
    assert row.created_at == "2026-01-01T12:30:15.987Z", "cut, not rounded"


async def test_counting_stops_at_its_bound(
    database: Database, acme: str, monkeypatch: pytest.MonkeyPatch, fresh_counts: None
) -> None:
    await add_images(database, acme, 12)
    for bound, total, is_exact in ((11, 11, False), (12, 12, True), (13, 12, True)):
        monkeypatch.setattr(listing, "COUNT_BOUND", bound)
        IMAGES._counts.clear()
        async with database.read() as session:
            meta = (await list_images(session, acme, PageRequest(limit=5))).meta
        assert (meta.total, meta.total_is_exact, meta.has_next) == (total, is_exact, True)


@pytest.fixture
def fresh_counts() -> Iterator[None]:
    """Statements made with another bound are made again."""
    yield
    IMAGES._counts.clear()


async def test_a_stored_total_needs_no_bound(database: Database, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await furnish(database, acme, 40)
    monkeypatch.setattr(listing, "COUNT_BOUND", 7)
    async with database.read() as session:
        meta = (await list_vulnerabilities(session, acme, PageRequest(limit=5), VulnerabilityFilter())).meta
    assert (meta.total, meta.total_is_exact) == (40, True)


def test_equal_shapes_share_a_statement_and_many_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_SHAPES", 10)
    order = SortOrder(column="name", descending=False)
    fresh = Listing(Image, columns={"name": col(Image.name)}, sorts={"name": col(Image.name)}, default=order)
    shapes = [Shape(frozenset(), order, by_cursor=False, wanted=frozenset({f"a{number}"})) for number in range(30)]
    assert fresh.page(shapes[0])[0] is fresh.page(shapes[0])[0]
    for shape in shapes:
        fresh.page(shape)
    assert len(fresh._pages) <= 10


@pytest.mark.parametrize("text", ["100%", "a_b", "a/b", "//", "%", "_"])
async def test_wildcards_are_searched_for_as_they_are(database: Database, acme: str, text: str) -> None:
    rows: list[dict[str, Any]] = [
        {"id": new_id(IdPrefix.IMAGE), "organization_id": acme, "name": name, "created_at": NOW}
        for name in (f"x{text}y", f"X{text}Y2", "other", "axb")
    ]
    async with database.write() as session:
        await session.execute(insert(Image), rows)
    async with database.read() as session:
        found = (await list_images(session, acme, PageRequest(), search=text.upper())).items
    assert {row.name for row in found} == {f"x{text}y", f"X{text}Y2"}


async def test_a_search_that_is_too_long_is_refused(database: Database, acme: str) -> None:
    async with database.read() as session:
        with pytest.raises(HarborGuardError):
            await list_images(session, acme, PageRequest(), search="x" * 201)


async def test_a_registrys_host_is_compared_not_matched(database: Database, acme: str) -> None:
    rows = [
        {"id": new_id(IdPrefix.IMAGE), "organization_id": acme, "name": name, "created_at": NOW}
        for name in ("ghcr.io/a/b", "ghcr.iox/a/b", "ghcrXio/a/b", "quay.io/ghcr.io/a")
    ]
    async with database.write() as session:
        await session.execute(insert(Image), rows)
    async with database.read() as session:
        for registry, count in (("ghcr.io", 1), ("ghcr_io", 0), ("%", 0), ("quay.io", 1)):
            found = await list_images(session, acme, PageRequest(), registry=registry)
            assert found.meta.total == count, registry


def test_every_sort_is_a_column_of_the_table_itself() -> None:
    for each in (VULNERABILITIES, IMAGES):
        for column in each.sorts:
            shape = Shape(frozenset(), SortOrder(column=column, descending=True), by_cursor=True, wanted=frozenset())
            assert "page_key" in each.page(shape)[0].selected_columns
