"""Password work off the event loop: it takes tens of milliseconds and 64 MiB each, so few run at a time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from schema.kernel import secrets

_CONCURRENCY = 4
_threads = ThreadPoolExecutor(max_workers=_CONCURRENCY, thread_name_prefix="password")


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_threads, secrets.hash_password, password)


async def verify_password(stored: str | None, password: str) -> bool:
    """The same work whether or not there is a stored hash."""
    return await asyncio.get_running_loop().run_in_executor(_threads, secrets.verify_password, stored, password)
