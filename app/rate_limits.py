"""Budgets of calls in a moving window: shared by all processes on Redis, else kept in this process.

Redis is read and written through `limits`. Its in-memory storage is not used: it sweeps every key with a thread hop each
after every hit, which at a thousand callers keeps a core busy (measured: 2 ms of processor time a hit). While Redis is
away the process counts for itself: a limit may then be passed once per process, but there is always one, and never an
error.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from ipaddress import IPv6Address, IPv6Network

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

from schema.kernel.ports import RateBudget, RateState

log = structlog.get_logger(__name__)

MAX_BUCKETS = 100_000
REDIS_TIMEOUT_SECONDS = 0.5
REDIS_CONNECTIONS = 50
REDIS_RETRY_SECONDS = 5.0
KEY_PREFIX = "harborguard:rate"
_IPV6_CUSTOMER_BITS = (
    64  # what one customer is given at least (RFC 6177); a single address would cost an attacker nothing
)


class LocalWindows:
    """Moving windows in memory, at most MAX_BUCKETS of them; the longest unused is forgotten first."""

    def __init__(self) -> None:
        self._hits: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._windows: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._hits)

    def hit(self, budget: RateBudget, bucket: str, *, now: float) -> RateState:
        """Counts one use at `now` (Unix seconds). A refused use is not counted, so a caller who waits gets through."""
        self._windows[budget.family] = budget.seconds
        self._forget(now)
        key = (budget.family, bucket)
        hits = self._hits.setdefault(key, deque())
        self._hits.move_to_end(key)
        while hits and hits[0] <= now - budget.seconds:
            hits.popleft()
        allowed = len(hits) < budget.requests
        if allowed:
            hits.append(now)
        return RateState(
            allowed=allowed,
            limit=budget.requests,
            remaining=budget.requests - len(hits),
            reset_at=math.ceil(hits[0] + budget.seconds),
        )

    def _forget(self, now: float) -> None:
        """Drops what is over, a little at each hit, and what is too much."""
        for _ in range(2):
            oldest = next(iter(self._hits), None)
            if oldest is None:
                return
            over = self._hits[oldest][-1] <= now - self._windows[oldest[0]]
            if not over and len(self._hits) < MAX_BUCKETS:
                return
            del self._hits[oldest]


class WindowLimiter:
    """The RateLimiter of a process. Without a Redis URL every window is local. `await close()` when done."""

    def __init__(self, redis_url: str = "") -> None:
        self._local = LocalWindows()
        self._pool = _pool(redis_url) if redis_url else None
        self._shared = None if self._pool is None else _shared_windows(self._pool)
        self._retry_at = 0.0  # monotonic; Redis is not asked before
        self._away = False

    async def hit(self, budget: RateBudget, bucket: str) -> RateState:
        bucket = _by_customer(bucket)
        if self._shared is not None and time.monotonic() >= self._retry_at:
            if self._away:
                self._retry_at = time.monotonic() + REDIS_RETRY_SECONDS  # one caller tries, the others do not wait
            try:
                state = await _hit_shared(self._shared, budget, bucket)
            except (RedisError, OSError) as error:
                self._lost(error)
            else:
                self._found()
                return state
        return self._local.hit(budget, bucket, now=time.time())

    def _lost(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + REDIS_RETRY_SECONDS
        if not self._away:
            log.warning("rate_limits.redis_away", error=type(error).__name__, counting="in this process")
        self._away = True

    def _found(self) -> None:
        if self._away:
            log.info("rate_limits.redis_back")
        self._away, self._retry_at = False, 0.0

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.disconnect()


def _pool(redis_url: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        redis_url,
        timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        max_connections=REDIS_CONNECTIONS,
    )


def _shared_windows(pool: BlockingConnectionPool) -> MovingWindowRateLimiter:
    storage = RedisStorage(
        "async+redis://",
        implementation="redispy",
        key_prefix=KEY_PREFIX,
        connection_pool=pool,  # type: ignore[arg-type]  # its annotation knows plain options only
    )
    return MovingWindowRateLimiter(storage)


async def _hit_shared(windows: MovingWindowRateLimiter, budget: RateBudget, bucket: str) -> RateState:
    item = RateLimitItemPerSecond(budget.requests, budget.seconds, budget.family)
    allowed = await windows.hit(item, bucket)
    reset_at, remaining = await windows.get_window_stats(item, bucket)
    return RateState(
        allowed=allowed,
        limit=budget.requests,
        remaining=max(remaining, 0) if allowed else 0,
        reset_at=math.ceil(reset_at),
    )


def _by_customer(bucket: str) -> str:
    """An IPv6 address stands for the network its customer was given; everything else for itself."""
    kind, _, address = bucket.partition(":")
    if kind != "ip" or ":" not in address:
        return bucket
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return bucket
    return f"ip:{parsed.ipv4_mapped or IPv6Network((parsed, _IPV6_CUSTOMER_BITS), strict=False)}"
