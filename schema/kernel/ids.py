"""Opaque identifiers: a prefix that names the kind, then a UUIDv7 in lowercase base32hex.

The base32hex alphabet keeps byte order, so ids of one kind sort by the time they were made and double as the
unique tie-breaker of every index.
"""

from __future__ import annotations

import os
import time
from enum import StrEnum


class IdPrefix(StrEnum):
    """The kinds of the public contract, then our own. Append-only: ids outlive the process."""

    SCAN = "scn"
    TAG = "tag"
    IMAGE = "img"
    REGISTRY = "reg"
    VULNERABILITY = "vuln"
    USER = "usr"
    ORGANIZATION = "org"
    API_KEY = "key"
    PERSONAL_ACCESS_TOKEN = "pat"  # noqa: S105 -- a prefix, not a secret
    AUDIT_EVENT = "ae"
    SENSOR = "sen"
    DIGEST = "dig"
    ENGINE_RUN = "run"
    FINDING = "fnd"
    PACKAGE = "pkg"
    LAYER = "lay"
    MISCONFIGURATION = "mis"
    SECRET = "sec"  # noqa: S105 -- a prefix, not a secret
    JOB = "job"
    SESSION = "ses"
    UPLOAD = "upl"
    OUTBOX = "out"
    ADVISORY_IMPORT = "imp"
    MEMBERSHIP = "mem"
    SYNC = "syn"
    TAG_DIGEST = "tdg"
    MANIFEST = "mft"
    SCAN_BATCH = "bat"
    REGISTRY_EVENT = "evt"
    ATTESTATION = "att"
    ALERT = "alr"
    EVENT = "eve"
    TRIAGE_EVENT = "tev"
    TRIAGE_OPERATION = "trg"
    TRIAGE_RULE = "rul"
    SAVED_FILTER = "flt"
    TRUSTED_KEY = "tky"


_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [high + low for high in _DIGITS for low in _DIGITS]


def uuid7_bytes() -> bytes:
    """RFC 9562 version 7: 48 bits of Unix milliseconds, then random bits."""
    milliseconds = time.time_ns() // 1_000_000
    raw = bytearray(milliseconds.to_bytes(6, "big") + os.urandom(10))
    raw[6] = (raw[6] & 0x0F) | 0x70
    raw[8] = (raw[8] & 0x3F) | 0x80
    return bytes(raw)


def new_id(prefix: IdPrefix) -> str:
    """`new_id(IdPrefix.SCAN)` -> "scn-06e1…" (prefix, dash, 26 characters)."""
    number = int.from_bytes(uuid7_bytes(), "big") << 2  # 130 bits: 26 digits of five, read two at a time
    return f"{prefix}-{''.join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])}"
