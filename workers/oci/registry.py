"""Pulling from registries: the pull side of the OCI distribution specification 1.1 and of Docker's registry API V2.

Nothing a registry says is believed: a manifest is checked against the digest it was asked by, a blob against digest and
size. How it is asked is in `workers.oci.client`; here the time of the whole pull is bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from schema.images.reference import DEFAULT_TAG, ImageReference
from schema.kernel.ports import OutgoingError, OutgoingErrorKind, OutgoingHttp
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.client import PATIENCE, Patience, RegistryClient, RegistryCredentials, Subject
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

Progress = Callable[[int, int], None]
"""Told the bytes of config and layers that have arrived, and how many there are in all."""
OnDigest = Callable[[str], Awaitable[None]]

ACCEPT = ", ".join((*INDEXES, *MANIFESTS))
_BLOBS_AT_ONCE = 3
_WRITTEN_AT_ONCE = 1 << 20  # bytes held of one blob before they go to disk


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
        self._subject = Subject(noun="image", name=str(reference))
        self._client = RegistryClient(
            reference.registry, credentials=credentials, http=http, insecure=insecure, patience=patience
        )

    # What a pull consists of

    @asynccontextmanager
    async def deadline(self) -> AsyncIterator[None]:
        seconds = self._client.patience.total_seconds
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
        if wanted is not None and digest_of(raw, wanted) != wanted:
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
                await self._client.persistently(lambda: self._blob(descriptor, layout, report), self._subject)

        try:
            async with asyncio.TaskGroup() as tasks:
                for descriptor in blobs.values():
                    tasks.create_task(fetch(descriptor))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def resolve(self, limits: ImageLimits) -> str:
        if self._reference.digest is not None:
            return self._reference.digest
        return await resolve_tag(
            self._client, self._reference.repository, self._reference.tag or DEFAULT_TAG, limits, self._subject
        )

    # Single questions

    async def _document(self, name: str, limits: ImageLimits) -> bytes:
        return await fetch_manifest(self._client, self._reference.repository, name, limits, self._subject)

    async def _blob(self, descriptor: Descriptor, layout: Layout, report: Callable[[str, int], None]) -> None:
        """Streams a blob to disk. A blob that is cut off is asked for again from its beginning."""
        async with (
            self._client.ask(
                "GET",
                f"/v2/{self._reference.repository}/blobs/{descriptor.digest}",
                subject=self._subject,
                repository=self._reference.repository,
                max_bytes=descriptor.size,
                seconds=self._client.patience.total_seconds,  # the client ends silence; how long a layer may take nobody knows
            ) as response
        ):
            if response.status == httpx.codes.NOT_FOUND:
                raise invalid_image(f"{self._reference.registry} has lost a part of it, {descriptor.digest}")
            self._client.check(response, self._subject)
            try:
                with layout.new_blob(descriptor.digest, size=descriptor.size) as blob:
                    async for count in _written(response.chunks, blob):
                        report(descriptor.digest, count)
            except OutgoingError as error:
                if error.kind is not OutgoingErrorKind.TOO_LARGE:
                    raise
                raise mismatch(descriptor.digest) from None


async def told_digest(
    client: RegistryClient, repository: str, tag: str, subject: Subject
) -> tuple[str | None, str | None]:
    """What the registry says the tag's digest and media type are; None when it does not say."""

    async def ask() -> tuple[str | None, str | None]:
        async with client.ask(
            "HEAD",
            f"/v2/{repository}/manifests/{tag}",
            subject=subject,
            repository=repository,
            accept=ACCEPT,
            max_bytes=0,
            seconds=client.patience.answer_seconds,
        ) as response:
            if response.status in {400, 405, 501}:
                return None, None  # HEAD is not known there
            client.check(response, subject)
            told = response.headers.get("docker-content-digest", "")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return (told if DIGEST_PATTERN.fullmatch(told) else None), media_type or None

    return await client.persistently(ask, subject)


async def fetch_manifest(
    client: RegistryClient, repository: str, name: str, limits: ImageLimits, subject: Subject
) -> bytes:
    """The bytes of a manifest or index, by tag or digest. Nothing is verified yet."""

    async def ask() -> bytes:
        async with client.ask(
            "GET",
            f"/v2/{repository}/manifests/{name}",
            subject=subject,
            repository=repository,
            accept=ACCEPT,
            max_bytes=limits.manifest_bytes,
            seconds=client.patience.answer_seconds,
        ) as response:
            client.check(response, subject)
            if response.headers.get("content-type", "").lower().startswith("text/html"):
                raise client.failure(FailureCode.REGISTRY_PROTOCOL, "answers with a web page, not as a registry")
            try:
                return await response.read()
            except OutgoingError as error:
                if error.kind is not OutgoingErrorKind.TOO_LARGE:
                    raise
                raise exceeded("A manifest is larger", limits.manifest_bytes, "bytes") from None

    return await client.persistently(ask, subject)


async def resolve_tag(client: RegistryClient, repository: str, tag: str, limits: ImageLimits, subject: Subject) -> str:
    """The digest of a tag, as the registry says it or, where it says none, as its manifest has it."""
    told, _ = await told_digest(client, repository, tag, subject)
    return told or digest_of(await fetch_manifest(client, repository, tag, limits, subject))


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


def digest_of(data: bytes, like: str = "sha256:") -> str:
    """The digest of the bytes, by the algorithm of another digest."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
