"""Everything a scan holds, as plain JSON: our own names, written as the API writes them."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from schema.documents.contents import ScanContents
from schema.documents.identity import write_json
from schema.documents.product import PRODUCT, VERSION
from schema.kernel.clock import iso_utc

MEDIA_TYPE = "application/json"

FORMAT = 1  # append-only: fields are added, never renamed; a change of meaning is another number


def render(contents: ScanContents) -> bytes:
    return write_json({"format": FORMAT, "generator": {"name": PRODUCT, "version": VERSION}, "scan": _plain(contents)})


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return iso_utc(value)
    return value.value if isinstance(value, Enum) else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
