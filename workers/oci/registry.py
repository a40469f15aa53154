"""Pulling from registries: the pull side of the OCI distribution specification 1.1 and of Docker's registry API V2.

Nothing a registry says is believed: a manifest is checked against the digest it was asked by, a blob against digest and
size. A registry may be slow, busy or cut connections: what failed is asked again, after growing pauses, until the
attempts or the time of the whole pull are used up. Only the registry's own answers can ask for credentials; one that
came from elsewhere, after a redirect, cannot.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import orjson

from schema.images.reference import DEFAULT_REGISTRY, DEFAULT_TAG, ImageReference
from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingHttp, OutgoingResponse
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.authorization import may_receive_credentials, parse_challenges, token_url
from workers.oci.layout import BlobWriter, Image, Layout
from workers.oci.limits import ImageLimits, exceeded
from workers.oci.manifests import (
    DIGEST_PATTERN,
    INDEXES,
    MANIFESTS,
    Descriptor,
    Manifest,
    choose_manifest,
    invalid_image,
    mismatch,
)

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Told the bytes of config and layers that have arrived, and how many there are in all."""
OnDigest = Callable[[str], Awaitable[None]]

_API_HOSTS = {DEFAULT_REGISTRY: "registry-1.docker.io"}  # names that people use -> hosts that answer
_ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_BLOBS_AT_ONCE = 3
_WRITTEN_AT_ONCE = 1 << 20  # bytes held of one blob before they go to disk
_TOKEN_BYTES = 1 << 20
_SECONDS = re.compile(r"[0-9]{1,9}")
_RETRIED = frozenset({OutgoingErrorKind.UNREACHABLE, OutgoingErrorKind.TIMEOUT, OutgoingErrorKind.PROTOCOL})
_CODES = {
    OutgoingErrorKind.BLOCKED: FailureCode.ADDRESS_BLOCKED,
    OutgoingErrorKind.UNREACHABLE: FailureCode.REGISTRY_UNREACHABLE,
    OutgoingErrorKind.UNTRUSTED: FailureCode.REGISTRY_UNREACHABLE,
    OutgoingErrorKind.TIMEOUT: FailureCode.REGISTRY_UNREACHABLE,
    OutgoingErrorKind.TOO_LARGE: FailureCode.REGISTRY_PROTOCOL,
    OutgoingErrorKind.TOO_MANY_REDIRECTS: FailureCode.REGISTRY_PROTOCOL,
    OutgoingErrorKind.PROTOCOL: FailureCode.REGISTRY_PROTOCOL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryCredentials:
    """A user name and a password or access token."""

    username: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a registry is waited for, in seconds, and how often it is asked."""

    total_seconds: float = 1500.0  # a whole pull
    answer_seconds: float = 30.0  # a manifest or a token, body included
    attempts: int = 5
    first_pause_seconds: float = 0.5  # doubled each time
    longest_pause_seconds: float = 30.0  # also when the registry asks for more

    def pause_seconds(self, attempt: int, retry_after: str) -> float:
        """How long to wait after the given attempt (1 is the first), heeding a Retry-After header of seconds.

        The header may also be a date, which no registry is known to send.
        """
        asked = int(retry_after) if _SECONDS.fullmatch(retry_after) else 0
        return min(max(self.first_pause_seconds * (1 << attempt - 1), asked), self.longest_pause_seconds)


PATIENCE = Patience()


class _BusyError(Exception):
    """An answer that may be another one later: 429 or 5xx."""

    def __init__(self, failure: ScanFailure, retry_after: str) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.retry_after = retry_after


async def pull(
    reference: ImageReference,
    destination: Path,
    *,
    platform: str | None,
    credentials: RegistryCredentials | None,
    http: OutgoingHttp,
    limits: ImageLimits,
    insecure: bool = False,
    patience: Patience = PATIENCE,
    progress: Progress | None = None,
    on_digest: OnDigest | None = None,
) -> Image:
    """Fetches one image into a new layout; `insecure` is plain http. Without tag and digest the tag is "latest".

    `on_digest` is told the image's digest before any of its blobs is fetched. Raises ScanFailure, and what `on_digest`
    raises. Cancelling it leaves no thread behind that still writes to the destination.
    """
    source = _Source(reference, credentials=credentials, http=http, insecure=insecure, patience=patience)
    async with source.deadline():
        layout = Layout.create(destination, limits)
        manifest = await source.choose(platform, limits)
        if on_digest is not None:
            await on_digest(manifest.digest)
        await source.fetch_blobs(manifest, layout, progress or (lambda _arrived, _total: None))
        return layout.write_manifest(manifest, platform=platform)


async def resolve_digest(
    reference: ImageReference,
    *,
    credentials: RegistryCredentials | None,
    http: OutgoingHttp,
    limits: ImageLimits,
    insecure: bool = False,
    patience: Patience = PATIENCE,
) -> str:
    """The digest a tag points to now (that of the index, where there is one), to see whether it has moved.

    It is the registry's word, good for deciding to pull, and no more than that. Raises ScanFailure.
    """
    source = _Source(reference, credentials=credentials, http=http, insecure=insecure, patience=patience)
    async with source.deadline():
        return await source.resolve(limits)


class _Source:
    """One repository of one registry, for the time of one pull."""

    def __init__(
        self,
        reference: ImageReference,
        *,
        credentials: RegistryCredentials | None,
        http: OutgoingHttp,
        insecure: bool,
        patience: Patience,
    ) -> None:
        self._reference = reference
        self._credentials = credentials
        self._http = http
        self._insecure = insecure
        self._patience = patience
        host = _API_HOSTS.get(reference.registry, reference.registry)
        self._registry = f"{'http' if insecure else 'https'}://{host}"
        self._authorization: str | None = None
        self._authorizing = asyncio.Lock()
        self._withheld_from: str | None = None  # the host of a token service that is not trusted with credentials

    # What a pull consists of

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        seconds = self._patience.total_seconds
        try:
            async with asyncio.timeout(seconds) as deadline:
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            message = f"{self._reference.registry} took longer than {seconds:g} seconds to send {self._reference}"
            raise ScanFailure(FailureCode.REGISTRY_UNREACHABLE, message) from None

    async def choose(self, platform: str | None, limits: ImageLimits) -> Manifest:
        """The manifest for the platform, through indexes if need be."""
        wanted = self._reference.digest
        raw = await self._document(wanted or self._reference.tag or DEFAULT_TAG, limits)
        if wanted is not None and _digest(raw, wanted) != wanted:
            raise mismatch(wanted)
        search = choose_manifest(raw, platform=platform, limits=limits)
        try:
            descriptor = next(search)
            while True:
                descriptor = search.send(await self._document(descriptor.digest, limits))
        except StopIteration as found:
            manifest: Manifest = found.value
            return manifest

    async def fetch_blobs(self, manifest: Manifest, layout: Layout, progress: Progress) -> None:
        """Config and layers, each once, a few at a time."""
        blobs = {descriptor.digest: descriptor for descriptor in (manifest.config, *manifest.layers)}
        total = sum(descriptor.size for descriptor in blobs.values())
        arrived = dict.fromkeys(blobs, 0)
        places = asyncio.Semaphore(_BLOBS_AT_ONCE)

        def report(digest: str, count: int) -> None:
            arrived[digest] = count
            progress(sum(arrived.values()), total)

        async def fetch(descriptor: Descriptor) -> None:
            async with places:
                await self._persistently(lambda: self._blob(descriptor, layout, report))

        try:
            async with asyncio.TaskGroup() as tasks:
                for descriptor in blobs.values():
                    tasks.create_task(fetch(descriptor))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def resolve(self, limits: ImageLimits) -> str:
        if self._reference.digest is not None:
            return self._reference.digest
        tag = self._reference.tag or DEFAULT_TAG
        told = await self._persistently(lambda: self._told_digest(tag))
        return told or _digest(await self._document(tag, limits))

    # Single questions

    async def _told_digest(self, tag: str) -> str | None:
        """What the registry says the tag's digest is; None when it does not say."""
        async with self._ask(
            "HEAD", f"manifests/{tag}", accept=_ACCEPT, max_bytes=0, seconds=self._patience.answer_seconds
        ) as response:
            if response.status in {400, 405, 501}:
                return None  # HEAD is not known there
            self._check(response)
            told = response.headers.get("docker-content-digest", "")
            return told if DIGEST_PATTERN.fullmatch(told) else None

    async def _document(self, name: str, limits: ImageLimits) -> bytes:
        """The bytes of a manifest or index, by tag or digest."""

        async def ask() -> bytes:
            async with self._ask(
                "GET",
                f"manifests/{name}",
                accept=_ACCEPT,
                max_bytes=limits.manifest_bytes,
                seconds=self._patience.answer_seconds,
            ) as response:
                self._check(response)
                if response.headers.get("content-type", "").lower().startswith("text/html"):
                    raise self._failure(FailureCode.REGISTRY_PROTOCOL, "answers with a web page, not as a registry")
                try:
                    return await response.read()
                except OutgoingError as error:
                    if error.kind is not OutgoingErrorKind.TOO_LARGE:
                        raise
                    raise exceeded("A manifest is larger", limits.manifest_bytes, "bytes") from None

        return await self._persistently(ask)

    async def _blob(self, descriptor: Descriptor, layout: Layout, report: Callable[[str, int], None]) -> None:
        """Streams a blob to disk. A blob that is cut off is asked for again from its beginning."""
        async with self._ask(
            "GET",
            f"blobs/{descriptor.digest}",
            max_bytes=descriptor.size,
            seconds=self._patience.total_seconds,  # the client ends silence; how long a layer may take nobody knows
        ) as response:
            if response.status == httpx.codes.NOT_FOUND:
                raise invalid_image(f"{self._reference.registry} has lost a part of it, {descriptor.digest}")
            self._check(response)
            try:
                with layout.new_blob(descriptor.digest, size=descriptor.size) as blob:
                    async for count in _written(response.chunks, blob):
                        report(descriptor.digest, count)
            except OutgoingError as error:
                if error.kind is not OutgoingErrorKind.TOO_LARGE:
                    raise
                raise mismatch(descriptor.digest) from None

    def _check(self, response: OutgoingResponse) -> None:
        """Raises for every status but 200."""
        status = response.status
        if status == httpx.codes.OK:
            return
        if status == httpx.codes.NOT_FOUND:
            message = f"Image {self._reference} was not found in the registry"
            raise ScanFailure(FailureCode.IMAGE_NOT_FOUND, message)
        if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            raise self._refused()
        retry_after = response.headers.get("retry-after", "")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            problem = (
                "limits how often images may be pulled; try again later, or with credentials of a larger allowance"
            )
            raise _BusyError(self._failure(FailureCode.REGISTRY_UNREACHABLE, problem), retry_after)
        failure = self._failure(FailureCode.REGISTRY_PROTOCOL, f"answered with status {status}")
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            failure = self._failure(FailureCode.REGISTRY_UNREACHABLE, f"answered with status {status}, repeatedly")
            raise _BusyError(failure, retry_after)
        raise failure

    async def _persistently(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation's result, or the failure of its last attempt."""
        for attempt in range(1, self._patience.attempts + 1):
            retry_after = ""
            try:
                return await operation()
            except _BusyError as busy:
                failure, retry_after = busy.failure, busy.retry_after
            except OutgoingError as error:
                failure = ScanFailure(_CODES[error.kind], f"Image {self._reference} was not fetched: {error.message}")
                if error.kind not in _RETRIED:
                    raise failure from None
            if attempt < self._patience.attempts:
                await asyncio.sleep(self._patience.pause_seconds(attempt, retry_after))
        raise failure

    # Authorisation

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, *, max_bytes: int, seconds: float, accept: str = "*/*"
    ) -> AsyncIterator[OutgoingResponse]:
        """One request; when the registry wants to know who asks, it is told and asked again."""
        url = f"{self._registry}/v2/{self._reference.repository}/{path}"
        for is_last in (False, True):
            used = self._authorization
            async with self._http.stream(
                method,
                url,
                headers={"accept": accept} | ({"authorization": used} if used else {}),
                max_bytes=max_bytes,
                timeout_seconds=seconds,
                allow_http=self._insecure,
            ) as response:
                if response.status != httpx.codes.UNAUTHORIZED or is_last or not self._is_own(response):
                    yield response
                    return
                challenge = response.headers.get("www-authenticate", "")
            async with self._authorizing:
                if self._authorization == used:  # nobody else has done it meanwhile
                    self._authorization = await self._authorize(challenge)

    def _is_own(self, response: OutgoingResponse) -> bool:
        return httpx.URL(response.url).copy_with(raw_path=b"/") == httpx.URL(f"{self._registry}/")

    async def _authorize(self, header: str) -> str:
        """The Authorization that answers a challenge. A token expires, so this can be asked again."""
        challenges = {challenge.scheme: challenge for challenge in parse_challenges(header)}
        if bearer := challenges.get("bearer"):
            url = token_url(bearer, self._reference.repository)
            if url is None:
                raise self._failure(FailureCode.REGISTRY_PROTOCOL, "names no address at which to ask for a token")
            return f"Bearer {await self._token(url)}"
        if "basic" in challenges and self._credentials and self._authorization is None:
            return self._credentials.basic
        raise self._refused()

    async def _token(self, url: str) -> str:
        headers = {"accept": "application/json"}
        if self._credentials is not None:
            if may_receive_credentials(url, self._registry):
                headers["authorization"] = self._credentials.basic
            else:
                self._withheld_from = httpx.URL(url).host  # it may still have a token for everyone
        async with self._http.stream(
            "GET",
            url,
            headers=headers,
            max_bytes=_TOKEN_BYTES,
            timeout_seconds=self._patience.answer_seconds,
            allow_http=self._insecure,
        ) as response:
            if response.status == httpx.codes.NOT_FOUND:
                raise self._failure(FailureCode.REGISTRY_PROTOCOL, "names a token service that is not there")
            self._check(response)
            token = _read_token(await response.read())
        if token is None:
            raise self._failure(FailureCode.REGISTRY_PROTOCOL, "sent a token that cannot be read")
        return token

    def _refused(self) -> ScanFailure:
        """A 401 or 403. Many registries give the same answer for what does not exist, so that nobody can probe them."""
        if self._credentials is None:
            reason = "the image is private and needs credentials, or there is no such image"
        elif self._withheld_from is not None:
            reason = (
                f"it asks for credentials at {self._withheld_from}, which is not known to belong to it, "
                "so they were not sent there"
            )
        else:
            reason = "the credentials are wrong or do not allow it, or there is no such image"
        problem = f"did not give out {self._reference}: {reason}"
        return self._failure(FailureCode.REGISTRY_UNAUTHORIZED, problem)

    def _failure(self, code: FailureCode, problem: str) -> ScanFailure:
        return ScanFailure(code, f"The registry {self._reference.registry} {problem}")


async def _written(chunks: AsyncIterator[bytes], blob: BlobWriter) -> AsyncIterator[int]:
    """Writes what arrives, off the event loop, and yields the bytes written so far."""
    held: list[bytes] = []
    size = 0
    async for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size >= _WRITTEN_AT_ONCE:
            await _to_its_end(blob.write, b"".join(held))
            held, size = [], 0
            yield blob.written
    await _to_its_end(blob.write, b"".join(held))
    yield blob.written


async def _to_its_end(write: Callable[[bytes], None], data: bytes) -> None:
    """Writes in a thread and waits for it even when cancelled: a file must not be closed under its writer."""
    writing = asyncio.ensure_future(asyncio.to_thread(write, data))
    try:
        await asyncio.shield(writing)
    except asyncio.CancelledError:
        await asyncio.gather(writing, return_exceptions=True)
        raise


def _digest(data: bytes, like: str = "sha256:") -> str:
    """The digest of the bytes, by the algorithm of another digest."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def _read_token(body: bytes) -> str | None:
    """`token`, or `access_token` as OAuth calls it; None unless it can stand in a header."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    token = (answer.get("token") or answer.get("access_token")) if isinstance(answer, dict) else None
    return token if isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token else None
