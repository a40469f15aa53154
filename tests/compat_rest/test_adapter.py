"""What a REST route does beside its operation: the order of checks, envelopes, errors, bodies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from compat_rest.bodies import MAX_JSON_BYTES
from compat_rest.envelopes import STATUS_OF
from schema.execution import limits
from schema.kernel.errors import ErrorCode
from schema.kernel.principal import Role
from tests.compat_rest.notebook import BUDGET, MAX_UPLOAD_BYTES, NUMBERS, Notebook, good_note, principal

JSON = {"content-type": "application/json"}
TAR = {"content-type": "application/x-tar"}


def error_of(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) <= {"code", "message", "issues", "requestId"}
    assert error["requestId"] == "req-1"
    return response.status_code, error["code"]


async def test_single_answer_is_wrapped(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes/note-7")

    assert response.status_code == 200
    assert response.json() == {
        "data": {"id": "note-7", "title": "A note", "colour": "RED", "writtenAt": None},
    }


async def test_page_is_wrapped_with_meta_and_links(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes?limit=50&colour=RED,GREEN")

    body = response.json()
    assert len(body["data"]) == 50
    assert body["data"][0] == {"id": "note-0", "title": "A note"}
    assert body["meta"] == {
        "page": 1,
        "pageSize": 50,
        "total": 312,
        "totalPages": 7,
        "hasNext": True,
        "hasPrev": False,
    }
    assert body["links"] == {
        "self": "/api/notes?page=1&limit=50&colour=RED,GREEN",
        "next": "/api/notes?page=2&limit=50&colour=RED,GREEN",
    }


async def test_links_of_a_page_lead_through_the_whole_list(client: httpx.AsyncClient) -> None:
    seen, link = [], "/api/notes?limit=100"
    while link:
        body = (await client.get(link)).json()
        seen += [item["id"] for item in body["data"]]
        link = body["links"].get("next")

    assert seen == [f"note-{number}" for number in range(312)]
    assert (await client.get(body["links"]["prev"])).json()["meta"]["page"] == 3


async def test_nested_page_and_list_are_found_below_the_root(client: httpx.AsyncClient) -> None:
    page = (await client.get("/api/notes/note-7/pages?limit=2")).json()
    tags = (await client.get("/api/notes/note-7/tags")).json()

    assert page["data"] == [{"id": "note-0"}, {"id": "note-1"}]
    assert page["links"]["next"] == "/api/notes/note-7/pages?page=2&limit=2"
    assert tags["data"] == ["a", "b"]
    assert tags["meta"]["total"] == 2


async def test_create_has_its_status_location_and_additions(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/notes", json=good_note())

    assert response.status_code == 202
    assert response.headers["location"] == "/api/notes/note-1"
    assert response.json() == {
        "data": {"id": "note-1", "title": "A note", "message": "Written", "url": "/notes/note-1"}
    }


async def test_delete_answers_nothing(client: httpx.AsyncClient, notebook: Notebook) -> None:
    notebook.caller = principal(Role.ADMIN)

    response = await client.delete("/api/notes/note-7")

    assert (response.status_code, response.content) == (204, b"")


async def test_download_is_an_attachment_with_a_name(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes/note-7/attachments/GREEN")

    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-disposition"] == 'attachment; filename="note-7-GREEN.json"'
    assert response.json() == {"colour": "GREEN"}


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/notes/note-1"), ("GET", "/api/notes")])
async def test_head_is_allowed_where_get_is(client: httpx.AsyncClient, method: str, path: str) -> None:
    head, full = await client.head(path), await client.request(method, path)

    assert (head.status_code, head.headers["content-length"]) == (200, full.headers["content-length"])


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/notes", "GET, HEAD, POST"),
        ("PATCH", "/api/notes/note-1", "DELETE, GET, HEAD"),
        ("GET", "/api/notes/send", "POST"),
        ("OPTIONS", "/api/notes", "GET, HEAD, POST"),
        ("POST", "/api/notes/note-1/events", "GET"),
        ("BREW", "/api/knock", "POST"),
    ],
)
async def test_other_methods_are_refused_with_allow(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)

    assert response.headers["allow"] == allowed
    assert error_of(response) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.VALIDATION_ERROR])
async def test_every_code_a_resolver_raises_has_its_status(client: httpx.AsyncClient, code: ErrorCode) -> None:
    response = await client.get(f"/api/notes/broken-{code}")

    assert error_of(response) == (STATUS_OF[code], code.value)
    assert response.json()["error"]["message"] == f"It is {code}"


async def test_t31_unexpected_error_is_opaque(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes/broken-CRASH")

    assert error_of(response) == (500, "INTERNAL_ERROR")
    assert "secret detail" not in response.text
    assert "/srv" not in response.text


async def test_missing_one_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/notes/nope-1")

    assert error_of(response) == (404, "NOT_FOUND")
    assert response.json()["error"]["message"] == "Note not found"


# A request in which everything is wrong, then each fault repaired in the order of the contract.
ORDER: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("authentication", {"caller": None, "spent": True, "body": b"{}"}, (401, "UNAUTHORIZED")),
    ("rate limit", {"caller": Role.VIEWER, "spent": True, "body": b"{}"}, (429, "RATE_LIMITED")),
    ("permission", {"caller": Role.VIEWER, "spent": False, "body": b"{}"}, (403, "FORBIDDEN")),
    ("validation", {"caller": Role.DEVELOPER, "spent": False, "body": b"{}"}, (400, "VALIDATION_ERROR")),
    (
        "plan",
        {"caller": Role.DEVELOPER, "spent": False, "body": b'{"title": "quota", "colours": ["RED"]}'},
        (402, "PLAN_LIMIT"),
    ),
    (
        "conflict",
        {"caller": Role.DEVELOPER, "spent": False, "body": b'{"title": "taken", "colours": ["RED"]}'},
        (409, "CONFLICT"),
    ),
]


@pytest.mark.parametrize(("state", "expected"), [(state, expected) for _, state, expected in ORDER])
async def test_checks_come_in_the_order_of_the_contract(
    client: httpx.AsyncClient, notebook: Notebook, state: dict[str, Any], expected: tuple[int, str]
) -> None:
    notebook.caller = None if state["caller"] is None else principal(state["caller"])
    if state["spent"]:
        notebook.budgets.used = {(BUDGET.family, "key-1"): BUDGET.requests, (BUDGET.family, "ip:192.0.2.7"): 99}

    response = await client.post("/api/notes", content=state["body"], headers=JSON)

    assert error_of(response) == expected


async def test_validation_comes_before_existence(client: httpx.AsyncClient) -> None:
    assert error_of(await client.get("/api/notes/nope-1/pages?limit=999")) == (400, "BAD_REQUEST")
    assert error_of(await client.get("/api/notes/nope-1/pages?limit=9")) == (404, "NOT_FOUND")


async def test_budget_is_charged_once_per_request(client: httpx.AsyncClient, notebook: Notebook) -> None:
    for _ in range(BUDGET.requests):
        assert (await client.post("/api/notes", json=good_note())).status_code == 202

    assert error_of(await client.post("/api/notes", json=good_note())) == (429, "RATE_LIMITED")
    assert notebook.budgets.used == {(BUDGET.family, "key-1"): BUDGET.requests + 1}
    assert len(NUMBERS) == BUDGET.requests


async def test_public_route_takes_anonymous_callers(client: httpx.AsyncClient, notebook: Notebook) -> None:
    notebook.caller = None

    assert (await client.post("/api/knock", json={"street": "Elm"})).status_code == 204


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b"", JSON, (400, "BAD_REQUEST")),
        (b"  \n", JSON, (400, "BAD_REQUEST")),
        (b"{", JSON, (400, "BAD_REQUEST")),
        (b"[]", JSON, (400, "BAD_REQUEST")),
        (b'"x"', JSON, (400, "BAD_REQUEST")),
        (b"null", JSON, (400, "BAD_REQUEST")),
        (b'{"title": NaN}', JSON, (400, "BAD_REQUEST")),
        (b'{"title": "\xff"}', JSON, (400, "BAD_REQUEST")),
        (b'{"title": "\\ud800"}', JSON, (400, "BAD_REQUEST")),
        (b"[" * 100_000, JSON, (400, "BAD_REQUEST")),
        (b"{}", {"content-type": "text/plain"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {"content-type": "application/x-www-form-urlencoded"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {**JSON, "content-encoding": "gzip"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        (b"{}", {"content-type": "application/json; charset=utf-8"}, (400, "VALIDATION_ERROR")),
        (b"{}", {"content-type": "Application/JSON"}, (400, "VALIDATION_ERROR")),
    ],
)
async def test_bodies_that_are_no_json_object(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert error_of(await client.post("/api/knock", content=content, headers=headers)) == expected


async def chunks(total: int, sent: list[int], size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, total, size):
        sent.append(min(size, total - start))
        yield b"[" * sent[-1]


@pytest.mark.parametrize("declared", [True, False])
async def test_t20_large_json_is_refused_before_it_is_parsed(client: httpx.AsyncClient, *, declared: bool) -> None:
    sent: list[int] = []
    total = 2 * MAX_JSON_BYTES
    headers = {**JSON, "content-length": str(total)} if declared else JSON

    response = await client.post("/api/knock", content=chunks(total, sent), headers=headers)

    assert error_of(response) == (413, "PAYLOAD_TOO_LARGE")
    # Not a byte was asked for, or no more than it took to see that it is too much.
    assert sum(sent) <= (0 if declared else MAX_JSON_BYTES + 2 * 64 * 1024)


async def test_body_of_the_largest_allowed_size_is_read(client: httpx.AsyncClient) -> None:
    content = b'{"street": "Elm"}'.ljust(MAX_JSON_BYTES)

    assert (await client.post("/api/knock", content=content, headers=JSON)).status_code == 204


async def test_upload_is_streamed_to_the_operation(client: httpx.AsyncClient, notebook: Notebook) -> None:
    sent: list[int] = []

    response = await client.post("/api/notes/send?name=big", content=chunks(900_000, sent), headers=TAR)

    assert (response.status_code, response.json()["data"]) == (201, {"id": "note-big", "title": "900000"})
    assert len(notebook.blobs.kept["org-1"]) == 900_000


@pytest.mark.parametrize("declared", [True, False])
async def test_upload_over_the_limit_is_cut_off_and_nothing_is_kept(
    client: httpx.AsyncClient, notebook: Notebook, *, declared: bool
) -> None:
    sent: list[int] = []
    total = 50 * MAX_UPLOAD_BYTES
    headers = {**TAR, "content-length": str(total)} if declared else TAR

    response = await client.post("/api/notes/send?name=big", content=chunks(total, sent), headers=headers)

    assert error_of(response) == (413, "PAYLOAD_TOO_LARGE")
    assert sum(sent) < 2 * MAX_UPLOAD_BYTES
    assert notebook.blobs.kept == {}


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/api/notes/send?name=a", JSON, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("/api/notes/send?name=a", {}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("/api/notes/send?name=a", {**TAR, "content-encoding": "gzip"}, (415, "UNSUPPORTED_MEDIA_TYPE")),
        ("/api/notes/send", TAR, (400, "BAD_REQUEST")),
    ],
)
async def test_upload_that_is_no_archive_is_refused(
    client: httpx.AsyncClient, notebook: Notebook, path: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    assert error_of(await client.post(path, content=b"x", headers=headers)) == expected
    assert notebook.blobs.kept == {}


async def test_upload_whose_sender_goes_away_keeps_nothing(notebook: Notebook) -> None:
    incoming = iter([{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/notes/send",
        "query_string": b"name=a",
        "headers": [(b"content-type", b"application/x-tar")],
    }
    await notebook(scope, receive, send)

    assert sent[0]["status"] == 400
    assert notebook.blobs.kept == {}


async def test_operation_that_takes_too_long_is_given_up(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXECUTION_SECONDS", 0.05)

    async with asyncio.timeout(20):
        assert error_of(await client.get("/api/notes/slow")) == (504, "TIMEOUT")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_idempotency_key_has_to_be_one(client: httpx.AsyncClient, key: str) -> None:
    response = await client.post("/api/notes", json=good_note(), headers={"idempotency-key": key})

    assert error_of(response) == (400, "BAD_REQUEST")


async def test_idempotency_key_is_ignored_where_nothing_is_created(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/knock", json={"street": "Elm"}, headers={"idempotency-key": "k" * 300})

    assert response.status_code == 204
