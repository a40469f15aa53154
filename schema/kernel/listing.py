"""Lists of the schema as statements: built once for each shape that is asked for, then executed with values.

A shape is the filters that are given, the order, a page number or a cursor, and the columns a document reads. Building a
statement of twenty columns takes longer than executing it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from sqlalchemy import ColumnElement, Integer, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped

from schema.kernel.columns import TenantTable, metadata
from schema.kernel.pagination import (
    Page,
    PageMeta,
    PageRequest,
    SortOrder,
    parse_sort,
    read_cursor,
    write_cursor,
)
from schema.kernel.parameters import ORGANIZATION, parameter
from schema.kernel.tenancy import tenant

COUNT_BOUND = 10_000  # rows of a list are counted so far and no further
MAX_SHAPES = 500  # of one list; beyond, all are built anew
Wanted: TypeAlias = "frozenset[str] | None"
"""Attributes a document reads off each row; None where that is not known, which means all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A table that some columns of a list come from; joined when one of them is asked for."""

    target: type[TenantTable]
    on: ColumnElement[bool]
    columns: frozenset[str]


@dataclass(frozen=True, slots=True)
class Shape:
    filters: frozenset[str]
    order: SortOrder
    by_cursor: bool
    wanted: Wanted


class Listing:
    """The rows of a tenant's table, what they show, and how they are filtered and sorted.

    `columns` are named as the attributes of the GraphQL type that reads them; sort keys are columns of the table itself.
    `scope` always holds; `filters` hold when a value is given for them, under their own name as parameter.
    """

    def __init__(
        self,
        table: type[TenantTable],
        *,
        columns: Mapping[str, Any],
        sorts: Mapping[str, Mapped[Any]],
        default: SortOrder,
        scope: Sequence[ColumnElement[bool]] = (),
        filters: Mapping[str, ColumnElement[bool]] | None = None,
        joins: Sequence[Join] = (),
    ) -> None:
        self.default = default
        self.sorts = sorts
        self._table = metadata.tables[str(table.__tablename__)]
        self._scope = (tenant(table, parameter(ORGANIZATION)), *scope)
        self._columns = columns
        self._filters = filters or {}
        self._joins = joins
        self._pages: dict[Shape, tuple[Select[Any], type[Any]]] = {}
        self._counts: dict[frozenset[str], Select[int]] = {}

    @property
    def names(self) -> Sequence[str]:
        """Attributes a row can have, in the order of the columns."""
        return [*self._columns]

    def one(self, *conditions: ColumnElement[bool]) -> Select[Any]:
        """Everything a single row shows, chosen by further conditions."""
        statement = select(*self._shown(self._columns.keys())).select_from(self._table)
        for join in self._joins:
            statement = statement.join(join.target, join.on)
        return statement.where(*self._scope, *conditions)

    def page(self, shape: Shape) -> tuple[Select[Any], type[Any]]:
        """The statement of a page, and the named tuple its rows become: reading an attribute of SQLAlchemy's own row
        takes thirty times as long. The last two columns are the sort key and the id.
        """
        found = self._pages.get(shape)
        if found is None:
            if len(self._pages) >= MAX_SHAPES:
                self._pages.clear()
            statement = self._page(shape)
            row_class = namedtuple(f"{self._table.name}_row", statement.selected_columns.keys())  # type: ignore[misc]  # noqa: PYI024 -- made of the columns
            found = self._pages[shape] = (statement, row_class)
        return found

    def _page(self, shape: Shape) -> Select[Any]:
        """First the ids, which an index answers alone, then what is shown of those few: a deep page would otherwise read
        every row before it.
        """
        order, row_id = shape.order, self._table.c.id
        key = self._table.c[cast("InstrumentedAttribute[Any]", self.sorts[order.column]).key]
        ordered = self._matching(shape.filters).order_by(*_direction(order, key, row_id))
        if shape.by_cursor:
            last_key, last_id = parameter("last_key", key.type), parameter("last_id")
            beyond = key < last_key if order.descending else key > last_key
            tie = row_id < last_id if order.descending else row_id > last_id
            ordered = ordered.where(or_(beyond, and_(key == last_key, tie)))
        else:
            ordered = ordered.offset(parameter("offset", Integer))
        page = ordered.limit(parameter("limit", Integer)).subquery("page")
        names = self._columns.keys() if shape.wanted is None else self._columns.keys() & shape.wanted
        statement = select(*self._shown(names), key.label("page_key"), row_id.label("page_id"))
        statement = statement.select_from(self._table).join(page, page.c.id == row_id)
        for join in self._joins:
            if join.columns & names:
                statement = statement.join(join.target, join.on)
        return statement.order_by(*_direction(order, key, row_id))

    def count(self, filters: frozenset[str]) -> Select[int]:
        """How many rows match, up to one more than COUNT_BOUND."""
        statement = self._counts.get(filters)
        if statement is None:
            bounded = self._matching(filters).limit(COUNT_BOUND + 1).subquery()
            statement = self._counts[filters] = select(func.count()).select_from(bounded)
        return statement

    def _matching(self, filters: frozenset[str]) -> Select[str]:
        # In their declared order, so that equal shapes make equal statements.
        conditions = [condition for name, condition in self._filters.items() if name in filters]
        return select(self._table.c.id).where(*self._scope, *conditions)

    def _shown(self, names: Any) -> list[ColumnElement[Any]]:
        return [column.label(name) for name, column in self._columns.items() if name in names]


def _direction(order: SortOrder, *columns: Any) -> list[Any]:
    return [column.desc() if order.descending else column.asc() for column in columns]


async def fetch_page(
    session: AsyncSession,
    listing: Listing,
    organization_id: str,
    request: PageRequest,
    *,
    scope: Mapping[str, Any] | None = None,
    filters: Mapping[str, Any] | None = None,
    wanted: Wanted = None,
    total: Select[int] | None = None,
) -> Page[Any]:
    """One page of a list, as rows with the wanted columns.

    `scope` has the values of the listing's scope, `filters` those of its filters: None and an empty list mean that it was
    not asked for. `total` is a statement that knows how many there are; without one they are counted. Two statements.
    """
    order = parse_sort(request.sort, columns=listing.sorts, default=listing.default)
    asked = {name: value for name, value in (filters or {}).items() if value is not None and value != []}
    values: dict[str, Any] = {ORGANIZATION: organization_id, **(scope or {}), **asked}
    names = frozenset(asked)
    counted = (await session.execute(listing.count(names) if total is None else total, values)).scalar_one()
    # One more than asked tells whether rows follow.
    values |= {"limit": request.limit + 1, "offset": (request.page - 1) * request.limit}
    if request.after is not None:
        key = cast("InstrumentedAttribute[Any]", listing.sorts[order.column])
        values["last_key"], values["last_id"] = read_cursor(request.after, order, column_type=key.type)
    statement, row_class = listing.page(Shape(names, order, request.after is not None, wanted))
    rows = (await session.execute(statement, values)).all()
    items = [row_class._make(row) for row in rows[: request.limit]]
    is_exact = total is not None or counted <= COUNT_BOUND
    counted = counted if is_exact else COUNT_BOUND
    return Page(
        items=items,
        meta=PageMeta(
            page=request.page,
            page_size=request.limit,
            total=counted,
            total_is_exact=is_exact,
            total_pages=-(-counted // request.limit),
            has_next=len(rows) > request.limit,
            has_prev=request.page > 1 or request.after is not None,
            end_cursor=write_cursor(order, items[-1].page_key, items[-1].page_id) if items else None,
        ),
    )
