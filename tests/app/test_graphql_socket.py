"""GraphQL over WebSocket: graphql-transport-ws, with the caller asked for at the start and at every operation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from app import graphql_view
from app.graphql_view import MAX_OPERATIONS_PER_SOCKET
from compat_rest.bodies import MAX_JSON_BYTES
from schema.execution import limits
from tests.app.site import SCAN, Site, Tenant, copy_sqlite

PROTOCOL = "graphql-transport-ws"
FOLLOW = "subscription($id: ID!) { scanProgress(id: $id) { status progress } }"


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: what is tested here does not depend on the database."""
    return copy_sqlite(sqlite_template, tmp_path)


class Closed(Exception):  # noqa: N818 -- an event, as the other side sees it
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Socket:
    """A WebSocket client that talks to the application directly, in the words of ASGI."""

    def __init__(self, site: Site, *, protocols: list[str], headers: dict[str, str]) -> None:
        scope = {
            "type": "websocket",
            "path": "/graphql",
            "raw_path": b"/graphql",
            "query_string": b"",
            "scheme": "ws",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "subprotocols": protocols,
            "client": ("192.0.2.7", 40_000),
            "server": ("test", 80),
        }
        self._to_app: asyncio.Queue[Any] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self._to_app.put_nowait({"type": "websocket.connect"})
        self.task = asyncio.ensure_future(site.app(scope, self._to_app.get, self._from_app.put))

    async def event(self) -> Any:
        async with asyncio.timeout(20):
            event = await self._from_app.get()
        if event["type"] == "websocket.close":
            raise Closed(event.get("code", 1000), event.get("reason") or "")
        return event

    async def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = orjson.loads((await self.event())["text"])
        return message

    def send(self, message: Any) -> None:
        text = message if isinstance(message, str) else orjson.dumps(message).decode()
        self._to_app.put_nowait({"type": "websocket.receive", "text": text})

    async def init(self, **payload: str) -> None:
        self.send({"type": "connection_init", "payload": payload})
        assert await self.receive() == {"type": "connection_ack"}

    def subscribe(self, query: str, number: str = "1", **variables: Any) -> None:
        payload = {"query": query, "variables": variables}
        self.send({"id": number, "type": "subscribe", "payload": payload})

    def leave(self) -> None:
        self._to_app.put_nowait({"type": "websocket.disconnect", "code": 1001})


@asynccontextmanager
async def connected(
    site: Site, *, protocols: list[str] | None = None, headers: dict[str, str] | None = None
) -> AsyncIterator[Socket]:
    socket = Socket(site, protocols=[PROTOCOL] if protocols is None else protocols, headers=headers or {})
    try:
        accepted = await socket.event()
        assert (accepted["type"], accepted["subprotocol"]) == ("websocket.accept", PROTOCOL)
        yield socket
    finally:
        socket.leave()
        async with asyncio.timeout(20):
            await socket.task


def bearer(tenant: Tenant) -> dict[str, str]:
    [key] = tenant.keys.values()
    return {"authorization": f"Bearer {key}"}


async def queued_scan(client: httpx.AsyncClient, tenant: Tenant) -> str:
    response = await client.post("/api/scans", json=SCAN, headers=tenant.headers())
    scan_id: str = response.json()["data"]["id"]
    return scan_id


async def cancel(client: httpx.AsyncClient, tenant: Tenant, scan_id: str) -> None:
    assert (await client.post(f"/api/scans/{scan_id}/cancel", headers=tenant.headers())).status_code == 200


