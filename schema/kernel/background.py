"""Small work that must neither delay nor fail the request it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


class Background:
    """Runs such work now, one piece per name at a time. What fails is logged and forgotten: it was best effort."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Starts the work, unless work of that name is still running: that one stands for both."""
        if name not in self._running:
            self._running[name] = asyncio.get_running_loop().create_task(self._run(name, work))

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 -- nobody waits for it, so this is where its failure ends
            log.warning("background.failed", name=name, error=type(error).__name__)
        finally:
            del self._running[name]

    async def settle(self) -> None:
        """Returns when nothing runs any more: call it before the database is closed."""
        while self._running:
            await asyncio.wait(self._running.values())
