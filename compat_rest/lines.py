"""Downloads that are written while they are read: a subscription to lines, as one file."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.types import Receive, Scope, Send


class LineStream:
    """A download that has begun, as an ASGI response. What goes wrong later breaks the connection off: a file that ends too
    soon must not look like a whole one.
    """

    def __init__(self, pieces: AsyncGenerator[Any], first: Any, filename: str) -> None:
        self._pieces = pieces
        self._first = first
        self._filename = filename

    @classmethod
    async def open(cls, pieces: AsyncGenerator[Any], *, filename: str) -> LineStream:
        """Waits for the first lines, so that what is wrong with a request is still answered with a status of its own.

        Raises HarborGuardError.
        """
        return cls(pieces, await anext(pieces), filename)

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        media_type = mimetypes.guess_type(self._filename)[0] or "text/plain"
        headers = [
            (b"content-type", f"{media_type}; charset=utf-8".encode()),
            (b"content-disposition", f'attachment; filename="{self._filename}"'.encode()),
        ]
        async with aclosing(self._pieces):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _write(send, self._first)
            async for piece in self._pieces:
                await _write(send, piece)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _write(send: Send, piece: Any) -> None:
    await send({"type": "http.response.body", "body": piece["lines"].encode(), "more_body": True})
