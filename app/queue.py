"""The queue and the signals, on Redis or on its in-process stand-in: the same code either way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import fakeredis
import orjson
import structlog
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from schema.kernel.ports import SignalWaiter

log = structlog.get_logger(__name__)
QUEUE_NAME = "harborguard:jobs"
FUNCTION = "work"
TIMEOUT_SECONDS = 3.0
MAX_CONNECTIONS = 200


def write_job(value: dict[str, Any]) -> bytes:
    """JSON instead of arq's pickle: whoever can write to Redis must not get code run."""
    return orjson.dumps(value, default=str)


def read_job(value: bytes) -> dict[str, Any]:
    job: dict[str, Any] = orjson.loads(value)
    return job


class Redis:
    """Where connections come from: a Redis server, or with an empty URL a stand-in that lives in this process."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stand_in = None if url else fakeredis.FakeServer()

    def connect(self) -> ArqRedis:
        """A lazy connection: nothing is opened until it is used, so an API starts while Redis is away."""
        if self._stand_in is None:
            pool = ConnectionPool.from_url(
                self._url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                max_connections=MAX_CONNECTIONS,
            )
        else:
            pool = ConnectionPool(connection_class=fakeredis.FakeAsyncRedisConnection, server=self._stand_in)
        return ArqRedis(
            pool_or_conn=pool, job_serializer=write_job, job_deserializer=read_job, default_queue_name=QUEUE_NAME
        )


class ArqQueue:
    """JobQueue on arq. The message only wakes: whoever takes it works on the job that is due, whichever that is."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def wake(self, job_id: str) -> None:
        await self._redis.enqueue_job(FUNCTION, job_id)


class RedisSignals:
    """Signals on Redis publish/subscribe. While Redis is away listeners fall back to their polling interval."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def send(self, subject_id: str) -> None:
        try:
            await self._redis.publish(_channel(subject_id), b"")
        except (RedisError, OSError) as error:
            log.warning("signals.lost", error=type(error).__name__)

    @asynccontextmanager
    async def listen(self, subject_id: str) -> AsyncIterator[SignalWaiter]:
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        waiter = _PubSubWaiter(pubsub, _channel(subject_id))
        try:
            # Before the listener looks for the first time, so that nothing changes unseen in between.
            await waiter.subscribe()
            yield waiter
        finally:
            try:
                await pubsub.aclose()  # type: ignore[no-untyped-call]
            except (RedisError, OSError):
                log.debug("signals.close_failed")


class _PubSubWaiter:
    def __init__(self, pubsub: PubSub, channel: str) -> None:
        self._pubsub = pubsub
        self._channel = channel

    async def subscribe(self) -> None:
        try:
            if not self._pubsub.subscribed:
                await self._pubsub.subscribe(self._channel)
        except (RedisError, OSError) as error:
            log.debug("signals.polling", error=type(error).__name__)

    async def wait(self, timeout_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        await self.subscribe()
        try:
            while self._pubsub.subscribed and (left := deadline - loop.time()) > 0:
                # None is also what a confirmed subscription looks like.
                if await self._pubsub.get_message(timeout=left) is not None:
                    return
        except (RedisError, OSError) as error:
            log.debug("signals.polling", error=type(error).__name__)
        await asyncio.sleep(max(0.0, deadline - loop.time()))


def _channel(subject_id: str) -> str:
    return f"harborguard:signal:{subject_id}"
