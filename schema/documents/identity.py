"""Names that are made of contents, never of a clock or of chance: the same thing is called the same in every document.

Append-only: pipelines and code hosts compare what they kept with what comes next.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import orjson

# Of our own, made once; every document's id is within it.
_NAMESPACE = uuid.UUID("0e8f4c1c-6d0b-5b0a-9f0e-5c2f2b7a9d31")
_READABLE = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE


def fingerprint(*parts: str) -> str:
    """64 hex digits that stand for these texts in this order."""
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def content_uuid(body: Any) -> uuid.UUID:
    """A UUID (version 5) of what a document says: as JSON, whatever the order of its keys."""
    digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return uuid.uuid5(_NAMESPACE, digest)


def write_json(body: Any) -> bytes:
    """Sorted keys, two spaces, a line end: the same bytes for the same value, and a diff that can be read."""
    return orjson.dumps(body, option=_READABLE)