async def test_subscription_follows_a_scan_to_its_end(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await queued_scan(client, tenant)
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        socket.subscribe(FOLLOW, id=scan_id)
        first = await socket.receive()
        await cancel(client, tenant, scan_id)
        second, end = await socket.receive(), await socket.receive()

    assert first == {
        "id": "1",
        "type": "next",
        "payload": {"data": {"scanProgress": {"status": "QUEUED", "progress": 0}}},
    }
    assert second["payload"]["data"]["scanProgress"]["status"] == "CANCELLED"
    assert end == {"id": "1", "type": "complete"}


async def test_query_and_mutation_run_on_a_socket_too(site: Site, tenant: Tenant) -> None:
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        socket.subscribe("mutation($i: TriggerScanInput!) { triggerScan(input: $i) { status } }", i=SCAN)
        made = [await socket.receive(), await socket.receive()]
        socket.subscribe("{ scans { meta { total } } }")
        found = [await socket.receive(), await socket.receive()]

    assert made[0]["payload"]["data"]["triggerScan"] == {"status": "QUEUED"}
    assert found[0]["payload"]["data"]["scans"]["meta"]["total"] == 1
    assert made[1] == found[1] == {"id": "1", "type": "complete"}


@pytest.mark.parametrize("name", ["apiKey", "x-api-key"])
async def test_key_may_stand_in_the_first_message(site: Site, tenant: Tenant, name: str) -> None:
    [key] = tenant.keys.values()
    async with connected(site) as socket:
        await socket.init(**{name: key})


@pytest.mark.parametrize("protocols", [[], ["graphql-ws"], ["chat"]])
async def test_t30_only_graphql_transport_ws_is_spoken(site: Site, protocols: list[str]) -> None:
    socket = Socket(site, protocols=protocols, headers={})
    await socket.event()

    with pytest.raises(Closed) as closed:
        await socket.event()
    await socket.task

    assert closed.value.code == 4406


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({}, 4401),
        ({"authorization": "Bearer nonsense"}, 4401),
        ({"authorization": "Bearer hg_ak_" + "0" * 48}, 4401),
        ({"authorization": "Basic YTpi"}, 4401),
        ({"authorization": "Bearer hg_ak_" + "0" * 48, "apiKey": "hg_ak_" + "0" * 48}, 4401),
    ],
)
async def test_t30_connection_without_a_good_credential_is_closed(
    site: Site, payload: dict[str, str], code: int
) -> None:
    async with connected(site) as socket:
        socket.send({"type": "connection_init", "payload": payload})
        with pytest.raises(Closed) as closed:
            await socket.receive()

    assert closed.value.code == code


async def test_t30_operation_before_init_is_closed(site: Site) -> None:
    async with connected(site) as socket:
        socket.subscribe("{ me { role } }")
        with pytest.raises(Closed) as closed:
            await socket.receive()

    assert closed.value.code == 4401


async def test_t30_init_has_to_come_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert graphql_view.INIT_SECONDS == 10
    view: Any = next(route for route in site.app.routes if getattr(route, "path", "") == "/graphql")
    monkeypatch.setattr(view.endpoint, "connection_init_wait_timeout", timedelta(seconds=0.01))

    async with connected(site) as socket:
        with pytest.raises(Closed) as closed:
            await socket.receive()

    assert closed.value.code == 4408


