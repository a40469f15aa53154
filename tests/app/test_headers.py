"""Headers of every answer: security, budget, session, request id."""

from __future__ import annotations

import time
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.headers import session_cookie
from schema.kernel.database import Database
from schema.kernel.ports import RateBudget
from tests.app.site import PASSWORD, SCAN, Site, Tenant, copy_sqlite, open_site

BUDGET_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: headers do not depend on the database."""
    return copy_sqlite(sqlite_template, tmp_path)


def budget_of(response: httpx.Response) -> tuple[int, int]:
    reset = int(response.headers["x-ratelimit-reset"])
    assert time.time() - 1 < reset <= time.time() + 301
    return int(response.headers["x-ratelimit-limit"]), int(response.headers["x-ratelimit-remaining"])


async def test_t80_security_headers(client: httpx.AsyncClient) -> None:
    headers = (await client.get("/api/health")).headers

    assert {name: headers[name] for name in headers if not name.startswith(("x-ratelimit", "x-request"))} == {
        "content-type": "application/json",
        "content-length": "15",
        "cache-control": "no-store",
        "content-security-policy": ("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/health", 200),
        ("GET", "/api/me", 200),
        ("GET", "/api/scans?limit=999", 400),
        ("GET", "/api/scans/scn-missing", 404),
        ("GET", "/api/nothing", 404),
        ("PUT", "/api/scans", 405),
        ("GET", "/graphql", 400),
        ("PUT", "/graphql", 405),
    ],
)
async def test_every_answer_of_the_api_tells_the_budget(
    client: httpx.AsyncClient, tenant: Tenant, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path, headers=tenant.headers())

    assert response.status_code == status
    assert budget_of(response) == (600, 599)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/api/scans", "/graphql", "/api/nothing"])
async def test_anonymous_and_failed_credentials_share_the_budget_of_their_address(
    client: httpx.AsyncClient, path: str
) -> None:
    anonymous = await client.get(path)
    failed = await client.get(path, headers={"X-API-Key": "nonsense"})

    assert (budget_of(anonymous), budget_of(failed)) == ((600, 599), (600, 598))
    assert failed.status_code == 401


async def test_budget_headers_on_413_415_and_500(
    client: httpx.AsyncClient, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_args: Any, **_options: Any) -> Any:
        raise RuntimeError

    large = await client.post("/graphql", content=b"x" * 600_000, headers=tenant.headers())
    form = await client.post("/graphql", data={"query": "{ me }"}, headers=tenant.headers())
    monkeypatch.setattr("app.middleware.authenticate", crash)
    crashed = await client.get("/api/scans", headers=tenant.headers())

    assert [response.status_code for response in (large, form, crashed)] == [413, 415, 500]
    for response in (large, form, crashed):
        assert budget_of(response)[0] == 600


async def test_other_pages_have_no_budget(client: httpx.AsyncClient) -> None:
    for path in ("/metrics", "/schema.graphql", "/", "/static/graphiql/graphiql.js", "/nothing"):
        response = await client.get(path)
        assert not set(BUDGET_HEADERS) & set(response.headers)
        assert response.headers["content-security-policy"]


async def test_tightest_budget_is_told(client: httpx.AsyncClient, tenant: Tenant) -> None:
    made = await client.post("/api/scans", json=SCAN, headers=tenant.headers())
    listed = await client.get("/api/scans", headers=tenant.headers())

    assert budget_of(made) == (10, 9)
    assert budget_of(listed) == (600, 598)


async def test_family_limit_answers_429_with_retry_after(client: httpx.AsyncClient, tenant: Tenant) -> None:
    answers = [await client.post("/api/scans", json={}, headers=tenant.headers()) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [400] * 10 + [429]
    assert answers[-1].json()["error"]["message"] == "Too many requests"
    assert budget_of(answers[-1]) == (10, 0)
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 61  # whole seconds, rounded up
    assert "retry-after" not in answers[0].headers
    assert (await client.get("/api/scans", headers=tenant.headers())).status_code == 200


async def test_general_limit_is_per_credential(database: Database, tmp_path: Path) -> None:
    async with open_site(database, tmp_path, rate_limit_per_minute=3) as site, site.client() as client:
        one, other = await site.tenant("one"), await site.tenant("other")
        for _ in range(3):
            assert (await client.get("/api/me", headers=one.headers())).status_code == 200
        refused = await client.get("/api/me", headers=one.headers())
        graphql = await client.post("/graphql", json={"query": "{ me { role } }"}, headers=one.headers())
        unhurt = await client.get("/api/me", headers=other.headers())

    assert refused.json()["error"]["code"] == "RATE_LIMITED"
    assert (graphql.status_code, graphql.json()["errors"][0]["extensions"]["code"]) == (429, "RATE_LIMITED")
    assert unhurt.status_code == 200


async def test_guessing_credentials_ends_in_429_and_probes_go_on(database: Database, tmp_path: Path) -> None:
    async with open_site(database, tmp_path, rate_limit_per_minute=3) as site, site.client() as client:
        statuses = [
            (await client.get("/api/me", headers={"X-API-Key": "hg_ak_" + "0" * 48})).status_code for _ in range(5)
        ]
        anonymous = await client.get("/api/me")
        probe = await client.get("/api/health")

    assert statuses == [401, 401, 401, 429, 429]
    assert (anonymous.status_code, probe.status_code) == (429, 200)


async def test_address_comes_from_trusted_proxies_only(database: Database, tmp_path: Path) -> None:
    networks = (ip_network("192.0.2.0/24"),)
    async with open_site(database, tmp_path, trusted_proxies=networks) as site, site.client() as client:
        for address in ("198.51.100.1", "198.51.100.2"):
            response = await client.get("/api/nothing", headers={"X-Forwarded-For": address})
            assert budget_of(response) == (600, 599)


async def test_forwarded_address_of_anybody_else_is_ignored(client: httpx.AsyncClient) -> None:
    for expected in (599, 598):
        response = await client.get("/api/nothing", headers={"X-Forwarded-For": f"198.51.100.{expected % 256}"})
        assert budget_of(response) == (600, expected)


@pytest.mark.parametrize(
    ("settings", "headers", "secure"),
    [
        ({}, {}, False),
        ({"public_url": "http://scan.example"}, {}, False),
        ({"public_url": "https://scan.example"}, {}, True),
        ({}, {"X-Forwarded-Proto": "https"}, False),
        ({"trusted_proxies": (ip_network("192.0.2.0/24"),)}, {"X-Forwarded-Proto": "https"}, True),
        ({"trusted_proxies": (ip_network("192.0.2.0/24"),)}, {"X-Forwarded-Proto": "http"}, False),
    ],
)
async def test_https_means_hsts_and_a_secure_cookie(
    database: Database, tmp_path: Path, settings: dict[str, Any], headers: dict[str, str], *, secure: bool
) -> None:
    async with open_site(database, tmp_path, **settings) as site, site.client(headers=headers) as client:
        tenant = await site.tenant()
        response = await client.post("/api/auth/login", json={"email": tenant.email, "password": PASSWORD})

    assert ("strict-transport-security" in response.headers) is secure
    assert ("; Secure" in response.headers["set-cookie"]) is secure


def test_t14_session_cookie_is_out_of_reach_for_scripts_and_other_sites() -> None:
    assert session_cookie("a.b.c", 60, secure=True) == (
        "next-auth.session-token=a.b.c; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
    )


@pytest.mark.parametrize("path", ["/api/scans", "/graphql"])
async def test_cors_is_closed(client: httpx.AsyncClient, path: str) -> None:
    preflight = await client.options(
        path, headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    )
    simple = await client.get(path, headers={"Origin": "https://evil.example"})

    assert preflight.status_code == 405
    for response in (preflight, simple):
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("given", "kept"), [("build-77.a_B", True), ("x" * 129, False), ("a b", False), ("a\tb", False), ("", False)]
)
async def test_request_id_is_taken_when_it_is_sane(client: httpx.AsyncClient, given: str, *, kept: bool) -> None:
    response = await client.get("/api/nothing", headers={"X-Request-Id": given})

    assert (response.headers["x-request-id"] == given) is kept
    assert response.json()["error"]["requestId"] == response.headers["x-request-id"]
    assert response.headers["x-request-id"]


async def test_budget_is_not_touched_by_a_budget_of_the_same_name(site: Site, client: httpx.AsyncClient) -> None:
    """Families are told apart by name; the general one must not meet one of an operation."""
    await site.limiter.hit(RateBudget(family="scans.create", requests=10, seconds=60), "ip:192.0.2.7")

    assert budget_of(await client.get("/api/nothing")) == (600, 599)


@pytest.mark.parametrize(
    ("size", "closed"),
    [(10, False), (100_000, True)],
)
async def test_connection_is_closed_when_much_of_the_body_was_not_read(
    client: httpx.AsyncClient, tenant: Tenant, size: int, *, closed: bool
) -> None:
    refused = await client.post("/api/scans", content=b"x" * size)
    read = await client.post("/api/scans", content=b" " * size, headers=tenant.headers())

    assert (refused.status_code, read.status_code) == (401, 400)
    assert (refused.headers.get("connection") == "close") is closed
    assert "connection" not in read.headers
