"""What the domain needs from outside, as small protocols. `app` hands in the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from schema.kernel.public_keys import Described


class Clock(Protocol):
    """Time as an argument. Returns an aware datetime in UTC."""

    def __call__(self) -> datetime: ...


class JobQueue(Protocol):
    """Wakes workers. The database holds the truth, so a lost wake-up costs seconds, never a job."""

    async def wake(self, job_id: str) -> None:
        """Raises OSError or a RedisError when the queue cannot be reached; the caller leaves it to the reconciler."""


class Signals(Protocol):
    """Tells listeners in any process that a subject changed. Only a hint to look: the database holds what changed."""

    async def send(self, subject_id: str) -> None:
        """Never raises: a signal that is lost costs a listener one polling interval."""

    def listen(self, subject_id: str) -> AbstractAsyncContextManager[SignalWaiter]: ...


class SignalWaiter(Protocol):
    async def wait(self, timeout_seconds: float) -> None:
        """Returns at the next signal or after the time-out, whichever is first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """What was received: where it lies and what it measures."""

    key: str
    size_bytes: int
    sha256: str


class BlobStore(Protocol):
    """Large files of organizations, by opaque key. At scale the directory behind it is shared by all machines."""

    async def receive(self, organization_id: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> StoredBlob:
        """Stores a stream. Raises PAYLOAD_TOO_LARGE as soon as the limit is passed, and keeps nothing then."""

    def path(self, key: str) -> Path: ...

    async def delete(self, key: str) -> None: ...


class KeyProvider(Protocol):
    """Wraps the data keys of sealed secrets. `key_id` is kept beside a wrapped key, so keys can be rotated.

    It may ask a key service, so both wait (docs/adr/0020). SERVICE_UNAVAILABLE when that does not answer.
    """

    @property
    def key_id(self) -> str:
        """The key that wraps; older ones only unwrap."""

    async def wrap(self, data_key: bytes, *, context: bytes) -> bytes: ...

    async def unwrap(self, wrapped: bytes, *, key_id: str, context: bytes) -> bytes:
        """Raises ValueError for an unknown key, another context than it was wrapped for, or a changed value."""


class StatementSigner(Protocol):
    """Signs statements that others verify, with a key the operator holds."""

    @property
    def public(self) -> Described: ...

    async def sign(self, message: bytes) -> bytes: ...


class RegistryAuthentication(StrEnum):
    """How a registry wants to know who asks."""

    NONE = "none"
    BASIC = "basic"
    TOKEN = "token"  # noqa: S105 -- a kind, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryTarget:
    """A registry to be tried. Never printed with its password."""

    host: str  # what references of its images begin with
    insecure: bool  # plain HTTP
    provider: str  # a RegistryProvider's name: some take another account than they give out logins for
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """`latency_ms` and `authentication` are None where no registry was found: they would tell about what is there instead."""

    ok: bool
    message: str  # may be shown to the tenant who named the address
    latency_ms: int | None = None  # of the first answer
    authentication: RegistryAuthentication | None = None


class RegistryProbe(Protocol):
    async def probe(self, target: RegistryTarget) -> ProbeResult:
        """Whether a registry answers there and takes the credentials. Never raises for what the other side does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateBudget:
    """A family's documented limit: `requests` in any window of `seconds`, by each credential or, `shared`, by all of an
    organization.
    """

    family: str
    requests: int
    seconds: int
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateState:
    """A budget after a hit: what the X-RateLimit headers say. `reset_at` is in Unix seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: int


class RateLimiter(Protocol):
    async def hit(self, budget: RateBudget, bucket: str) -> RateState: ...


class OutgoingErrorKind(StrEnum):
    """Why an outgoing request gave no answer. A connection that broke and one never made look the same to a tenant."""

    BLOCKED = "BLOCKED"  # the address is not one we connect to
    UNREACHABLE = "UNREACHABLE"  # no such name, no connection in time, or the connection broke
    UNTRUSTED = "UNTRUSTED"  # the TLS certificate was refused
    TIMEOUT = "TIMEOUT"  # connected, but too slow
    TOO_LARGE = "TOO_LARGE"  # the answer passed the caller's limit
    TOO_MANY_REDIRECTS = "TOO_MANY_REDIRECTS"
    PROTOCOL = "PROTOCOL"  # the answer is not HTTP, or was cut short


class OutgoingError(Exception):
    """No (whole) answer. The message names the host only and may be shown to the tenant who named it."""

    def __init__(self, kind: OutgoingErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingResponse:
    """An answer whose body is still on its way, as the bytes that came over the wire (no content encoding undone)."""

    url: str = field(repr=False)  # where the answer came from, after redirects; may carry a signature
    status: int
    headers: Mapping[str, str] = field(repr=False)  # lower-case names; repeated ones joined with ", "
    chunks: AsyncIterator[bytes] = field(repr=False)  # raises OutgoingError

    async def read(self) -> bytes:
        """The rest of the body in memory, at most the `max_bytes` of the request. Raises OutgoingError."""
        return b"".join([chunk async for chunk in self.chunks])


class OutgoingHttp(Protocol):
    """The only way to reach an address a tenant, or an answer a tenant controls, has named."""

    def stream(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        max_redirects: int = 3,
        allow_http: bool = False,
    ) -> AbstractAsyncContextManager[OutgoingResponse]:
        """One request. `timeout_seconds` bounds everything until the context is left, reading the body included.

        Redirects of GET and HEAD are followed, never from https to http; a change of origin leaves every header behind
        that could carry a secret. With `max_redirects=0`, or another method, a redirect is handed out like any answer.
        A status is never an error. Raises OutgoingError.
        """
