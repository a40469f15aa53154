"""Signed statements beside an image: where cosign tags them, and what the registry lists as referring to the image.

Both are looked at (cosign's `sha256-….att` tag; OCI distribution 1.1, referrers, with its tag for registries that have no
such list). Every document and blob is held against its digest; what it says is for somebody else to believe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from schema.images.reference import DEFAULT_TAG, ImageReference
from schema.kernel.ports import OutgoingHttp
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.client import PATIENCE, Patience, RegistryClient, RegistryCredentials, Subject
from workers.oci.limits import ImageLimits
from workers.oci.manifests import DIGEST_PATTERN, INDEX_OCI, parse_json
from workers.oci.registry import digest_of, fetch_manifest

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
MAX_STATEMENTS = 50
MAX_BYTES = 32 << 20  # of an envelope: a bill of materials may be large
_BUNDLE = "application/vnd.dev.sigstore.bundle"  # and a version
_HOLDING = (ENVELOPE, "application/vnd.in-toto+json")


@dataclass(frozen=True, slots=True)
class Envelope:
    digest: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Beside:
    """`names` are the digests the image goes by: its own, and that of the index the reference leads to, which lists it."""

    names: Sequence[str]
    envelopes: Sequence[Envelope]


async def envelopes_beside(
    reference: ImageReference,
    digest: str,
    *,
    credentials: RegistryCredentials | None,
    http: OutgoingHttp,
    limits: ImageLimits,
    insecure: bool = False,
    patience: Patience = PATIENCE,
) -> Beside:
    """What lies beside the image of that digest and its index, each once. Raises ScanFailure."""
    client = RegistryClient(
        reference.registry, credentials=credentials, http=http, insecure=insecure, patience=patience
    )
    neighbourhood = _Neighbourhood(client, reference.repository, digest, limits)
    names = [digest, *await neighbourhood.indexes(reference.digest or reference.tag or DEFAULT_TAG)]
    blobs: dict[str, int] = {}
    for name in names:
        for manifest in await neighbourhood.manifests(name):
            for layer in _layers(manifest):
                blobs.setdefault(layer["digest"], layer["size"])
    if len(blobs) > MAX_STATEMENTS:
        raise client.failure(FailureCode.LIMIT_EXCEEDED, f"has more than {MAX_STATEMENTS} statements beside the image")
    return Beside(names, [Envelope(name, await neighbourhood.blob(name, size)) for name, size in blobs.items()])


class _Neighbourhood:
    """One image's in its repository."""

    def __init__(self, client: RegistryClient, repository: str, digest: str, limits: ImageLimits) -> None:
        self._client = client
        self._repository = repository
        self._digest = digest
        self._limits = limits
        self._subject = Subject(noun="statements", name=f"beside {repository}@{digest}")

    async def indexes(self, name: str) -> list[str]:
        """The digest of the index a tag or digest leads to, if that lists the image: nobody's word is taken for it."""
        raw = await fetch_manifest(self._client, self._repository, name, self._limits, self._subject)
        digest = digest_of(raw, name if DIGEST_PATTERN.fullmatch(name) else "sha256:")
        listed = [each.get("digest") for each in _objects(self._parse(raw), "manifests")]
        return [digest] if self._digest in listed else []

    async def manifests(self, digest: str) -> list[Mapping[str, Any]]:
        """Of what is beside an image or index."""
        tag = digest.replace(":", "-")
        tagged = await self._document(f"{tag}.att")
        found = [tagged] if tagged is not None else []
        referring = await self._referrers(digest)
        if referring is None:
            referring = await self._document(tag)
        for name in _statements_of(referring or {})[:MAX_STATEMENTS]:
            manifest = await self._document(name)
            if manifest is not None:
                found.append(manifest)
        return found

    async def blob(self, digest: str, size: int) -> bytes:
        async def fetch() -> bytes:
            async with self._client.ask(
                "GET",
                f"/v2/{self._repository}/blobs/{digest}",
                subject=self._subject,
                repository=self._repository,
                max_bytes=size,
                seconds=self._client.patience.answer_seconds,
            ) as response:
                self._client.check(response, self._subject)
                return await response.read()

        content = await self._client.persistently(fetch, self._subject)
        if digest_of(content, digest) != digest:
            raise self._client.failure(FailureCode.DIGEST_MISMATCH, f"sent something else than {digest}")
        return content

    async def _document(self, name: str) -> Mapping[str, Any] | None:
        """A manifest or index by tag or digest; None where there is none.

        Some registries hide what is not there behind a 401. The image has been pulled from this repository, so it is no more.
        """
        try:
            raw = await fetch_manifest(self._client, self._repository, name, self._limits, self._subject)
        except ScanFailure as failure:
            if failure.code in {FailureCode.IMAGE_NOT_FOUND, FailureCode.REGISTRY_UNAUTHORIZED}:
                return None
            raise
        if DIGEST_PATTERN.fullmatch(name) and digest_of(raw, name) != name:
            raise self._client.failure(FailureCode.DIGEST_MISMATCH, f"sent something else than {name}")
        return self._parse(raw)

    def _parse(self, raw: bytes) -> Mapping[str, Any]:
        parsed = parse_json(raw, self._limits)
        return parsed if isinstance(parsed, Mapping) else {}

    async def _referrers(self, digest: str) -> Mapping[str, Any] | None:
        """None where the registry has no such list."""

        async def ask() -> bytes | None:
            async with self._client.ask(
                "GET",
                f"/v2/{self._repository}/referrers/{digest}",
                subject=self._subject,
                repository=self._repository,
                accept=INDEX_OCI,
                max_bytes=self._limits.manifest_bytes,
                seconds=self._client.patience.answer_seconds,
            ) as response:
                told = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                if httpx.codes.is_client_error(response.status) or told != INDEX_OCI:
                    return None
                self._client.check(response, self._subject)
                return await response.read()

        raw = await self._client.persistently(ask, self._subject)
        return None if raw is None else self._parse(raw)


def _statements_of(index: Mapping[str, Any]) -> Sequence[str]:
    """The digests of what an index lists that may hold an envelope."""
    return [
        each["digest"]
        for each in _objects(index, "manifests")
        if _is_envelope(each.get("artifactType")) and _is_digest(each.get("digest"))
    ]


def _layers(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Those that are envelopes of a size we read."""
    return [
        each
        for each in _objects(manifest, "layers")
        if _is_envelope(each.get("mediaType"))
        and _is_digest(each.get("digest"))
        and isinstance(each.get("size"), int)
        and 0 < each["size"] <= MAX_BYTES
    ]


def _objects(holder: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = holder.get(name)
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _is_envelope(media_type: object) -> bool:
    return isinstance(media_type, str) and (media_type in _HOLDING or media_type.startswith(_BUNDLE))


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and DIGEST_PATTERN.fullmatch(text) is not None
