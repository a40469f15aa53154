"""The outbox: what has to leave this process because of a change, written in the transaction of that change.

A row is delivered after the commit and deleted when delivery worked; what a crash or an unreachable queue leaves behind
is delivered by the next pass. Delivery is at least once, so a receiver treats a second delivery as the first.

Topics are append-only; a payload holds ids, never content:
- `job.queued`  {"jobId"}: wake a worker.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import structlog
from redis.exceptions import RedisError
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.background import Background
from schema.kernel.columns import Table, id_field, json_field, time_field
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.ports import JobQueue

log = structlog.get_logger(__name__)
BATCH = 100
JOB_QUEUED = "job.queued"
TOPICS = (JOB_QUEUED,)


class OutboxMessage(Table, table=True):
    __tablename__ = "outbox"

    id: str = id_field()
    topic: str
    payload: dict[str, Any] = json_field(nullable=False)
    created_at: datetime = time_field()


async def post(session: AsyncSession, topic: str, payload: dict[str, str], *, now: datetime) -> None:
    """Adds a message to the caller's transaction. LookupError for a topic nobody would receive."""
    if topic not in TOPICS:
        msg = f"outbox topic {topic} has no receiver"
        raise LookupError(msg)
    await session.execute(
        insert(OutboxMessage).values(id=new_id(IdPrefix.OUTBOX), topic=topic, payload=payload, created_at=now)
    )


class OutboxRelay:
    """Delivers what lies in the outbox. Safe to run in many processes: a message delivered twice wakes a worker twice."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self._database = database
        self._queue = queue
        self._draining = asyncio.Lock()
        self._wanted = False

    async def drain(self) -> int:
        """Delivers everything that is due and returns how many. Raises what the queue raises; the rest stays for later."""
        delivered = 0
        while True:
            async with self._draining:
                sent = await self._drain_batch()
            if not sent:
                return delivered
            delivered += sent

    async def _drain_batch(self) -> int:
        async with self._database.read() as session:
            # A topic of a newer version waits for a process of that version, and holds up nothing else.
            known = select(OutboxMessage).where(col(OutboxMessage.topic).in_(TOPICS))
            statement = known.order_by(col(OutboxMessage.id)).limit(BATCH)
            messages = (await session.execute(statement)).scalars().all()
        for message in messages:
            await self._queue.wake(message.payload["jobId"])
        if messages:
            async with self._database.write() as session:
                ids = [message.id for message in messages]
                await session.execute(delete(OutboxMessage).where(col(OutboxMessage.id).in_(ids)))
        return len(messages)

    def drain_soon(self, background: Background) -> None:
        """After a commit somebody waits for. Whatever is in the outbox by now is looked for, also if that is being done."""
        self._wanted = True
        background.start("outbox", self._drain_while_wanted)

    async def _drain_while_wanted(self) -> None:
        while self._wanted:
            self._wanted = False
            await self.drain_quietly()

    async def drain_quietly(self) -> None:
        """After a commit: the change is made, so a queue that is away is no error of its. The reconciler delivers later."""
        try:
            await self.drain()
        except (OSError, RedisError, HarborGuardError) as error:
            log.warning("outbox.postponed", error=type(error).__name__)
