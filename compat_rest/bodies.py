"""Request bodies: a bounded JSON object, or a stream that is passed on as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

from schema.kernel.errors import ErrorCode, HarborGuardError, bad_request

MAX_JSON_BYTES = 512 * 1024  # ten thousand ids, the most a body may name, and room
MAX_MESSAGE_BYTES = 4 * 1024**2  # of a sensor: the catalogue of a registry is long
JSON = frozenset({"application/json"})
ARCHIVES = frozenset(
    {
        "application/octet-stream",
        "application/x-tar",
        "application/tar",
        "application/gzip",
        "application/x-gzip",
        "application/zstd",
        "application/vnd.docker.image.rootfs.diff.tar",
    }
)
EVENTS = frozenset(
    {
        "application/json",
        "application/cloudevents+json",
        "application/vnd.docker.distribution.events.v1+json",
        "application/vnd.docker.distribution.events.v2+json",
    }
)
REPORTS = frozenset(
    {
        "application/json",
        "application/octet-stream",
        "application/sarif+json",
        "application/spdx+json",
        "application/vnd.cyclonedx+json",
    }
)


async def read_json_object(request: Request, *, max_bytes: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """The body as a JSON object. Nothing is parsed that is of another type or larger than allowed.

    Raises UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE or BAD_REQUEST.
    """
    body = await _read(request, max_bytes)
    if not body.strip():
        raise bad_request("The body is missing; send a JSON object")
    require_media_type(request, JSON)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The body is not valid JSON: {error.msg} at line {error.lineno}") from None
    if not isinstance(value, dict):
        raise bad_request("The body must be a JSON object")
    return value


async def _read(request: Request, max_bytes: int) -> bytes:
    refuse_declared_length(request, max_bytes)
    parts, size = [], 0
    async for chunk in read_chunks(request):
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(chunk)
    return b"".join(parts)


async def read_chunks(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises BAD_REQUEST when the client goes away before its end."""
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise bad_request("The connection ended before the body did") from None


def refuse_declared_length(request: Request, max_bytes: int) -> None:
    """Raises PAYLOAD_TOO_LARGE for a Content-Length over the limit, before a byte is read."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)


def require_media_type(request: Request, allowed: Collection[str]) -> None:
    """Raises UNSUPPORTED_MEDIA_TYPE unless the body is declared as one of the types, sent as it is."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in allowed:
        wanted = ", ".join(sorted(allowed))
        raise HarborGuardError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type must be one of: {wanted}")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HarborGuardError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding")


def _too_large(max_bytes: int) -> HarborGuardError:
    return HarborGuardError(ErrorCode.PAYLOAD_TOO_LARGE, f"The body is larger than {max_bytes} bytes")
