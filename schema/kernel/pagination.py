"""Pages: bounded, sorted by an indexed key that ends in the id, addressed by number or by cursor.

A cursor is `v1.` and the base64url JSON of [sort column, direction, key of the last row, its id]. It names a place in an
order, so it stays valid while rows come and go. Append-only: a new form gets a new version, old ones are still read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeAlias, TypeVar, cast

import orjson
import strawberry
from sqlalchemy import ColumnElement, Float, Integer, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped
from sqlalchemy.types import TypeEngine

from schema.kernel.clock import iso_utc
from schema.kernel.columns import EnumText, Table, UtcDateTime, metadata
from schema.kernel.errors import bad_request

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_PAGE = 1_000_000
MAX_KEY = 2**31 - 1  # of a sort key that is a number
COUNT_BOUND = 10_000  # rows of a filtered list are counted so far and no further
Wanted: TypeAlias = "frozenset[str] | None"
"""Attributes a document reads off each row; None where that is not known, which means all."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class SortOrder:
    """A stored, indexed sort key and its direction."""

    column: str
    descending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """What the caller asked for. `after` (a cursor) wins over `page`."""

    page: int = 1
    limit: int = DEFAULT_LIMIT
    sort: str | None = None
    after: str | None = None


@strawberry.type(description="Where a page stands in its list.")
class PageMeta:
    page: int = strawberry.field(description="Number of this page, from 1.")
    page_size: int = strawberry.field(description="Rows a page holds at most.")
    total: int = strawberry.field(description="Rows of the whole list with this filter.")
    total_is_exact: bool = strawberry.field(description="False where rows were counted up to a bound only.")
    total_pages: int = strawberry.field(description="Pages of the rows that were counted.")
    has_next: bool = strawberry.field(description="Whether rows follow.")
    has_prev: bool = strawberry.field(description="Whether rows come before.")
    end_cursor: str | None = strawberry.field(description="Cursor of the last row; null for an empty page.")


@strawberry.type(description="A page of a list.")
class Page(Generic[T]):
    items: list[T] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")


def page_request(*, page: int | None, limit: int | None, sort: str | None, after: str | None = None) -> PageRequest:
    """Checks bounds: BAD_REQUEST for a page below 1 or a limit outside 1-200. Nothing is clamped silently."""
    page = 1 if page is None else page
    limit = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= page <= MAX_PAGE:
        raise bad_request(f"page must be between 1 and {MAX_PAGE}")
    if not 1 <= limit <= MAX_LIMIT:
        raise bad_request(f"limit must be between 1 and {MAX_LIMIT}")
    return PageRequest(page=page, limit=limit, sort=sort, after=after)


def parse_sort(text: str | None, *, columns: Mapping[str, object], default: SortOrder) -> SortOrder:
    """`column:asc|desc`. An unknown column or direction falls back to the list's default, as documented."""
    column, _, direction = (text or "").partition(":")
    if column not in columns or direction not in {"asc", "desc", ""}:
        return default
    return SortOrder(column=column, descending=direction == "desc")


def write_cursor(order: SortOrder, key: object, row_id: str) -> str:
    value = iso_utc_exact(key) if isinstance(key, datetime) else key
    payload = orjson.dumps([order.column, "desc" if order.descending else "asc", value, row_id])
    return "v1." + base64.urlsafe_b64encode(payload).decode("ascii").rstrip("=")


def read_cursor(text: str, order: SortOrder, *, column_type: TypeEngine[Any]) -> tuple[Any, str]:
    """The key and id to continue after. BAD_REQUEST for a cursor that is malformed or belongs to another order.

    A cursor is what a client says: a key that could not have come out of the column never reaches the database.
    """
    version, _, body = text.partition(".")
    try:
        column, direction, written, row_id = orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (ValueError, TypeError, binascii.Error):
        raise bad_request("after: not a cursor of this list") from None
    if version != "v1" or column != order.column or (direction == "desc") != order.descending:
        raise bad_request("after: the cursor belongs to another sort order; start again without it")
    try:
        return _read_key(written, column_type), _read_text(row_id)
    except (ValueError, TypeError, OverflowError):
        raise bad_request("after: not a cursor of this list") from None


