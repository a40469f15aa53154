"""All SQL of events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.events.models import Event, EventType
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import any_of
from schema.kernel.rows import as_text, as_time
from schema.kernel.upsert import batches, insert_missing

EVENTS = Listing(
    Event,
    columns={
        "id": col(Event.id),
        "type": as_text(Event.type),
        "subject": col(Event.subject),
        "details": col(Event.details),
        "created_at": as_time(Event.created_at),
    },
    filters={"types": col(Event.type).in_(any_of("types"))},
    sorts={"createdAt": col(Event.created_at)},
    default=SortOrder(column="createdAt", descending=True),
)


async def emit(
    session: AsyncSession,
    organization_id: str,
    type: EventType,  # noqa: A002 -- what the column is called
    *,
    subject: str,
    key: str,
    details: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Says that something has happened, in the transaction in which it does. False: that was said already."""
    return await emit_all(session, organization_id, type, [(subject, key, details)], now=now) > 0


async def emit_all(
    session: AsyncSession,
    organization_id: str,
    type: EventType,  # noqa: A002 -- what the column is called
    happened: Iterable[tuple[str, str, Mapping[str, Any]]],
    *,
    now: datetime,
) -> int:
    """The same of many: (subject, key, details). Returns how many were not said before."""
    said = 0
    for batch in batches(happened):
        rows = [
            {
                "id": new_id(IdPrefix.EVENT),
                "organization_id": organization_id,
                "type": type,
                "subject": subject,
                "key": key,
                "details": dict(details),
                "created_at": now,
            }
            for subject, key, details in batch
        ]
        said += await insert_missing(session, Event, rows, unique=("organization_id", "type", "key"))
    return said


async def list_events(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    types: Sequence[EventType] | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    return await fetch_page(session, EVENTS, organization_id, request, filters={"types": types}, wanted=wanted)
