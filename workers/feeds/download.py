"""Fetching a feed's file: in parts that survive a killed process, and only when it has changed (RFC 9110, 13 and 14).

What arrives is written to `NAME.part` beside a note of what it is a part of. A later attempt asks for the rest, and takes it
only when the answer is of the same version: an ETag or date, and the place in the file, must agree, whatever the server
made of our conditions. A whole file stays until its caller has no more use for it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

import orjson

from schema.kernel.errors import bad_request
from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingHttp, OutgoingResponse

MAX_BYTES = 8 << 30
ANSWER_SECONDS = 3600.0  # of one answer
ATTEMPTS = 5  # in a row that bring nothing
WAIT_SECONDS = 0.5  # before the next attempt; twice as long after each that brings nothing
_RETRIED = frozenset({OutgoingErrorKind.PROTOCOL, OutgoingErrorKind.TIMEOUT, OutgoingErrorKind.UNREACHABLE})
_BUSY = frozenset({429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18})")
_SHA_256 = re.compile(r"sha-256=:([A-Za-z0-9+/=]{44}):")
_GOOGLE_MD5 = re.compile(r"(?:^|[ ,])md5=([A-Za-z0-9+/]{22}==)")
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one version of a file from another. `checksum` is published by some: an algorithm and base64."""

    url: str
    etag: str = ""
    modified: str = ""
    length: int | None = None
    checksum: tuple[str, str] | None = None

    @classmethod
    def of(cls, url: str, headers: Mapping[str, str], length: int | None) -> Version:
        return cls(url, headers.get("etag", ""), headers.get("last-modified", ""), length, _checksum(headers))

    @property
    def mark(self) -> str:
        """What proves that bytes are of the same version, "" if nothing does: a weak ETag does not (RFC 9110, 8.8.3)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def continues(self, other: Version) -> bool:
        """Whether bytes of this version go on from bytes of the other."""
        same_length = other.length in (None, self.length)
        return bool(self.mark) and self.url == other.url and self.mark == other.mark and same_length

    @property
    def date(self) -> datetime | None:
        try:
            found = parsedate_to_datetime(self.modified)
        except ValueError:
            return None
        return found if found.tzinfo else None

    def conditions(self) -> dict[str, str]:
        """Headers that ask for the file only if it's another version."""
        named = {"if-none-match": self.etag, "if-modified-since": self.modified if not self.etag else ""}
        return {name: value for name, value in named.items() if value}


