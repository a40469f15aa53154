"""The client against a server that misbehaves: patient with what passes, clear about what does not."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from app.client import api as module
from app.client.answers import Created, One, Several
from app.client.api import Api, ApiError, connect
from schema.kernel.errors import HarborGuardError
from tests.processes import PATIENCE
from tests.simulators.certificates import new_authority
from tests.simulators.gateway import Gateway, gatewaying
from tests.simulators.registry import Fault, answering, cut_short, dripping, endless, hanging, serving

KEY = "hg_ak_" + "0" * 48
GOOD = answering(200, b'{"data": {"id": "scn-1"}}')


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with gatewaying() as gateway:
        yield gateway


@pytest.fixture
def gateway(shared: Gateway) -> Gateway:
    shared.reset()
    return shared


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.002)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
async def client(gateway: Gateway, told: list[str]) -> AsyncIterator[Api]:
    async with asyncio.timeout(PATIENCE), connect(gateway.url, KEY, tell=told.append) as client:
        yield client


async def get(client: Api) -> str:
    return (await client.get(One[Created], "/api/scans/scn-1")).data.id


PASSING: dict[str, Fault] = {
    "503": answering(503, b"<html>busy</html>"),
    "502": answering(502),
    "504": answering(504),
    "429": answering(429, b'{"error": {"code": "RATE_LIMITED", "message": "Too many requests"}}', retry_after="0"),
    "429, wrong Retry-After": answering(429, retry_after="soon"),
    "500": answering(500, b'{"error": {"code": "INTERNAL_ERROR", "message": "Something went wrong"}}'),
    "a page": answering(200, b"<html>maintenance</html>"),
    "no data": answering(200, b'{"data": null}'),
    "other data": answering(200, b'{"data": [1, 2]}'),
    "nothing": answering(204),
    "redirect": answering(302, location="http://example.invalid/"),
    "404 of a proxy": answering(404, b"<html>no such page</html>"),
    "deep": answering(200, b"[" * 100_000),
    "no text": answering(200, b"\xff\xfe"),
    "cut short": cut_short,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
async def test_what_passes_is_asked_again(client: Api, gateway: Gateway, told: list[str], fault: Fault) -> None:
    gateway.misbehave("/", _over(GOOD, fault), times=2)
    gateway.misbehave("/", GOOD)

    assert await get(client) == "scn-1"

    assert len(gateway.requests) == 3
    assert len(told) == 1
    assert {request.authorization for request in gateway.requests} == {f"Bearer {KEY}"}


def _over(honest: Fault, fault: Fault) -> Fault:
    """The fault, on an answer that has a body to be cut short."""
    return lambda response: fault(honest(response))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "BAD_REQUEST"), (401, "UNAUTHORIZED"), (403, "FORBIDDEN"), (404, "NOT_FOUND"), (413, "PAYLOAD_TOO_LARGE")],
)
async def test_a_refusal_is_final(client: Api, gateway: Gateway, status: int, code: str) -> None:
    gateway.misbehave("/", answering(status, json.dumps({"error": {"code": code, "message": "No"}}).encode()))

    with pytest.raises(ApiError, match=rf"No \({code}\)") as caught:
        await get(client)

    assert caught.value.status == status
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (answering(200, b"hello"), "no answer of HarborGuard"),
        (answering(500, b"oops"), "500 Internal Server Error"),
        (answering(599), "599"),
    ],
)
async def test_what_is_no_harborguard_is_given_up(client: Api, gateway: Gateway, fault: Fault, words: str) -> None:
    gateway.misbehave("/", fault)

    with pytest.raises(ApiError, match=words):
        await get(client)

    assert len(gateway.requests) == module.MAX_ODD_ANSWERS


async def test_a_busy_server_is_asked_for_as_long_as_the_caller_likes(client: Api, gateway: Gateway) -> None:
    gateway.misbehave("/", answering(503), times=5 * module.MAX_ODD_ANSWERS)
    gateway.misbehave("/", GOOD)

    assert await get(client) == "scn-1"


@pytest.mark.parametrize("fault", [hanging, _over(answering(200, b"x" * 500), dripping)], ids=["silent", "dripping"])
async def test_an_answer_that_does_not_come_is_asked_for_again(
    client: Api, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    gateway.misbehave("/", fault, times=1)
    gateway.misbehave("/", GOOD)

    assert await get(client) == "scn-1"


async def test_an_answer_without_end_is_refused(client: Api, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1_000_000)
    gateway.misbehave("/", _over(GOOD, endless))

    with pytest.raises(ApiError, match="larger than 1000000 bytes"):
        await client.download("/api/scans/scn-1/export", format="sarif")


async def test_a_server_that_is_not_there_yet(told: list[str]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    async with connect(url, KEY, tell=told.append) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await get(client)
    assert "no connection" in told[0]


async def test_a_certificate_nobody_vouches_for_is_final(tmp_path: Path, told: list[str]) -> None:
    certificate = new_authority(tmp_path).issue("localhost")
    with serving(certificate=certificate) as stage:
        async with connect(f"https://{stage.address}", KEY, tell=told.append) as client:
            with pytest.raises(ApiError, match="SSL_CERT_FILE"):
                await get(client)
    assert told == []


async def test_the_same_key_goes_with_every_attempt(client: Api, gateway: Gateway, tmp_path: Path) -> None:
    """So that what was lost on the way is not done twice, and the archive is sent from its beginning each time."""
    archive = tmp_path / "image.tar"
    archive.write_bytes(bytes(range(256)) * 10_000)
    gateway.misbehave("/", answering(503, retry_after="0"), times=2)
    gateway.misbehave("/", GOOD)

    await client.upload(One[Created], "/api/images/upload", archive, idempotency_key="once", image="acme/api:1")

    assert [request.headers["idempotency-key"] for request in gateway.requests] == ["once"] * 3
    assert {request.headers["content-length"] for request in gateway.requests} == {str(archive.stat().st_size)}
    assert {request.query for request in gateway.requests} == {"image=acme%2Fapi%3A1"}


def test_retry_after_is_seconds_or_a_date() -> None:
    def after(value: str) -> float | None:
        return module._retry_after(httpx.Response(503, headers={"Retry-After": value}))

    assert after("7") == 7
    assert after("9" * 400) == 999_999_999
    later = after(format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True))
    assert later is not None
    assert 3_000 < later < 4_000
    assert after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nonsense in ("", "-1", "soon", "1.5", "Wed, 21 Oct 2015 07:28:00"):
        assert after(nonsense) is None


@pytest.mark.parametrize(
    "url", ["harborguard.example", "ftp://x", "https://", "http://x:port", "https://user:secret@x"]
)
async def test_what_is_no_address(url: str) -> None:
    with pytest.raises(HarborGuardError, match="address") as caught:
        async with connect(url, KEY, tell=print):
            pass
    assert caught.value.message.startswith(("The address", repr(url)))


@pytest.mark.parametrize("key", ["", "a key", "hg_ak_1\nX-Evil: 1", "schlüssel"])
async def test_what_is_no_key(key: str) -> None:
    with pytest.raises(HarborGuardError, match="API key"):
        async with connect("http://127.0.0.1", key, tell=print):
            pass


async def test_a_list_is_a_page(client: Api, gateway: Gateway) -> None:
    page = {"data": [{"id": "a"}], "meta": {"total": 10_000, "totalIsExact": False, "hasNext": True}, "links": {}}
    gateway.misbehave("/", answering(200, json.dumps(page).encode()))

    answer = await client.get(Several[Created], "/api/scans", page=1)

    assert [each.id for each in answer.data] == ["a"]
    assert answer.meta.total_is_exact is False
