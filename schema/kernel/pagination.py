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
from typing import Any, Generic, TypeVar, cast

import orjson
from sqlalchemy import Float, Integer, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, Mapped
from sqlalchemy.types import TypeEngine

from schema.kernel.clock import iso_utc
from schema.kernel.columns import EnumText, UtcDateTime
from schema.kernel.errors import bad_request

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_PAGE = 1_000_000
MAX_KEY = 2**31 - 1  # of a sort key that is a number

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMeta:
    """The documented `meta` of a list. `total` counts every row of the filter, `pageSize` is the limit in force."""

    page: int
    page_size: int
    total: int
    total_pages: int
    has_next: bool
    has_prev: bool
    end_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    items: Sequence[T]
    meta: PageMeta


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


async def fetch_page(
    session: AsyncSession,
    statement: Select[*tuple[Any, ...]],
    request: PageRequest,
    *,
    keys: Mapping[str, Mapped[Any]],
    default: SortOrder,
    row_id: Mapped[str],
) -> Page[Any]:
    """One page of `statement`, whose selected columns must hold the sort key and the id under their own names.

    Two statements: the rows (one more than asked tells `has_next` of a cursor page) and the count.
    """
    order = parse_sort(request.sort, columns=keys, default=default)
    # `col()` says Mapped, which hides the name and the type; what it returns is an attribute that has both.
    key, identity = cast("InstrumentedAttribute[Any]", keys[order.column]), cast("InstrumentedAttribute[str]", row_id)
    total = (await session.execute(select(func.count()).select_from(statement.order_by(None).subquery()))).scalar_one()
    ordered = statement.order_by(
        key.desc() if order.descending else key.asc(), row_id.desc() if order.descending else row_id.asc()
    )
    if request.after is not None:
        last_key, last_id = read_cursor(request.after, order, column_type=key.type)
        beyond = key < last_key if order.descending else key > last_key
        tie = row_id < last_id if order.descending else row_id > last_id
        ordered = ordered.where(or_(beyond, and_(key == last_key, tie)))
    else:
        ordered = ordered.offset((request.page - 1) * request.limit)
    rows = (await session.execute(ordered.limit(request.limit + 1))).all()
    items = rows[: request.limit]
    last = items[-1]._mapping if items else None  # noqa: SLF001 -- SQLAlchemy's public name for a row as a mapping
    return Page(
        items,
        PageMeta(
            page=request.page,
            page_size=request.limit,
            total=total,
            total_pages=-(-total // request.limit),
            has_next=len(rows) > request.limit,
            has_prev=request.page > 1 or request.after is not None,
            end_cursor=None if last is None else write_cursor(order, last[key.key], last[identity.key]),
        ),
    )
