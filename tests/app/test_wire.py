"""The application behind the real server, on loopback: what only a wire shows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import orjson
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from schema.kernel.ports import SignalWaiter
from tests.app.site import MAX_UPLOAD_BYTES, SCAN, Site, Tenant, copy_sqlite

TAR = {"content-type": "application/x-tar"}


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: the wire does not depend on the database."""
    return copy_sqlite(sqlite_template, tmp_path)


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the test runner's own


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    config = uvicorn.Config(
        site.app, log_config=None, access_log=False, ws="websockets-sansio", lifespan="off", server_header=False
    )
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        await task


@pytest.fixture
async def wire(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        yield client


async def test_head_has_the_length_and_no_body(wire: httpx.AsyncClient, tenant: Tenant) -> None:
    for path in ("/api/scans", "/api/health", "/schema.graphql", "/api/nothing"):
        head = await wire.head(path, headers=tenant.headers())
        full = await wire.get(path, headers=tenant.headers())
        assert (head.status_code, head.content) == (full.status_code, b"")
        assert int(head.headers["content-length"]) == len(full.content)


@pytest.mark.parametrize(
    ("signed_in", "size", "status"), [(True, 3 * MAX_UPLOAD_BYTES // 2, 413), (False, MAX_UPLOAD_BYTES, 401)]
)
async def test_client_that_sends_before_it_listens_sees_why_it_was_refused(
    wire: httpx.AsyncClient, site: Site, tenant: Tenant, *, signed_in: bool, size: int, status: int
) -> None:
    headers = {**TAR, **(tenant.headers() if signed_in else {})}

    async def content() -> AsyncIterator[bytes]:
        for _ in range(size // 65_536):
            yield b"x" * 65_536

    response = await wire.post("/api/images/upload?image=acme/api:1", content=content(), headers=headers)

    assert (response.status_code, response.headers["connection"]) == (status, "close")
    assert [path for path in site.uploads.rglob("*") if path.is_file()] == []


async def test_client_that_never_ends_is_cut_off(wire: httpx.AsyncClient) -> None:
    async def content() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65_536

    async with asyncio.timeout(20):
        with pytest.raises((httpx.ReadError, httpx.WriteError)):
            await wire.post("/api/images/upload?image=acme/api:1", content=content(), headers=TAR)


async def test_events_reach_the_client_one_by_one_and_stop_when_it_leaves(
    wire: httpx.AsyncClient, site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await wire.post("/api/scans", json=SCAN, headers=tenant.headers())
    scan_id = made.json()["data"]["id"]
    closed = asyncio.Event()
    listen = site.services.signals.listen

    @asynccontextmanager
    async def watched(subject_id: str) -> AsyncIterator[SignalWaiter]:
        try:
            async with listen(subject_id) as waiter:
                yield waiter
        finally:
            closed.set()

    monkeypatch.setattr(site.services.signals, "listen", watched)
    async with asyncio.timeout(20):
        async with wire.stream("GET", f"/api/scans/{scan_id}/events", headers=tenant.headers()) as response:
            lines = response.aiter_lines()
            first = [await anext(lines) for _ in range(5)]
        assert first[:4] == ["retry: 3000", "", "id: 1", "event: progress"]
        assert orjson.loads(first[4].removeprefix("data: "))["status"] == "QUEUED"
        await closed.wait()


async def test_socket_speaks_text_frames(address: str, tenant: Tenant) -> None:
    [key] = tenant.keys.values()
    async with (
        asyncio.timeout(20),
        connect(f"ws://{address}/graphql", subprotocols=[Subprotocol("graphql-transport-ws")]) as connection,
    ):
        await connection.send(orjson.dumps({"type": "connection_init", "payload": {"apiKey": key}}).decode())
        acknowledged = await connection.recv()
        await connection.send('{"id": "1", "type": "subscribe", "payload": {"query": "{ me { role } }"}}')
        answer = await connection.recv()

    assert acknowledged == '{"type":"connection_ack"}'
    assert isinstance(answer, str)
    assert orjson.loads(answer)["payload"]["data"] == {"me": {"role": "admin"}}


async def test_server_name_is_not_told(wire: httpx.AsyncClient) -> None:
    assert "server" not in (await wire.get("/api/health")).headers
