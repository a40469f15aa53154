"""HarborGuard's REST API as a pipeline calls it: over the network or in this process, and patient with what passes.

What passes is asked again until the caller gives up: no connection, a gateway's 502, 503 and 504, and 429. What may pass is
asked again a few times: a fault of the server, and an answer that is not HarborGuard's. A refusal is final.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx
import orjson
from pydantic import BaseModel, ValidationError

from schema.kernel.errors import bad_request

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
MAX_ODD_ANSWERS = 6  # in a row: with the pauses between them about half a minute
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
IDLE_SECONDS = 30.0  # without a byte
ANSWER_SECONDS = 120.0  # for a whole answer: one that comes byte by byte is no answer
MAX_ANSWER_BYTES = 256 * 1024**2
CHUNK_BYTES = 1024**2


class ApiError(Exception):
    """The server refused, or is none of ours. Its message is for the person who reads the pipeline's log."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class _Passing(Exception):  # noqa: N818 -- no error: a reason to ask again
    """Nothing came of this attempt. `odd` attempts are counted; `pause` is what the server asked for, in seconds."""

    def __init__(self, reason: str, *, pause: float | None = None, odd: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.odd = odd


class Api:
    """One server. Every call raises ApiError when it is refused, and lasts until it is answered: bound it by a time-out.

    `tell` is called once for each run of failures, with what is wrong.
    """

    def __init__(self, http: httpx.AsyncClient, *, tell: Callable[[str], None]) -> None:
        self._http = http
        self._tell = tell

    async def get(self, kind: type[M], path: str, **parameters: str | int) -> M:
        return await self._ask("GET", path, params=parameters, read=_reader(kind))

    async def post(self, kind: type[M], path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> M:
        """It may be sent more than once; without a key the operation is one that does not mind."""
        return await self._ask("POST", path, json=body, headers=_once(idempotency_key), read=_reader(kind))

    async def upload(
        self, kind: type[M], path: str, archive: Path, *, idempotency_key: str | None = None, **parameters: str
    ) -> M:
        headers = {
            **_once(idempotency_key),
            "Content-Type": "application/octet-stream",
            "Content-Length": str((await asyncio.to_thread(archive.stat)).st_size),
        }
        # As long as bytes flow, sending takes what it takes.
        return await self._ask(
            "POST", path, params=parameters, headers=headers, file=archive, bounded=False, read=_reader(kind)
        )

    async def download(self, path: str, **parameters: str) -> bytes:
        return await self._ask("GET", path, params=parameters, read=bytes)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        read: Callable[[bytes], T],
        file: Path | None = None,
        bounded: bool = True,
        **request: Any,
    ) -> T:
        """What `read` makes of a good answer, however often it has to be asked for."""
        failures = odd = 0
        while True:
            try:
                content = None if file is None else _chunks(file)
                async with asyncio.timeout(ANSWER_SECONDS if bounded else None):
                    return read(await self._attempt(method, path, content=content, **request))
            except (_Passing, TimeoutError, httpx.TransportError) as error:
                passing = _passing(error)
            failures, odd = failures + 1, odd + 1 if passing.odd else 0
            if odd >= MAX_ODD_ANSWERS:
                raise ApiError(f"{self._http.base_url}: {passing}")
            if failures == 1:
                self._tell(f"{self._http.base_url}: {passing}; trying again")
            await asyncio.sleep(_pause(failures) if passing.pause is None else passing.pause)

    async def _attempt(self, method: str, path: str, **request: Any) -> bytes:
        async with self._http.stream(method, path, **request) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise ApiError(f"{self._http.base_url}: the answer is larger than {MAX_ANSWER_BYTES} bytes")
        if response.is_success:
            return bytes(body)
        message = _message_of(bytes(body))
        if response.status_code in PASSING:
            raise _Passing(message or _phrase(response.status_code), pause=_retry_after(response))
        if message is None or response.is_server_error:
            raise _Passing(message or f"{_phrase(response.status_code)}, which is no answer of HarborGuard", odd=True)
        raise ApiError(message, status=response.status_code)


@asynccontextmanager
async def connect(url: str, key: str, *, tell: Callable[[str], None]) -> AsyncIterator[Api]:
    """The API of the server at `url`, by its key. BAD_REQUEST for what cannot be a server's address or a key.

    Redirects are not followed: a key is for the server it was given for.
    """
    address = _address(url)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise bad_request("An API key looks like hg_ak_ and 48 hex digits; this is none")
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "User-Agent": "harborguard"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=IDLE_SECONDS) as http:
        yield Api(http, tell=tell)


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise bad_request(f"{url!r} is no address of a server: {error}") from None
    if address.scheme not in {"http", "https"} or not address.host:
        raise bad_request(f"{url!r} is no address of a server; one looks like https://harborguard.example")
    if address.userinfo:
        raise bad_request("The address of the server holds a password; give the API key as HARBORGUARD_API_KEY")
    return address


async def _chunks(file: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(file.open, "rb") as archive:
        while chunk := await asyncio.to_thread(archive.read, CHUNK_BYTES):
            yield chunk


def _once(idempotency_key: str | None) -> dict[str, str]:
    return {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}


def _passing(error: Exception) -> _Passing:
    """What went wrong, for people. Raises ApiError for what will not pass: a certificate nobody vouches for."""
    if isinstance(error, _Passing):
        return error
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return _Passing("no answer in time")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise ApiError(f"{error}. For a private authority set SSL_CERT_FILE") from error
        cause = cause.__cause__ or cause.__context__
    return _Passing(f"no connection ({error or type(error).__name__})")


def _pause(failures: int) -> float:
    """Twice as long each time, and never the same for all who wait for one server."""
    longest: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 10))
    return longest * random.uniform(0.5, 1)  # noqa: S311 -- nothing secret


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, from either form of RFC 9110 section 10.2.3; None where the header is absent or makes no sense."""
    value = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _reader(kind: type[M]) -> Callable[[bytes], M]:
    def read(body: bytes) -> M:
        try:
            return kind.model_validate_json(body)
        except ValidationError:
            raise _Passing("this is no answer of HarborGuard", odd=True) from None

    return read


def _message_of(body: bytes) -> str | None:
    """The message of HarborGuard's error envelope, with its code; None if it is none."""
    try:
        error = orjson.loads(body)["error"]
        return f"{error['message']} ({error['code']})"
    except (ValueError, TypeError, KeyError):
        return None


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
