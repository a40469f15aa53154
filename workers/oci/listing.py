"""What is in a registry: its repositories, their tags, what a tag points to. Everything a registry lists is bounded.

The distribution specification 1.1 has both lists as pages with a Link header to the next one. Registries that keep their
list of repositories closed have an API of their own for it (workers/oci/providers).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, urlencode

import httpx

from schema.images.reference import ImageReference
from schema.kernel.errors import HarborGuardError
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.client import RegistryClient, Subject
from workers.oci.limits import ImageLimits, exceeded
from workers.oci.manifests import INDEXES, Descriptor, list_platforms, mismatch
from workers.oci.registry import digest_of, fetch_manifest, told_digest

PAGE_BYTES = 16 << 20
_PAGE_ENTRIES = 1000  # the most that CNCF distribution answers
_NEXT = re.compile(r'<([^<>]*)>[^,<]*;\s*rel="?next"?', re.IGNORECASE)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingLimits:
    """How much of a registry is listed. Beyond, the listing is left incomplete and says so."""

    repositories: int = 20_000
    tags: int = 50_000  # of one repository
    pages: int = 2_000  # of one list
    platforms: int = 100  # of one index


LISTING_LIMITS = ListingLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTag:
    name: str
    digest: str | None = None  # where the list itself tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a tag points to: the manifests of an index by platform, or none where it is a manifest itself."""

    digest: str
    manifests: tuple[Descriptor, ...] = ()


class Catalogue(Protocol):
    """A registry that is listed, page by page. All of it raises ScanFailure."""

    @property
    def client(self) -> RegistryClient: ...

    def list_repositories(self) -> AsyncIterator[list[str]]:
        """Names as they stand in references. LIMIT_EXCEEDED after as many as are read."""

    def list_tags(self, repository: str) -> AsyncIterator[list[ListedTag]]:
        """IMAGE_NOT_FOUND where there is no such repository, LIMIT_EXCEEDED after as many as are read."""


class DistributionCatalogue:
    """Both lists as the distribution specification has them."""

    def __init__(
        self,
        client: RegistryClient,
        options: Mapping[str, str] | None = None,
        limits: ListingLimits = LISTING_LIMITS,
    ) -> None:
        self.client = client
        self.limits = limits
        self._namespace = (options or {}).get("namespace", "").strip("/")
        self._root = "/v2"  # where the list of repositories is
        self._prefix = ""  # what names in it lack

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        subject = catalogue_of(self.client)
        bound = Bound(self.client, self.limits.repositories, self.limits.pages, "repositories")
        try:
            async for page in self._pages(f"{self._root}/_catalog", None, "repositories", subject, bound):
                named = (self._prefix + name for name in page)
                inside = [name for name in named if not self._namespace or name.startswith(f"{self._namespace}/")]
                yield [name for name in inside if is_repository(self.client.host, name)]
        except ScanFailure as failure:
            if failure.code is not FailureCode.IMAGE_NOT_FOUND:
                raise
            raise self.client.failure(
                FailureCode.REGISTRY_PROTOCOL,
                "does not list its repositories at /v2/_catalog; choose its provider, which may have a list elsewhere",
            ) from None

    async def list_tags(self, repository: str) -> AsyncIterator[list[ListedTag]]:
        subject = Subject(noun="repository", name=f"{self.client.host}/{repository}")
        bound = Bound(self.client, self.limits.tags, self.limits.pages, f"tags in {repository}")
        async for page in self._pages(f"/v2/{repository}/tags/list", repository, "tags", subject, bound):
            yield [ListedTag(name=name) for name in page if is_tag(name)]

    async def _pages(
        self, path: str, repository: str | None, key: str, subject: Subject, bound: Bound
    ) -> AsyncIterator[list[str]]:
        query = f"?n={_PAGE_ENTRIES}"
        while query:
            names, following = await self._page(path + query, repository, key, subject)
            yield bound.admit(names)
            query = self._next_query(path, query, following)
            bound.turn(query)

    async def _page(self, path: str, repository: str | None, key: str, subject: Subject) -> tuple[list[str], str]:
        async def ask() -> tuple[list[str], str]:
            async with self.client.ask(
                "GET",
                path,
                subject=subject,
                repository=repository,
                accept="application/json",
                max_bytes=PAGE_BYTES,
                seconds=self.client.patience.answer_seconds,
            ) as response:
                self.client.check(response, subject)
                document = self.client.parse(await response.read())
                return texts(self.client, document, key), response.headers.get("link", "")

        return await self.client.persistently(ask, subject)

    def _next_query(self, path: str, query: str, link: str) -> str:
        """The query of the next page, "" after the last.

        Of the address only that counts: the path is known, and some registries leave out what stands before it, or name
        a scheme that the proxy in front of them does not speak.
        """
        found = _NEXT.search(link)
        if found is None:
            return ""
        try:
            target = httpx.URL(f"{self.client.base}{path}{query}").join(found[1])
        except httpx.InvalidURL:
            raise self.client.failure(FailureCode.REGISTRY_PROTOCOL, "names no address for its next page") from None
        if target.host != httpx.URL(self.client.base).host:
            problem = "continues its list on another host, which is not followed"
            raise self.client.failure(FailureCode.REGISTRY_PROTOCOL, problem)
        following = target.query.decode("ascii")
        return f"?{following}" if following else ""


