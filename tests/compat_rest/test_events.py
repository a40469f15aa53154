from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest

from compat_rest import events
from tests.compat_rest.notebook import STREAMS, Notebook


def parse(text: str) -> list[dict[str, str]]:
    """The events of a stream as a browser reads them; comments are left out."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        for block in text.split("\n\n")
    ]
    return [block for block in blocks if "event" in block]


async def test_stream_tells_progress_and_then_its_end(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes/note-7/events")

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.text.startswith("retry: 3000\n\n")
    first, second, end = parse(response.text)
    assert (first["event"], first["id"]) == ("progress", "1")
    assert orjson.loads(first["data"]) == {"id": "note-7", "title": "A note"}
    assert (second["id"], orjson.loads(second["data"])["title"]) == ("2", "Changed")
    assert (end["event"], end["id"]) == ("end", "end")
    assert STREAMS == ["opened", "closed"]


@pytest.mark.parametrize(
    ("note_id", "expected"), [("nope-1", (404, "NOT_FOUND")), ("broken-CRASH", (500, "INTERNAL_ERROR"))]
)
async def test_what_is_wrong_before_the_first_event_is_an_ordinary_error(
    client: httpx.AsyncClient, note_id: str, expected: tuple[int, str]
) -> None:
    response = await client.get(f"/api/notes/{note_id}/events")

    assert (response.status_code, response.json()["error"]["code"]) == expected


async def test_anonymous_caller_gets_no_stream(client: httpx.AsyncClient, notebook: Notebook) -> None:
    notebook.caller = None

    assert (await client.get("/api/notes/note-7/events")).status_code == 401


async def test_browser_that_comes_back_after_the_end_is_told_to_stop(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes/note-7/events", headers={"last-event-id": "end"})

    assert (response.status_code, response.content) == (204, b"")
    assert STREAMS == []


async def test_error_after_the_first_event_is_an_event_and_the_end(client: httpx.AsyncClient) -> None:
    last = parse((await client.get("/api/notes/note-revoked/events")).text)[-1]

    assert (last["event"], last["id"]) == ("error", "end")
    assert orjson.loads(last["data"])["error"]["code"] == "UNAUTHORIZED"


class Follower:
    """A client that has asked for events and is still there."""

    def __init__(self, notebook: Notebook, path: str) -> None:
        self.left = asyncio.Event()
        self._sent: asyncio.Queue[bytes] = asyncio.Queue()
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        self.task = asyncio.ensure_future(notebook(scope, self._receive, self._send))

    async def _receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self._sent.put_nowait(message.get("body", b""))

    async def until(self, wanted: bytes) -> bytes:
        """Everything up to the first chunk that holds what is waited for."""
        received = b""
        while wanted not in received:
            received += await self._sent.get()
        return received


@asynccontextmanager
async def following(notebook: Notebook, path: str) -> AsyncIterator[Follower]:
    follower = Follower(notebook, path)
    try:
        async with asyncio.timeout(20):
            await follower.until(b"event: progress")
            yield follower
    finally:
        follower.task.cancel()
        await asyncio.gather(follower.task, return_exceptions=True)


async def test_stream_of_a_client_that_left_is_closed(notebook: Notebook) -> None:
    async with following(notebook, "/api/notes/note-endless/events") as follower:
        follower.left.set()
        await follower.task

    assert STREAMS == ["opened", "closed"]


async def test_stream_of_a_cancelled_request_is_closed(notebook: Notebook) -> None:
    async with following(notebook, "/api/notes/note-endless/events") as follower:
        follower.task.cancel()

    assert STREAMS == ["opened", "closed"]


async def test_t07_stream_ends_when_its_caller_is_revoked(notebook: Notebook) -> None:
    async with following(notebook, "/api/notes/note-endless/events") as follower:
        notebook.caller = None
        await follower.task
        [last] = parse((await follower.until(b"id: end")).decode())

    assert last["event"] == "error"
    assert orjson.loads(last["data"])["error"]["code"] == "UNAUTHORIZED"
    assert STREAMS == ["opened", "closed"]


async def test_quiet_stream_has_heartbeats(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.01)
    async with following(notebook, "/api/notes/note-endless/events") as follower:
        assert b": still here\n\n" in await follower.until(b": still here")
