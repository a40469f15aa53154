"""Lists of the schema as statements: built once for each shape that is asked for, then executed with values.

A shape is the filters that are given, the order, a page number or a cursor, and the columns a document reads. Building a
statement of twenty columns takes longer than executing it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from sqlalchemy import Column, ColumnElement, CompoundSelect, Integer, Select, and_, func, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped

from schema.kernel.columns import Table, TenantTable, metadata
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

    target: type[Table]
    on: ColumnElement[bool]
    columns: frozenset[str]
    outer: bool = False  # rows without a partner there are rows all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A way to the rows that match a filter from another table, which is much smaller or says where they are."""

    through: type[Table]
    on: ColumnElement[bool]
    condition: ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Shape:
    filters: frozenset[str]
    order: SortOrder
    by_cursor: bool
    wanted: Wanted
    narrow: bool = False  # so few rows match that they are gathered first and put into order then


class Listing:
    """The rows of a tenant's table, what they show, and how they are filtered and sorted.

    `columns` are named as the attributes of the GraphQL type that reads them; sort keys are columns of the table itself.
    `scope` always holds; `filters` hold when a value is given for them, under their own name as parameter. `branches` lead
    to what matches a filter, each row by one of them: rows are counted that way, and if there are only a few, read.
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
        branches: Mapping[str, Sequence[Branch]] | None = None,
    ) -> None:
        self.default = default
        self.sorts = sorts
        self._table = metadata.tables[str(table.__tablename__)]
        self._scope = (tenant(table, parameter(ORGANIZATION)), *scope)
        self._columns = columns
        self._filters = filters or {}
        self._joins = joins
        self._branches = branches or {}
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
            statement = statement.join(join.target, join.on, isouter=join.outer)
        return statement.where(*self._scope, *conditions)

    def has_branch(self, filters: frozenset[str]) -> bool:
        return not filters.isdisjoint(self._branches)

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
        source: Any = self._table
        if shape.narrow:
            # Gathered before anything else: no index may talk the database into walking a million rows in their order.
            source = self._gathered(shape.filters, key).cte("gathered").prefix_with("MATERIALIZED")
            ordered = select(source.c.id)
        else:
            ordered = self._matching(shape.filters)
        ordered = ordered.order_by(*_direction(order, source.c[key.name], source.c.id))
        if shape.by_cursor:
            last_key, last_id = parameter("last_key", key.type), parameter("last_id")
            here, its_id = source.c[key.name], source.c.id
            beyond = here < last_key if order.descending else here > last_key
            tie = its_id < last_id if order.descending else its_id > last_id
            ordered = ordered.where(or_(beyond, and_(here == last_key, tie)))
        else:
            ordered = ordered.offset(parameter("offset", Integer))
        page = ordered.limit(parameter("limit", Integer)).subquery("page")
        names = self._columns.keys() if shape.wanted is None else self._columns.keys() & shape.wanted
        statement = select(*self._shown(names), key.label("page_key"), row_id.label("page_id"))
        statement = statement.select_from(self._table).join(page, page.c.id == row_id)
        for join in self._joins:
            if join.columns & names:
                statement = statement.join(join.target, join.on, isouter=join.outer)
        return statement.order_by(*_direction(order, key, row_id))

    def count(self, filters: frozenset[str]) -> Select[int]:
        """How many rows match, up to one more than COUNT_BOUND."""
        statement = self._counts.get(filters)
        if statement is None:
            matching = self._gathered(filters) if self.has_branch(filters) else self._matching(filters)
            bounded = matching.limit(COUNT_BOUND + 1).subquery()
            statement = self._counts[filters] = select(func.count()).select_from(bounded)
        return statement

    def ids(self, filters: frozenset[str]) -> Select[str]:
        """The ids of what matches, in their order, up to a `limit`."""
        if self.has_branch(filters):
            gathered = self._gathered(filters).subquery()
            statement = select(gathered.c.id).order_by(gathered.c.id)
        else:
            statement = self._matching(filters).order_by(self._table.c.id)
        return statement.limit(parameter("limit", Integer))

    def _matching(self, filters: frozenset[str]) -> Select[str]:
        return select(self._table.c.id).where(*self._scope, *self._conditions(filters))

    def _gathered(self, filters: frozenset[str], *columns: Column[Any]) -> CompoundSelect[Any]:
        """What matches, by the branches of the first filter that has some; the other filters are looked at row by row."""
        leading = next(name for name in self._branches if name in filters)
        conditions = self._conditions(filters - {leading})
        return union_all(
            *(
                select(self._table.c.id, *columns)
                .join_from(branch.through, self._table, branch.on)
                .where(*self._scope, branch.condition, *conditions)
                for branch in self._branches[leading]
            )
        )

    def _conditions(self, filters: frozenset[str]) -> list[ColumnElement[bool]]:
        # In their declared order, so that equal shapes make equal statements.
        return [condition for name, condition in self._filters.items() if name in filters]

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
    is_narrow = counted <= COUNT_BOUND and listing.has_branch(names)
    statement, row_class = listing.page(Shape(names, order, request.after is not None, wanted, is_narrow))
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
