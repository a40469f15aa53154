"""Whether an envelope holds a statement about an image that somebody we trust has signed. No I/O, and nothing is believed.

DSSE envelopes as cosign attaches them, and Sigstore bundles that hold one. A bundle's certificate and its entry in a
transparency log are not looked at: only keys that the organization trusts count.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from schema.documents.dsse import authenticated
from schema.documents.intoto import PAYLOAD_TYPE
from schema.kernel.errors import bad_request
from schema.kernel.public_keys import KINDS, Described, PublicKey, describe, has_signed
from schema.statements.models import StatementOutcome

MAX_SIGNATURES = 20
MAX_TYPE = 300
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")


@dataclass(frozen=True, slots=True)
class Trusted:
    """A key an organization trusts, by the name it gave it."""

    name: str
    fingerprint: str
    key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`message` says why, for people."""

    outcome: StatementOutcome
    message: str
    predicate_type: str | None = None
    signed_by: Trusted | None = None


class _UnreadableError(Exception):
    """Why it is no signed statement."""


def read_public_key(pem: str) -> Described:
    """BAD_REQUEST for what is no public key we can verify with, also for a private one."""
    try:
        return describe(serialization.load_pem_public_key(pem.encode()))
    except (ValueError, UnsupportedAlgorithm):
        raise bad_request(f"pem: expected a public key in PEM, {KINDS}") from None


def verify(content: bytes, names: Sequence[str], trusted: Sequence[Trusted]) -> Verdict:
    """What the envelope is worth for the image that goes by these digests, its own first."""
    try:
        payload, signatures = _open(content)
        statement = _statement(payload)
    except _UnreadableError as error:
        return Verdict(outcome=StatementOutcome.UNREADABLE, message=str(error))
    type_ = _predicate_type(statement)
    signed = authenticated(PAYLOAD_TYPE, payload)
    signer = next(
        (each for each in trusted for signature in signatures if has_signed(each.key, signed, signature)), None
    )
    if signer is None:
        message = "No key that is trusted has signed it"
        return Verdict(outcome=StatementOutcome.UNTRUSTED, message=message, predicate_type=type_)
    if not any(_is_about(statement, name) for name in names):
        message = f"It is signed, and not about {names[0]}"
        return Verdict(outcome=StatementOutcome.OTHER_IMAGE, message=message, predicate_type=type_, signed_by=signer)
    return Verdict(
        outcome=StatementOutcome.VERIFIED, message=f"Signed by {signer.name}", predicate_type=type_, signed_by=signer
    )


def _open(content: bytes) -> tuple[bytes, list[bytes]]:
    """(payload, signatures)."""
    document = _json(content)
    envelope = document.get("dsseEnvelope", document)
    if not isinstance(envelope, Mapping) or envelope.get("payloadType") != PAYLOAD_TYPE:
        raise _UnreadableError(f"It is no DSSE envelope of {PAYLOAD_TYPE}")
    entries = envelope.get("signatures")
    if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_SIGNATURES:
        raise _UnreadableError(f"It does not have 1-{MAX_SIGNATURES} signatures")
    return _decoded(envelope.get("payload")), [
        _decoded(entry.get("sig") if isinstance(entry, Mapping) else None) for entry in entries
    ]


def _statement(payload: bytes) -> Mapping[str, Any]:
    statement = _json(payload)
    if statement.get("_type") not in _STATEMENTS:
        raise _UnreadableError("It holds no in-toto statement")
    return statement


def _json(content: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, Mapping):
        raise _UnreadableError("It is no JSON object")
    return document


def _decoded(text: object) -> bytes:
    """Base64, standard or URL-safe, as DSSE leaves it open."""
    try:
        return base64.b64decode(text.translate({45: 43, 95: 47}), validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise _UnreadableError("Its payload or a signature is not base64") from None


def _predicate_type(statement: Mapping[str, Any]) -> str | None:
    told = statement.get("predicateType")
    return told[:MAX_TYPE].replace("\x00", "") if isinstance(told, str) else None


def _is_about(statement: Mapping[str, Any], image_digest: str) -> bool:
    algorithm, _, value = image_digest.partition(":")
    subjects = statement.get("subject")
    digests = (
        [each.get("digest") for each in subjects if isinstance(each, Mapping)] if isinstance(subjects, list) else []
    )
    return any(isinstance(digest, Mapping) and digest.get(algorithm) == value for digest in digests)
