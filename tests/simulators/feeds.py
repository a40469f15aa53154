"""A server of advisory feeds on loopback: ranges, conditions and checksums as they should be, until told otherwise.

async with feed_server() as server:
    server.publish("/all.zip", data)
    server.faults.append(cut_after(1000))
    ...  # fetch f"{server.url}/all.zip", then look at server.requests
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus

MODIFIED = "Mon, 06 May 2024 07:00:00 GMT"
_PIECE = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the wire. `sent` bytes of the body, then the connection ends, or hangs."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    sent: int | None = None
    hangs: bool = False
    drips: bool = False


Fault = Callable[[Answer], Answer]


@dataclass(frozen=True, slots=True)
class Asked:
    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    headers: dict[str, str]


@dataclass
class FeedServer:
    """Each fault is for one answer, in order; then it's honest again."""

    url: str = ""
    requests: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    stalled: asyncio.Event = field(default_factory=asyncio.Event)  # set when an answer hangs
    _files: dict[str, _File] = field(default_factory=dict)

    def publish(
        self, path: str, data: bytes, *, etag: str | None = None, modified: str = MODIFIED, checksum: bool = False
    ) -> None:
        headers = {"ETag": f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"' if etag is None else etag}
        headers["Last-Modified"] = modified
        if checksum:
            headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
        self._files[path] = _File(data, {name: value for name, value in headers.items() if value})

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing_at_once(writer), suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            asked = Asked(head[0].split(" ")[1], headers)
            self.requests.append(asked)
            answer = self._honest(asked)
            if self.faults:
                answer = self.faults.pop(0)(answer)
            await self._send(answer, writer)
            writer.close()
            await writer.wait_closed()

    def _honest(self, asked: Asked) -> Answer:
        file = self._files.get(asked.path)
        if file is None:
            return Answer(404, {"Content-Length": "0"})
        wanted = asked.headers
        if wanted.get("if-none-match") == file.headers.get("ETag", ()) or (
            "if-none-match" not in wanted and wanted.get("if-modified-since") == file.headers.get("Last-Modified", ())
        ):
            return Answer(304, file.headers)
        size = len(file.data)
        condition = wanted.get("if-range")
        part = re.fullmatch(r"bytes=([0-9]+)-", wanted.get("range", ""))
        if part and condition in (None, file.headers.get("ETag"), file.headers.get("Last-Modified")):
            start = int(part[1])
            if start >= size:
                return Answer(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Length": str(size - start)}
            return Answer(206, file.headers | headers, file.data[start:])
        return Answer(200, file.headers | {"Content-Length": str(size)}, file.data)

    async def _send(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        body = answer.body if answer.sent is None else answer.body[: answer.sent]
        step = _PIECE if answer.drips else max(len(body), 1)
        for start in range(0, len(body), step):
            writer.write(body[start : start + step])
            await writer.drain()
        if answer.hangs:
            self.stalled.set()
            await asyncio.sleep(3600)


@contextmanager
def closing_at_once(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Also when the server is stopped while an answer hangs."""
    try:
        yield
    finally:
        writer.transport.abort()


@asynccontextmanager
async def feed_server() -> AsyncIterator[FeedServer]:
    simulated = FeedServer()
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(simulated.answer(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    simulated.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield simulated
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# Faults


def cut_after(count: int) -> Fault:
    """Fewer bytes than announced, then the end."""
    return lambda honest: replace(honest, sent=count)


def hanging_after(count: int) -> Fault:
    return lambda honest: replace(honest, sent=count, hangs=True)


def dripping(honest: Answer) -> Answer:
    return replace(honest, drips=True)


def answering(status: int, body: bytes = b"", **headers: str) -> Fault:
    """Any other answer; `content_range="…"` becomes the header Content-Range."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _honest: Answer(status, {"content-length": str(len(body)), **fields}, body)


def redirecting(url: str) -> Fault:
    return lambda _honest: Answer(302, {"Location": url, "Content-Length": "0"})


def announcing(length: int) -> Fault:
    """Another length than the body's."""
    return lambda honest: replace(honest, headers=honest.headers | {"Content-Length": str(length)})


def altered(honest: Answer) -> Answer:
    """The right length, other bytes."""
    return replace(honest, body=bytes([honest.body[0] ^ 1]) + honest.body[1:])


def from_the_start(honest: Answer) -> Answer:
    """A part that claims to be the one asked for and begins elsewhere."""
    size = len(honest.body)
    return replace(honest, headers=honest.headers | {"Content-Range": f"bytes 0-{size - 1}/{size}"})
