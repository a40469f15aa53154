"""What a resolver is handed: the caller, the time, and the transaction boundary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.background import Background
from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.outbox import OutboxRelay
from schema.kernel.plans import UNLIMITED, PlanLimits
from schema.kernel.ports import (
    BlobStore,
    Clock,
    KeyProvider,
    RateBudget,
    RateLimiter,
    RateState,
    RegistryProbe,
    Signals,
    StatementSigner,
)
from schema.kernel.principal import Principal
from schema.kernel.secrets import SessionSigner, TokenMint


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Operator settings the domain has to know. Sizes in bytes, times in seconds."""

    max_upload_bytes: int
    session_idle_seconds: int
    session_absolute_seconds: int
    max_report_bytes: int = 128 * 1024**2
    plans: Mapping[str, PlanLimits] = field(default_factory=dict)

    def of_plan(self, plan: str) -> PlanLimits:
        """What a plan of that name holds; a plan that is not in the table has no limits."""
        return self.plans.get(plan, UNLIMITED)

    public_url: str = ""  # where users reach the service, if it is known


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The outside world of the domain, made once per process by `app`."""

    database: Database
    relay: OutboxRelay
    signals: Signals
    blobs: BlobStore
    keys: KeyProvider
    mint: TokenMint
    signer: SessionSigner
    rates: RateLimiter
    registry_probe: RegistryProbe
    clock: Clock
    limits: Limits
    statements: StatementSigner | None = None  # None: the operator gave no key
    background: Background = field(default_factory=Background)


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
    replayed: bool = False  # the answer is a kept one: the Idempotency-Key had been used before
    response_cookies: list[tuple[str, int]] = field(default_factory=list)  # (session token, max age in seconds)
    resolve_again: Callable[[], Awaitable[Principal | None]] | None = None
    _session: AsyncSession | None = None
    _signals: list[str] = field(default_factory=list)
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
        async with self.services.database.write(awaited=True) as session:
            self._session = session
            try:
                yield session
            finally:
                self._session = None
        self.services.relay.drain_soon(self.services.background)
        signals, self._signals = self._signals, []
        for subject_id in signals:
            await self.services.signals.send(subject_id)

    def signal_after_commit(self, subject_id: str) -> None:
        """Tells listeners to look at the subject again, once there is something new to see."""
        self._signals.append(subject_id)

    async def recheck(self) -> None:
        """Asks again who the caller is: a long stream ends when its credential is revoked. Raises UNAUTHORIZED."""
        if self.resolve_again is not None:
            self.principal_or_none = await self.resolve_again()
        _ = self.principal

    @property
    def address_bucket(self) -> str:
        """The budget of everybody behind the caller's address: for whoever has no credential, or guesses at one."""
        return f"ip:{self.client_ip}"

    async def charge(self, budget: RateBudget, *, bucket: str | None = None) -> None:
        """Counts one use against the caller's budget, or the named bucket's. Raises RATE_LIMITED when it is used up."""
        if bucket is None:
            caller = self.principal_or_none
            bucket = self.address_bucket if caller is None else caller.credential_id
        state = await self.services.rates.hit(budget, bucket)
        tightest = self.rate_state
        if tightest is None or not state.allowed or state.remaining < tightest.remaining:
            self.rate_state = state
        if not state.allowed:
            raise HarborGuardError(ErrorCode.RATE_LIMITED, "Too many requests")


Info: TypeAlias = strawberry.Info[RequestContext, None]