def _read_key(written: object, column_type: TypeEngine[Any]) -> object:
    """Raises ValueError, TypeError or OverflowError for a key that is none of the column's."""
    if isinstance(column_type, UtcDateTime):
        moment = datetime.fromisoformat(_read_text(written))
        return moment.astimezone(UTC)
    if isinstance(column_type, EnumText):
        return column_type.enum(written)
    if isinstance(column_type, Integer | Float):
        if not isinstance(written, int | float) or isinstance(written, bool) or abs(written) > MAX_KEY:
            raise TypeError
        return int(written) if isinstance(column_type, Integer) else float(written)
    return _read_text(written)


def _read_text(written: object) -> str:
    if not isinstance(written, str) or "\x00" in written:
        raise TypeError
    return written


def iso_utc_exact(moment: datetime) -> str:
    """Microseconds kept: a cursor must name the row exactly, unlike `iso_utc`."""
    return iso_utc(moment) if not moment.microsecond % 1000 else moment.isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A table that some columns of a list come from; joined when one of them is asked for."""

    target: type[Table]
    on: ColumnElement[bool]
    columns: frozenset[str]


class Listing:
    """A list of the schema: rows of a table with a text id, what they show, and how they can be sorted.

    `columns` are named as the attributes of the GraphQL type that reads them; sort keys are columns of the table itself.
    """

    def __init__(
        self,
        table: type[Table],
        *,
        columns: Mapping[str, Any],
        sorts: Mapping[str, Mapped[Any]],
        default: SortOrder,
        joins: Sequence[Join] = (),
    ) -> None:
        self.default = default
        self.sorts = sorts
        self._table = metadata.tables[str(table.__tablename__)]
        self._columns = columns
        self._joins = joins

    def all_columns(self) -> list[ColumnElement[Any]]:
        """Everything a row can show, for the statement of a single one."""
        return [column.label(name) for name, column in self._columns.items()]

    def page(self, matching: Select[str], order: SortOrder, wanted: Wanted) -> Select[Any]:
        """The rows whose ids are selected by a bounded, ordered statement, in that order.

        First the ids, which an index answers alone, then what is shown of those few: a deep page would otherwise read
        every row before it. The last two columns are the sort key and the id.
        """
        names = self._columns.keys() if wanted is None else self._columns.keys() & wanted
        page = matching.subquery("page")
        key = self._table.c[cast("InstrumentedAttribute[Any]", self.sorts[order.column]).key]
        shown = [column.label(name) for name, column in self._columns.items() if name in names]
        statement = select(*shown, key.label("page_key"), self._table.c.id.label("page_id")).select_from(self._table)
        statement = statement.join(page, page.c.id == self._table.c.id)
        for join in self._joins:
            if join.columns & names:
                statement = statement.join(join.target, join.on)
        return statement.order_by(*_direction(order, key, self._table.c.id))


def _direction(order: SortOrder, *columns: Any) -> list[Any]:
    return [column.desc() if order.descending else column.asc() for column in columns]


async def fetch_page(
    session: AsyncSession,
    listing: Listing,
    matching: Select[str],
    request: PageRequest,
    *,
    wanted: Wanted = None,
    total: Select[int] | None = None,
) -> Page[Any]:
    """One page of a list, as rows with the wanted columns.

    `matching` selects the ids of the listing's table. `total` is a statement that knows how many there are; without one
    they are counted, up to COUNT_BOUND. Two statements.
    """
    order = parse_sort(request.sort, columns=listing.sorts, default=listing.default)
    key = cast("InstrumentedAttribute[Any]", listing.sorts[order.column])
    [row_id] = matching.selected_columns
    counted = (await session.execute(bounded_count(matching) if total is None else total)).scalar_one()
    is_exact = total is not None or counted <= COUNT_BOUND
    counted = counted if is_exact else COUNT_BOUND
    ordered = matching.order_by(*_direction(order, key, row_id))
    if request.after is not None:
        last_key, last_id = read_cursor(request.after, order, column_type=key.type)
        beyond = key < last_key if order.descending else key > last_key
        tie = row_id < last_id if order.descending else row_id > last_id
        ordered = ordered.where(or_(beyond, and_(key == last_key, tie)))
    else:
        ordered = ordered.offset((request.page - 1) * request.limit)
    # One more than asked tells whether rows follow.
    rows = (await session.execute(listing.page(ordered.limit(request.limit + 1), order, wanted))).all()
    items = rows[: request.limit]
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


def bounded_count(matching: Select[str]) -> Select[int]:
    """How many rows a statement selects, up to one more than COUNT_BOUND."""
    return select(func.count()).select_from(matching.limit(COUNT_BOUND + 1).subquery())