class Bound:
    """Counts what a list has brought, so that none is endless, and none goes round in circles."""

    def __init__(self, client: RegistryClient, entries: int, pages: int, what: str) -> None:
        self._client = client
        self._entries = entries
        self._pages = pages
        self._what = what
        self._limit = entries
        self._seen: set[int] = set()
        self._turned: set[str] = set()
        self._over = False

    def admit(self, names: Sequence[str]) -> list[str]:
        """Those that are new, and no more than may be read; the next `turn` fails then."""
        admitted = []
        for name in names:
            if (mark := hash(name)) in self._seen:
                continue
            if self._entries <= 0:
                self._over = True
                break
            self._seen.add(mark)
            self._entries -= 1
            admitted.append(name)
        return admitted

    def turn(self, following: object) -> None:
        """Before the next page, which `following` names ("" after the last)."""
        if self._over or (following and self._entries <= 0):
            raise exceeded(f"The registry {self._client.host} has more {self._what}", self._limit, "of them")
        if not following:
            return
        self._pages -= 1
        if self._pages <= 0:
            raise exceeded(f"The list of {self._what} has more", len(self._turned) + 1, "pages")
        if str(following) in self._turned:
            raise self._client.failure(
                FailureCode.REGISTRY_PROTOCOL, "sends pages of its list that go round in circles"
            )
        self._turned.add(str(following))


def catalogue_of(client: RegistryClient) -> Subject:
    return Subject(noun="list", name=f"of repositories of {client.host}")


def is_repository(host: str, name: str) -> bool:
    """Whether an image of that name can be pulled: what is none is left out of the catalogue."""
    try:
        parsed = ImageReference.parse(f"{host}/{name}")
    except HarborGuardError:
        return False
    return (parsed.tag, parsed.digest) == (None, None)


def is_tag(name: str) -> bool:
    return _TAG.fullmatch(name) is not None


def texts(client: RegistryClient, document: object, key: str) -> list[str]:
    """The list of texts at a key; null, as some registries say for none, is empty. REGISTRY_PROTOCOL for anything else."""
    listed = document.get(key) if isinstance(document, dict) else 0
    if listed is None:
        return []
    if not isinstance(listed, list):
        raise client.failure(FailureCode.REGISTRY_PROTOCOL, f"sent a list without its {key}")
    return [each for each in listed if isinstance(each, str)]


def with_query(path: str, **values: object) -> str:
    given = {name: str(value) for name, value in values.items() if value not in {None, ""}}
    return f"{path}?{urlencode(given)}" if given else path


def escaped(part: str) -> str:
    """A path segment that may hold slashes of its own."""
    return quote(part, safe="")


async def resolve(
    client: RegistryClient, repository: str, tag: ListedTag, *, known: frozenset[str] | set[str], limits: ImageLimits
) -> Resolved:
    """What a tag points to now. The digest is the registry's word where it gives one; that of an index is verified.

    The manifests of an index whose digest is `known` are not looked at again. Raises ScanFailure.
    """
    subject = Subject(noun="image", name=f"{client.host}/{repository}:{tag.name}")
    digest, media_type = tag.digest, None
    if digest is None:
        digest, media_type = await told_digest(client, repository, tag.name, subject)
    if digest is not None and (digest in known or (media_type is not None and media_type not in INDEXES)):
        return Resolved(digest=digest)
    raw = await fetch_manifest(client, repository, digest or tag.name, limits, subject)
    told, digest = digest, digest_of(raw, digest or "sha256:")
    if told is not None and told != digest:
        raise mismatch(told)
    return Resolved(digest=digest, manifests=tuple(list_platforms(raw, limits)[: LISTING_LIMITS.platforms]))
