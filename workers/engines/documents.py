"""What an engine printed, read as if somebody hostile had printed it: it has read the image, and the image may have won.

Anything of another type than expected counts as not said; texts are one printable line of bounded length; numbers fit
their columns. Depth is bounded by the JSON reader, size by the limit on the output it comes from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson

from workers.inventory.notes import printable

Object: TypeAlias = Mapping[str, Any]

MAX_TEXT = 500  # characters of one text
MAX_PATH = 4096
MAX_TEXTS = 100  # of one list
_MAX_WHOLE = 2**63 - 1  # what a column holds
_SPACES = re.compile(r"\s+")


class EngineFailure(Exception):  # noqa: N818 -- an engine that fails is an outcome, not a bug
    """An engine gave no usable answer. The message continues a sentence that begins with its name, without any path."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def parse_document(data: bytes) -> Object:
    """The JSON object an engine printed. Raises EngineFailure."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise EngineFailure("printed something that is not JSON" if data.strip() else "printed nothing") from None
    if not isinstance(document, dict):
        raise EngineFailure("printed JSON that is not an object")
    return document


def mapping(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def objects(value: object) -> Iterator[Object]:
    """The objects of a list."""
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


def text(value: object, most: int = MAX_TEXT) -> str:
    """On one line, cut to size; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    return printable(_SPACES.sub(" ", value[: 2 * most]).strip())[:most]


def path(value: object) -> str:
    """A path in the image, as records have it: without a leading slash."""
    return printable(value.lstrip("/")[:MAX_PATH]) if isinstance(value, str) else ""


def texts(value: object, most: int = MAX_TEXT) -> tuple[str, ...]:
    """Each once, without empty ones."""
    listed = value[: 10 * MAX_TEXTS] if isinstance(value, list) else []
    return tuple(dict.fromkeys(found for each in listed if (found := text(each, most))))[:MAX_TEXTS]


def whole(value: object) -> int:
    """A count or size; 0 for what is none."""
    return min(value, _MAX_WHOLE) if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def fraction(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def moment(value: object) -> datetime | None:
    """An RFC 3339 time, with up to nine digits of a second, as Go writes it. Its zero time is none."""
    try:
        found = datetime.fromisoformat(text(value, 40))
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year > 1 else None
