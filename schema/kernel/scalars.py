"""Scalars of the schema whose written form is part of the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NewType

import strawberry
from strawberry.types.scalar import ScalarDefinition

from schema.kernel.clock import iso_utc


def _parse_datetime(value: object) -> datetime:
    if not isinstance(value, str):
        msg = "must be an ISO 8601 date and time"
        raise ValueError(msg)  # noqa: TRY004 -- GraphQL turns a ValueError into an input error
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # the second where the zone moves it out of the years 1 to 9999
        msg = "must be an ISO 8601 date and time, like 2026-04-26T14:22:11Z"
        raise ValueError(msg) from None


def _write_datetime(value: Any) -> str:
    """A row of a list has its times in their written form already."""
    return value if isinstance(value, str) else iso_utc(value)


# What it does to values of exactly these classes, told to `schema.execution.plain`: text is left as it is.
_write_datetime.by_class = {str: None, datetime: iso_utc}  # type: ignore[attr-defined]


def _parse_long(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 2**53:
        msg = "must be a whole number"
        raise ValueError(msg)
    return value


@dataclass(frozen=True, slots=True, eq=False)
class ByteStream:
    """A request body on its way in. Only an adapter can make one, so no JSON value passes for it."""

    chunks: AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # of a delivery: they may hold its secret


def _parse_stream(value: object) -> ByteStream:
    if not isinstance(value, ByteStream):
        msg = "is sent as the body of a request, to POST /api/images/upload, /api/scans/import or /api/webhooks for example"
        raise ValueError(msg)  # noqa: TRY004
    return value


def _parse_message(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = "must be an object"
        raise ValueError(msg)  # noqa: TRY004
    return value


def _no_output(_value: object) -> Any:
    msg = "a body is an input only"
    raise ValueError(msg)


Archive = NewType("Archive", object)
Report = NewType("Report", object)
Delivery = NewType("Delivery", object)
SensorMessage = NewType("SensorMessage", object)
VexDocument = NewType("VexDocument", object)
Long = NewType("Long", int)

SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="A moment in UTC, ISO 8601 with milliseconds: 2026-04-26T14:22:11.000Z.",
        specified_by_url="https://www.rfc-editor.org/rfc/rfc3339",
        serialize=_write_datetime,
        parse_value=_parse_datetime,
    ),
    Long: strawberry.scalar(
        name="Long",
        description="A whole number up to 2^53, such as a size in bytes; a JSON number.",
        serialize=int,
        parse_value=_parse_long,
    ),
    Archive: strawberry.scalar(
        name="Archive",
        description="An image archive, streamed as the body of POST /api/images/upload.",
        serialize=_no_output,
        parse_value=_parse_stream,
    ),
    SensorMessage: strawberry.scalar(
        name="SensorMessage",
        description="What a sensor says, as a JSON object. Members nobody knows, and missing ones, are no error.",
        serialize=_no_output,
        parse_value=_parse_message,
    ),
    VexDocument: strawberry.scalar(
        name="VexDocument",
        description="A VEX document as a JSON object: OpenVEX, CycloneDX or CSAF 2.0.",
        serialize=_no_output,
        parse_value=_parse_message,
    ),
    Report: strawberry.scalar(
        name="Report",
        description=(
            "What a tool or a sensor found elsewhere, as JSON, streamed as the body of POST /api/scans/import or "
            "/api/scans/upload."
        ),
        serialize=_no_output,
        parse_value=_parse_stream,
    ),
    Delivery: strawberry.scalar(
        name="Delivery",
        description="What a registry tells us, with its headers, as the body of POST /api/webhooks/{provider}.",
        serialize=_no_output,
        parse_value=_parse_stream,
    ),
}
