"""Pages: bounded, sorted by an indexed key that ends in the id, addressed by number or by cursor.

A cursor is `v1.` and the base64url JSON of [sort column, direction, key of the last row, its id]. It names a place in an
order, so it stays valid while rows come and go. Append-only: a new form gets a new version, old ones are still read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import orjson
import strawberry
from sqlalchemy import Float, Integer
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
