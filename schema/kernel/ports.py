"""What the domain needs from outside, as small protocols. `app` hands in the real ones."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Time as an argument. Returns an aware datetime in UTC."""

    def __call__(self) -> datetime: ...


class JobQueue(Protocol):
    """Wakes workers. The database holds the truth, so a lost wake-up costs seconds, never a job."""

    async def wake(self, job_id: str) -> None:
        """Raises OSError or a RedisError when the queue cannot be reached; the caller leaves it to the reconciler."""
