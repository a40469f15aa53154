"""What a resolver is handed: the caller, the time, and the transaction boundary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import strawberry
import structlog
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.outbox import OutboxRelay
from schema.kernel.ports import BlobStore, Clock, KeyProvider, RateBudget, RateLimiter, RateState, Signals
from schema.kernel.principal import Principal
from schema.kernel.secrets import TokenMint

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Operator settings the domain has to know. Sizes in bytes, times in seconds."""

    max_upload_bytes: int
    session_idle_seconds: int
    session_absolute_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world of the domain, made once per process by `app`."""

    database: Database
    relay: OutboxRelay
    signals: Signals
    blobs: BlobStore
    keys: KeyProvider
    mint: TokenMint
    rates: RateLimiter
    clock: Clock
    limits: Limits


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """One request, REST or GraphQL, or one operation of a WebSocket.

    `write()` is the transaction of the request: nested use joins the open one, so that an adapter can wrap a whole
    operation and a mutation resolver needs not know. What was posted to the outbox is delivered after the commit.
    """

    services: Services
    principal_or_none: Principal | None
    request_id: str
    client_ip: str
    user_agent: str = ""
    admitted: bool = False  # the adapter has already charged the rate limit and checked the permission
    rate_state: RateState | None = None  # the tightest budget hit so far
    response_cookies: list[tuple[str, int]] = field(default_factory=list)  # (session token, max age in seconds)
    resolve_again: Callable[[], Awaitable[Principal | None]] | None = None
    _session: AsyncSession | None = None
    _session_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def principal(self) -> Principal:
        """The caller. Raises UNAUTHORIZED for an anonymous request."""
        if self.principal_or_none is None:
            raise HarborGuardError(ErrorCode.UNAUTHORIZED, "Authentication is required")
        return self.principal_or_none

    @property
    def organization_id(self) -> str:
        return self.principal.organization_id

    def now(self) -> datetime:
        return self.services.clock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A session to read from; inside the request's own transaction it is that one, so a mutation sees its changes."""
        if self._session is not None:
            async with self._session_lock:
                yield self._session
        else:
            async with self.services.database.read() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        if self._session is not None:
            yield self._session
            return
        async with self.services.database.write() as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None
        await self._deliver_outbox()

    async def _deliver_outbox(self) -> None:
        # The change is committed, so a queue that is away must not turn it into an error: the reconciler delivers later.
        try:
            await self.services.relay.drain()
        except (OSError, RedisError, HarborGuardError) as error:
            log.warning("outbox.delivery_postponed", error=type(error).__name__)

    async def recheck(self) -> None:
        """Asks again who the caller is: a long stream ends when its credential is revoked. Raises UNAUTHORIZED."""
        if self.resolve_again is not None:
            self.principal_or_none = await self.resolve_again()
        _ = self.principal

    async def charge(self, budget: RateBudget) -> None:
        """Counts one use against the caller's budget. Raises RATE_LIMITED when it is used up."""
        bucket = f"ip:{self.client_ip}" if self.principal_or_none is None else self.principal_or_none.credential_id
        state = await self.services.rates.hit(budget, bucket)
        tightest = self.rate_state
        if tightest is None or not state.allowed or state.remaining < tightest.remaining:
            self.rate_state = state
        if not state.allowed:
            raise HarborGuardError(ErrorCode.RATE_LIMITED, "Too many requests")


Info: TypeAlias = strawberry.Info[RequestContext, None]
