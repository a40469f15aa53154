"""Server-sent events (WHATWG HTML, section 9.2) from a subscription.

Every event carries a number as its id; the last one is `event: end` with the id `end`. A browser reconnects by itself
when a stream closes and says which id it saw last, so whoever comes back with `end` gets 204, which stops it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from compat_rest.envelopes import error_body
from schema.kernel.errors import HarborGuardError

HEARTBEAT_SECONDS = 15.0
RETRY_MILLISECONDS = 3_000
END = "end"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


class EventStream:
    """A subscription that has begun, as an ASGI response. `await EventStream.open(…)`, then send or `aclose` it."""

    def __init__(self, pump: asyncio.Task[None], queue: asyncio.Queue[Any], first: Any, request_id: str) -> None:
        self._pump = pump
        self._queue = queue
        self._first = first
        self._request_id = request_id

    @classmethod
    async def open(cls, events: AsyncGenerator[Any], *, request_id: str) -> EventStream:
        """Waits for the first event, so that what is wrong with a request is still answered with a status of its own.

        Raises HarborGuardError.
        """
        queue: asyncio.Queue[Any] = asyncio.Queue()
        pump = asyncio.create_task(_pump(events, queue))
        try:
            first = await queue.get()
        except BaseException:
            await _stop(pump)
            raise
        if first is None:
            await pump
        return cls(pump, queue, first, request_id)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.create_task(_disconnected(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _write(send, f"retry: {RETRY_MILLISECONDS}\n\n")
            await self._relay(send, left)
        finally:
            await _stop(left)
            await _stop(self._pump)

    async def _relay(self, send: Send, left: asyncio.Task[None]) -> None:
        event, number = self._first, 0
        while event is not None:
            number += 1
            await _write(send, _event("progress", str(number), event))
            coming = asyncio.ensure_future(self._queue.get())
            while not coming.done():
                await asyncio.wait({coming, left}, timeout=HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if left.done():
                    coming.cancel()
                    return
                if not coming.done():
                    await _write(send, ": still here\n\n")
            event = coming.result()
        try:
            await self._pump
        except HarborGuardError as error:
            # The status is long sent. The credential may have been revoked, the scan deleted: say so, and end.
            await _write(send, _event("error", END, error_body(error, self._request_id)))
        else:
            await _write(send, _event(END, END, {}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pump(events: AsyncGenerator[Any], queue: asyncio.Queue[Any]) -> None:
    """Runs the generator in one task from start to end, because what it holds open may belong to its task."""
    try:
        async with aclosing(events):
            async for event in events:
                queue.put_nowait(event)
    finally:
        queue.put_nowait(None)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, HarborGuardError):
        await task


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _event(name: str, number: str, data: Any) -> str:
    return f"id: {number}\nevent: {name}\ndata: {orjson.dumps(data).decode()}\n\n"