async def test_t30_operations_of_one_connection_are_limited(
    site: Site, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    scan_id = await queued_scan(client, tenant)
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        for number in range(MAX_OPERATIONS_PER_SOCKET + 1):
            socket.subscribe(FOLLOW, str(number), id=scan_id)
        answers = [await socket.receive() for _ in range(MAX_OPERATIONS_PER_SOCKET + 1)]

    assert [answer["id"] for answer in answers if answer["type"] == "error"] == [str(MAX_OPERATIONS_PER_SOCKET)]


async def test_t07_next_operation_of_a_revoked_key_is_refused(
    site: Site, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    made = await client.post("/api/api-keys", json={"name": "a"}, headers=tenant.headers())
    key = made.json()["data"]
    async with connected(site) as socket:
        await socket.init(authorization=f"Bearer {key['secret']}")
        await client.delete(f"/api/api-keys/{key['id']}", headers=tenant.headers())
        socket.subscribe("{ me { role } }")
        answer = await socket.receive()

    assert (answer["type"], answer["payload"][0]["extensions"]["code"]) == ("error", "UNAUTHORIZED")


async def test_t07_running_stream_of_a_revoked_key_ends(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await queued_scan(client, tenant)
    made = await client.post("/api/api-keys", json={"name": "a"}, headers=tenant.headers())
    key = made.json()["data"]
    async with connected(site) as socket:
        await socket.init(authorization=f"Bearer {key['secret']}")
        socket.subscribe(FOLLOW, id=scan_id)
        await socket.receive()
        await client.delete(f"/api/api-keys/{key['id']}", headers=tenant.headers())
        last = await socket.receive()  # the next look at the scan is at most two seconds away
        end = await socket.receive()

    assert last["payload"]["errors"][0]["extensions"]["code"] == "UNAUTHORIZED"
    assert end == {"id": "1", "type": "complete"}


async def test_t02_scan_of_another_organization_cannot_be_followed(
    site: Site, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    scan_id = await queued_scan(client, tenant)
    stranger = await site.tenant("stranger")
    async with connected(site) as socket:
        await socket.init(**bearer(stranger))
        answers = []
        for asked in (scan_id, "scn-missing"):
            socket.subscribe(FOLLOW, id=asked)
            answers.append(await socket.receive())
            assert (await socket.receive())["type"] == "complete"

    codes = [answer["payload"]["errors"][0]["extensions"]["code"] for answer in answers]
    assert codes == ["NOT_FOUND", "NOT_FOUND"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ me { ", "BAD_REQUEST"),
        ("{ me { rolle } }", "BAD_REQUEST"),
        ("{ scans { items { findings(limit: 200) { items { id } } } } }", "BAD_REQUEST"),
    ],
)
async def test_limits_hold_on_a_socket_too(site: Site, tenant: Tenant, query: str, code: str) -> None:
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        socket.subscribe(query)
        answer = await socket.receive()

    assert answer["type"] == "error"
    assert answer["payload"][0]["extensions"]["code"] == code
    assert "mean" not in answer["payload"][0]["message"]


async def test_t31_crash_on_a_socket_is_masked(site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_args: Any, **_options: Any) -> Any:
        msg = "detail of /srv/app"
        raise RuntimeError(msg)

    monkeypatch.setattr("schema.scans.repository.get_scan", crash)
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        for query in ('{ scan(id: "x") { id } }', 'subscription { scanProgress(id: "x") { id } }'):
            socket.subscribe(query)
            answer, end = await socket.receive(), await socket.receive()
            assert answer["payload"]["errors"][0]["extensions"]["code"] == "INTERNAL_ERROR"
            assert "/srv" not in str(answer)
            assert end["type"] == "complete"


async def test_budget_of_the_credential_counts_operations(site: Site, tenant: Tenant) -> None:
    [budget] = {view.endpoint.budget for view in site.app.routes if getattr(view, "path", "") == "/graphql"}  # type: ignore[attr-defined]
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        for _ in range(budget.requests):
            await site.limiter.hit(budget, await key_id(site))
        socket.subscribe("{ me { role } }")
        answer = await socket.receive()

    assert answer["payload"][0]["extensions"]["code"] == "RATE_LIMITED"


async def key_id(site: Site) -> str:
    async with site.database.read() as session:
        row = (await (await session.connection()).exec_driver_sql("SELECT id FROM api_keys")).one()
    return str(row[0])


async def test_t27_operation_that_takes_too_long_is_given_up(
    site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        monkeypatch.setattr(limits, "EXECUTION_SECONDS", 0.0)
        socket.subscribe("{ scans { items { id } } }")
        answer = await socket.receive()

    assert answer["payload"][0]["extensions"]["code"] == "TIMEOUT"


@pytest.mark.parametrize(("text", "code"), [("{", 4400), ("[]", 4400), ("x" * (MAX_JSON_BYTES + 1), 1009)])
async def test_message_that_is_none_closes_the_connection(site: Site, tenant: Tenant, text: str, code: int) -> None:
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        socket.send(text)
        with pytest.raises(Closed) as closed:
            await socket.receive()

    assert closed.value.code == code


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": 7},
        {"type": ["subscribe"]},
        {"type": "dance"},
        {"type": "complete"},
        {"type": "complete", "id": []},
        {"type": "subscribe", "id": {}, "payload": {"query": "{ __typename }"}},
        {"type": "subscribe", "id": "1"},
        {"type": "subscribe", "id": "1", "payload": []},
        {"type": "subscribe", "id": "1", "payload": {}},
        {"type": "subscribe", "id": "1", "payload": {"query": 7}},
        {"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "variables": []}},
        {"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }", "operationName": {}}},
    ],
)
async def test_message_of_another_form_closes_the_connection(site: Site, tenant: Tenant, message: Any) -> None:
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        socket.send(message)
        with pytest.raises(Closed) as closed:
            await socket.receive()

    assert closed.value.code == 4400


@pytest.mark.parametrize(
    ("origin", "accepted"), [("http://test", True), ("https://evil.example", False), ("null", False)]
)
async def test_pages_of_other_origins_cannot_connect(site: Site, origin: str, *, accepted: bool) -> None:
    socket = Socket(site, protocols=[PROTOCOL], headers={"origin": origin, "host": "test"})
    if accepted:
        assert (await socket.event())["type"] == "websocket.accept"
    else:
        with pytest.raises(Closed):
            await socket.event()
    socket.leave()
    await socket.task


async def test_session_cookie_counts_on_a_page_of_this_host(
    site: Site, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    await site.sign_in(client, tenant)
    [(name, value)] = client.cookies.items()
    headers = {"origin": "http://test", "host": "test", "cookie": f"{name}={value}"}
    async with connected(site, headers=headers) as socket:
        await socket.init()
        socket.subscribe("{ me { user { email } } }")
        answer = await socket.receive()

    assert answer["payload"]["data"]["me"]["user"]["email"] == tenant.email


async def test_stopped_operation_sends_nothing_more(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await queued_scan(client, tenant)
    async with connected(site) as socket:
        await socket.init(**bearer(tenant))
        socket.subscribe(FOLLOW, id=scan_id)
        await socket.receive()
        socket.send({"id": "1", "type": "complete"})
        socket.subscribe("{ me { role } }", "2")
        answers = [await socket.receive(), await socket.receive()]

    assert [answer["id"] for answer in answers] == ["2", "2"]