def _checksum(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """Of RFC 9530, of RFC 1864, and of Google's storage. Only of the whole file, so not of a part's answer."""
    if match := _SHA_256.search(headers.get("repr-digest", "")):
        return ("sha256", match[1])
    if match := _GOOGLE_MD5.search(headers.get("x-goog-hash", "")):
        return ("md5", match[1])
    return ("md5", found.strip()) if (found := headers.get("content-md5", "")) else None


@dataclass(frozen=True, slots=True)
class Downloaded:
    path: Path
    version: Version


async def download(
    http: OutgoingHttp, url: str, target: Path, *, known: Version | None = None, max_bytes: int = MAX_BYTES
) -> Downloaded | None:
    """The file at `target`, None when the server still has the version `known`.

    Goes on where an earlier attempt was cut off, and gives up after ATTEMPTS that bring nothing. A file that is whole but
    was not used yet is taken as it is while the server still has that version. Raises OutgoingError, or HarborGuardError
    for an answer that is no file or not the file it says it is.
    """
    part = _Part(target)
    failures = 0
    while True:
        before = part.size()
        try:
            found = await _attempt(http, url, part, known=known, max_bytes=max_bytes)
        except OutgoingError as error:
            failures = failures + 1 if part.size() <= before else 0
            if error.kind not in _RETRIED or failures >= ATTEMPTS:
                raise
        except _TryAgainError as error:
            failures += 1
            if failures >= ATTEMPTS:
                raise bad_request(str(error)) from None
        else:
            return found
        await asyncio.sleep(WAIT_SECONDS * 2**failures)


class _TryAgainError(Exception):
    """What came cannot be used, and the next attempt may bring better."""


async def _attempt(
    http: OutgoingHttp, url: str, part: _Part, *, known: Version | None, max_bytes: int
) -> Downloaded | None:
    held = part.version()
    if held is not None and held.url != url:
        part.forget()
        held = None
    offset = part.size()
    headers: dict[str, str] = {}
    if held is not None and part.target.exists():
        headers = held.conditions()
    elif held is not None and offset and held.mark:
        if held.length == offset:
            return await _finish(part, held)
        headers = {"range": f"bytes={offset}-", "if-range": held.mark}
    elif known is not None and known.url == url:
        headers = known.conditions()
    async with http.stream(
        "GET",
        url,
        max_bytes=max_bytes,
        timeout_seconds=ANSWER_SECONDS,
        headers=headers,
        allow_http=url.startswith("http://"),  # only an operator can name such an address
    ) as answer:
        if answer.status == HTTPStatus.NOT_MODIFIED:
            return Downloaded(part.target, held) if held is not None and part.target.exists() else None
        if answer.status == HTTPStatus.PARTIAL_CONTENT:
            await _append(answer, part, held, offset, max_bytes=max_bytes)
        elif answer.status == HTTPStatus.OK:
            length = answer.headers.get("content-length", "")
            version = Version.of(url, answer.headers, int(length) if length.isdecimal() else None)
            part.begin(version)
            await part.write(answer.chunks, at=0)
        elif answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.forget()
            raise _TryAgainError(f"{_host(url)} has no such part of the file")
        elif answer.status in _BUSY:
            raise _TryAgainError(f"{_host(url)} answered {answer.status}")
        else:
            raise bad_request(f"{_host(url)} answered {answer.status}")
    noted = part.version()
    if noted is None:
        raise _TryAgainError("the note of the download has vanished")
    return await _finish(part, noted)


async def _append(answer: OutgoingResponse, part: _Part, held: Version | None, offset: int, *, max_bytes: int) -> None:
    """Only what continues the part we have: a server may have changed the file, or send another piece than we asked for."""
    match = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    start, total = (int(match[1]), int(match[3])) if match and match[1] else (-1, 0)
    if held is None or start != offset or not Version.of(held.url, answer.headers, total).continues(held):
        part.forget()
        raise _TryAgainError("the file changed while it was downloaded")
    if total > max_bytes:
        raise OutgoingError(OutgoingErrorKind.TOO_LARGE, f"the file is larger than {max_bytes} bytes")
    if held.length is None:
        part.note(Version(held.url, held.etag, held.modified, total, held.checksum))
    await part.write(answer.chunks, at=offset)


async def _finish(part: _Part, version: Version) -> Downloaded:
    size = part.size()
    if version.length is not None and size < version.length:
        raise _TryAgainError(f"{_host(version.url)} ended the file after {size} of {version.length} bytes")
    if version.length is not None and size > version.length:
        part.forget()
        raise _TryAgainError(f"{_host(version.url)} sent more than the file's {version.length} bytes")
    if version.checksum is not None:
        algorithm, expected = version.checksum
        if await asyncio.to_thread(part.digest, algorithm) != _decoded(expected):
            part.forget()
            raise _TryAgainError(f"what {_host(version.url)} sent does not have the checksum it publishes")
    await asyncio.to_thread(part.keep)
    return Downloaded(part.target, version)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


class _Part:
    """A file on its way: the part there is, the note of its version, and the whole."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self._path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.version")

    def size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def version(self) -> Version | None:
        """None when there is no note, or one nobody can read: then there is nothing to go on from."""
        try:
            noted = orjson.loads(self._note.read_bytes())
            checksum = tuple(noted.pop("checksum") or ())
            return Version(**noted, checksum=checksum or None)
        except (OSError, ValueError, TypeError, AttributeError, KeyError):
            return None

    def note(self, version: Version) -> None:
        fresh = self._note.with_name(f"{self._note.name}.new")
        fresh.write_bytes(orjson.dumps(asdict(version)))
        fresh.replace(self._note)

    def begin(self, version: Version) -> None:
        """The part of another version goes first, so that the note never speaks of bytes that are not its own."""
        self.forget()
        self.note(version)

    async def write(self, chunks: AsyncIterator[bytes], *, at: int) -> None:
        with self._path.open("r+b" if at else "wb") as file:
            file.seek(at)
            file.truncate()
            async for chunk in chunks:
                file.write(chunk)

    def digest(self, algorithm: str) -> bytes:
        counted = hashlib.new(algorithm, usedforsecurity=False)
        with self._path.open("rb") as file:
            while block := file.read(_BLOCK):
                counted.update(block)
        return counted.digest()

    def keep(self) -> None:
        """The part is the whole: on disk before it bears the name."""
        with self._path.open("r+b") as file:
            os.fsync(file.fileno())
        self._path.replace(self.target)

    def forget(self) -> None:
        for path in (self._path, self.target, self._note):
            path.unlink(missing_ok=True)
