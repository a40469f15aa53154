"""The documented REST contract, from outside, on the real schema and both databases."""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from schema.kernel.errors import ErrorCode
from schema.kernel.principal import Role
from schema.scans import repository as scans
from schema.scans.models import Engine
from tests.app.site import MAX_UPLOAD_BYTES, PASSWORD, SCAN, Site, Tenant, on_sqlite

TAR = {"content-type": "application/x-tar"}


def error_of(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert error["requestId"] == response.headers["x-request-id"]
    return response.status_code, error["code"], error["message"]


async def trigger(client: httpx.AsyncClient, tenant: Tenant, **changes: Any) -> str:
    response = await client.post("/api/scans", json={**SCAN, **changes}, headers=tenant.headers())
    assert response.status_code == 202, response.text
    scan_id: str = response.json()["data"]["id"]
    return scan_id


async def test_trigger_answers_as_documented(client: httpx.AsyncClient, tenant: Tenant) -> None:
    response = await client.post("/api/scans", json=SCAN, headers=tenant.headers())

    data = response.json()["data"]
    scan_id = data["id"]
    assert response.status_code == 202
    assert re.fullmatch(r"scn-[0-9a-v]{26}", scan_id)
    assert response.headers["location"] == f"/api/scans/{scan_id}/status"
    assert data == {
        "id": scan_id,
        "scanId": scan_id,
        "status": "QUEUED",
        "message": "Scan queued for execution",
        "statusUrl": f"/api/scans/{scan_id}/status",
        "url": f"/dashboard/scans/{scan_id}",
    }
    status = await client.get(data["statusUrl"], headers=tenant.headers())
    assert (status.json()["data"]["scanId"], status.json()["data"]["status"]) == (scan_id, "QUEUED")


@on_sqlite
async def test_trigger_names_everything_that_is_wrong(client: httpx.AsyncClient, tenant: Tenant) -> None:
    response = await client.post("/api/scans", json={"scanners": []}, headers=tenant.headers())

    assert response.status_code == 400
    assert response.json()["error"] == {
        "code": "VALIDATION_ERROR",
        "message": "image: Required, scanners: must contain at least 1 element",
        "issues": [
            {"path": "image", "message": "Required"},
            {"path": "scanners", "message": "must contain at least 1 element"},
        ],
        "requestId": response.headers["x-request-id"],
    }


@on_sqlite
async def test_unknown_scanner_lists_the_allowed_ones(client: httpx.AsyncClient, tenant: Tenant) -> None:
    response = await client.post("/api/scans", json={**SCAN, "scanners": ["nmap"]}, headers=tenant.headers())

    assert error_of(response) == (
        400,
        "VALIDATION_ERROR",
        "scanners.0: must be one of trivy, grype, syft, dockle, osv, dive",
    )


async def test_list_of_scans_has_the_documented_form(client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await trigger(client, tenant)

    body = (await client.get("/api/scans?page=1&limit=50", headers=tenant.headers())).json()

    [item] = body["data"]
    assert item["id"] == scan_id
    assert {"tagId", "status", "compliance", "riskScore", "duration", "scannedAt"} <= set(item)
    assert (item["image"], item["scanners"]) == ("ghcr.io/acme/api:1.4.7", ["trivy", "grype"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", item["createdAt"])
    assert body["meta"] == {
        "page": 1,
        "pageSize": 50,
        "total": 1,
        "totalPages": 1,
        "hasNext": False,
        "hasPrev": False,
    }
    assert body["links"] == {"self": "/api/scans?page=1&limit=50"}


async def test_pages_of_scans_are_linked(client: httpx.AsyncClient, tenant: Tenant) -> None:
    made = [await trigger(client, tenant) for _ in range(5)]
    link, seen = "/api/scans?limit=2&status=PENDING&sort=nonsense:desc", []
    while link:
        body = (await client.get(link, headers=tenant.headers())).json()
        seen += [item["id"] for item in body["data"]]
        assert body["meta"]["total"] == 5
        link = body["links"].get("next")

    assert seen == made[::-1]
    assert body["links"]["self"] == "/api/scans?page=3&limit=2&status=PENDING&sort=nonsense:desc"


@on_sqlite
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=200", 200),
        ("limit=201", 400),
        ("limit=0", 400),
        ("limit=ten", 400),
        ("page=0", 400),
        ("status=COMPLETE,FAILED", 200),
        ("status=PENDING", 200),
        ("status=DONE", 400),
        ("sort=unknown:desc", 200),
        ("sort=", 200),
        ("q=nginx", 400),
        ("search=%00", 400),
        ("search=" + "x" * 300, 400),
    ],
)
async def test_query_rules(client: httpx.AsyncClient, tenant: Tenant, query: str, status: int) -> None:
    response = await client.get(f"/api/scans?{query}", headers=tenant.headers())

    assert response.status_code == status
    if status == 400:
        assert error_of(response)[1] == "BAD_REQUEST"


async def test_parts_of_a_scan(client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await trigger(client, tenant)

    for part in ("findings", "packages", "layers", "engines", "logs"):
        body = (await client.get(f"/api/scans/{scan_id}/{part}", headers=tenant.headers())).json()
        assert set(body) == {"data", "meta", "links"}
        assert body["meta"]["total"] == len(body["data"])
        assert body["links"]["self"].startswith(f"/api/scans/{scan_id}/{part}")
    detail = (await client.get(f"/api/scans/{scan_id}", headers=tenant.headers())).json()["data"]
    assert [run["engine"] for run in detail["engines"]] == ["trivy", "grype"]


async def test_raw_output_of_an_engine_is_a_download(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    scan_id = await trigger(client, tenant)
    async with site.database.write() as session:
        run_id = await scans.engine_run_id(session, tenant.organization_id, scan_id, Engine.TRIVY)
        await scans.keep_engine_output(
            session, tenant.organization_id, run_id, media_type="application/json", content=zlib.compress(b'{"a": 1}')
        )

    found = await client.get(f"/api/scans/{scan_id}/engines/trivy/raw", headers=tenant.headers())
    absent = await client.get(f"/api/scans/{scan_id}/engines/grype/raw", headers=tenant.headers())
    unknown = await client.get(f"/api/scans/{scan_id}/engines/nmap/raw", headers=tenant.headers())

    assert (found.headers["content-type"], found.json()) == ("application/json", {"a": 1})
    assert found.headers["content-disposition"] == f'attachment; filename="{scan_id}-trivy.json"'
    assert (absent.status_code, unknown.status_code) == (404, 404)


async def test_cancel_then_delete(client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await trigger(client, tenant)
    headers = tenant.headers()

    running = await client.delete(f"/api/scans/{scan_id}", headers=headers)
    cancelled = await client.post(f"/api/scans/{scan_id}/cancel", headers=headers)
    again = await client.post(f"/api/scans/{scan_id}/cancel", headers=headers)
    deleted = await client.delete(f"/api/scans/{scan_id}", headers=headers)
    gone = await client.get(f"/api/scans/{scan_id}", headers=headers)

    assert error_of(running)[:2] == (409, "CONFLICT")
    assert cancelled.json()["data"]["status"] == "CANCELLED"
    assert error_of(again)[:2] == (409, "CONFLICT")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert error_of(gone) == (404, "NOT_FOUND", "Scan not found")


async def test_events_of_a_scan_that_has_ended(client: httpx.AsyncClient, tenant: Tenant) -> None:
    scan_id = await trigger(client, tenant)
    await client.post(f"/api/scans/{scan_id}/cancel", headers=tenant.headers())

    response = await client.get(f"/api/scans/{scan_id}/events", headers=tenant.headers())

    assert response.headers["content-type"].startswith("text/event-stream")
    assert '"status":"CANCELLED"' in response.text
    assert response.text.rstrip().endswith("event: end\ndata: {}")


async def test_upload_and_scan_it(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    content = b"x" * 200_000

    response = await client.post(
        "/api/images/upload?image=acme/api:1.4.7", content=content, headers={**tenant.headers(), **TAR}
    )
    data = response.json()["data"]
    scan_id = await trigger(client, tenant, image=data["image"], uploadId=data["id"])

    assert response.status_code == 201
    assert (data["image"], data["sizeBytes"]) == ("docker.io/acme/api:1.4.7", len(content))
    assert [path.read_bytes() for path in site.uploads.rglob("*") if path.is_file()] == [content]
    assert scan_id


@on_sqlite
@pytest.mark.parametrize("declared", [True, False])
async def test_upload_over_the_limit_leaves_nothing_behind(
    client: httpx.AsyncClient, site: Site, tenant: Tenant, *, declared: bool
) -> None:
    async def content() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * (MAX_UPLOAD_BYTES // 2)

    headers = {**tenant.headers(), **TAR, **({"content-length": str(2 * MAX_UPLOAD_BYTES)} if declared else {})}
    response = await client.post("/api/images/upload?image=acme/api:1", content=content(), headers=headers)

    assert error_of(response)[:2] == (413, "PAYLOAD_TOO_LARGE")
    assert [path for path in site.uploads.rglob("*") if path.is_file()] == []


async def test_keys_are_made_listed_used_and_revoked(client: httpx.AsyncClient, tenant: Tenant) -> None:
    made = await client.post("/api/api-keys", json={"name": "pipeline"}, headers=tenant.headers())
    key = made.json()["data"]
    listed = (await client.get("/api/api-keys?sort=name:asc", headers=tenant.headers())).json()
    one = (await client.get(f"/api/api-keys/{key['id']}", headers=tenant.headers())).json()["data"]
    bearer = {"Authorization": f"Bearer {key['secret']}"}

    assert (made.status_code, made.headers["location"]) == (201, f"/api/api-keys/{key['id']}")
    assert (key["role"], key["prefix"]) == ("ci", key["secret"][:10])
    assert "secret" not in one
    assert [item["name"] for item in listed["data"]] == ["admin", "pipeline"]
    assert (await client.get("/api/me", headers=bearer)).json()["data"]["role"] == "ci"
    assert (await client.delete(f"/api/api-keys/{key['id']}", headers=tenant.headers())).status_code == 204
    assert error_of(await client.get("/api/me", headers=bearer))[:2] == (401, "UNAUTHORIZED")


async def test_session_signs_in_and_out(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    browser = {"X-HarborGuard-Client": "test"}
    await site.sign_in(client, tenant)

    me = await client.get("/api/me")
    without_header = await client.post("/api/personal-access-tokens", json={"name": "laptop"})
    token = await client.post("/api/personal-access-tokens", json={"name": "laptop"}, headers=browser)
    out = await client.post("/api/auth/logout", headers=browser)

    assert me.json()["data"]["user"]["email"] == tenant.email
    assert error_of(without_header)[:2] == (403, "FORBIDDEN")
    assert token.status_code == 201
    assert (out.status_code, "Max-Age=0" in out.headers["set-cookie"]) == (204, True)
    assert (await client.get("/api/me")).status_code == 401


@on_sqlite
async def test_wrong_password_is_unauthorized(client: httpx.AsyncClient, tenant: Tenant) -> None:
    response = await client.post("/api/auth/login", json={"email": tenant.email, "password": PASSWORD + "!"})

    assert error_of(response)[:2] == (401, "UNAUTHORIZED")
    assert "set-cookie" not in response.headers


async def test_same_idempotency_key_gives_the_same_answer(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {**tenant.headers(), "Idempotency-Key": "build-77"}

    first = await client.post("/api/scans", json=SCAN, headers=headers)
    second = await client.post("/api/scans", json=dict(reversed(SCAN.items())), headers=headers)
    other = await client.post("/api/scans", json={**SCAN, "force": True}, headers=headers)

    assert (first.status_code, second.status_code) == (202, 202)
    assert (first.json(), first.headers["location"]) == (second.json(), second.headers["location"])
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert error_of(other)[:2] == (409, "CONFLICT")
    assert (await client.get("/api/scans", headers=tenant.headers())).json()["meta"]["total"] == 1


async def test_t12_kept_answer_to_a_new_key_is_sealed(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    headers = {**tenant.headers(), "Idempotency-Key": "k"}
    first = await client.post("/api/api-keys", json={"name": "a"}, headers=headers)
    second = await client.post("/api/api-keys", json={"name": "a"}, headers=headers)

    async with site.database.read() as session:
        kept = (await (await session.connection()).exec_driver_sql("SELECT data FROM idempotent_answers")).all()

    secret = first.json()["data"]["secret"]
    assert second.json()["data"]["secret"] == secret
    assert len(kept) == 1
    assert secret not in str(kept)


async def test_failed_create_can_be_tried_again_with_its_key(client: httpx.AsyncClient, tenant: Tenant) -> None:
    headers = {**tenant.headers(), "Idempotency-Key": "k"}
    bad = {**SCAN, "uploadId": "upl-missing"}

    assert (await client.post("/api/scans", json=bad, headers=headers)).status_code == 404
    assert (await client.post("/api/scans", json=SCAN, headers=headers)).status_code == 202


async def test_t02_rows_of_another_organization_are_not_found(client: httpx.AsyncClient, site: Site) -> None:
    ours, theirs = await site.tenant("ours"), await site.tenant("theirs")
    scan_id = await trigger(client, ours)

    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/status"),
        ("POST", "/cancel"),
        ("GET", "/findings"),
        ("GET", "/packages"),
        ("GET", "/layers"),
        ("GET", "/engines"),
        ("GET", "/engines/trivy/raw"),
        ("GET", "/logs"),
        ("GET", "/events"),
    ):
        foreign = await client.request(method, f"/api/scans/{scan_id}{path}", headers=theirs.headers())
        missing = await client.request(method, f"/api/scans/scn-missing{path}", headers=theirs.headers())
        assert error_of(foreign) == error_of(missing) == (404, "NOT_FOUND", "Scan not found")


@on_sqlite
@pytest.mark.parametrize(
    ("role", "method", "path", "status"),
    [
        (Role.VIEWER, "GET", "/api/scans", 200),
        (Role.VIEWER, "POST", "/api/scans", 403),
        (Role.CI, "POST", "/api/scans", 202),
        (Role.CI, "DELETE", "/api/scans/scn-missing", 403),
        (Role.DEVELOPER, "POST", "/api/scans/scn-missing/cancel", 404),
        (Role.DEVELOPER, "GET", "/api/api-keys", 403),
        (Role.CI, "GET", "/api/personal-access-tokens", 403),
    ],
)
async def test_t03_permissions_decide(
    client: httpx.AsyncClient, site: Site, role: Role, method: str, path: str, status: int
) -> None:
    tenant = await site.tenant("acme", role)

    response = await client.request(method, path, headers=tenant.headers(role), json=SCAN if method == "POST" else None)

    assert response.status_code == status


@on_sqlite
@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "hg_ak_" + "0" * 48},
        {"X-API-Key": "nonsense"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer hg_pat_" + "0" * 48, "X-API-Key": "hg_ak_" + "0" * 48},
    ],
)
@pytest.mark.parametrize("path", ["/api/scans", "/api/nothing", "/api/health"])
async def test_bad_credential_is_unauthorized_everywhere(
    client: httpx.AsyncClient, headers: dict[str, str], path: str
) -> None:
    response = await client.get(path, headers=headers)

    assert error_of(response)[:2] == (401, "UNAUTHORIZED")
    assert response.headers["www-authenticate"] == "Bearer"


@on_sqlite
@pytest.mark.parametrize("path", ["/api/nothing", "/api/scans/", "/api//scans", "/nothing", "/static/nothing", "/api"])
async def test_unknown_paths_are_not_found(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)

    assert error_of(response) == (404, "NOT_FOUND", "Not found")


@on_sqlite
@pytest.mark.parametrize("path", ["/api/health", "/api/ready", "/metrics", "/schema.graphql", "/", "/static/x"])
async def test_pages_are_only_read(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path)

    assert error_of(response)[:2] == (405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "GET, HEAD"


@on_sqlite
async def test_unreachable_database_is_503_and_not_ready(
    client: httpx.AsyncClient, site: Site, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: Any, **_options: Any) -> Any:
        raise OperationalError("SELECT", {}, ConnectionRefusedError("secret-host:5432"))

    monkeypatch.setattr("sqlalchemy.ext.asyncio.AsyncSession.execute", away)

    scans_response = await client.get("/api/scans", headers=tenant.headers())
    ready = await client.get("/api/ready")
    health = await client.get("/api/health")

    assert error_of(scans_response)[:2] == (503, "SERVICE_UNAVAILABLE")
    assert 1 <= int(scans_response.headers["retry-after"]) <= 5
    assert "secret-host" not in scans_response.text + ready.text
    assert (ready.status_code, ready.json()) == (
        503,
        {"status": "unavailable", "checks": {"database": "failed"}},
    )
    assert (health.status_code, health.json()) == (200, {"status": "ok"})


@on_sqlite
async def test_t31_crash_is_opaque_and_carries_the_request_id(
    client: httpx.AsyncClient, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_args: Any, **_options: Any) -> Any:
        msg = "detail of /srv/app"
        raise RuntimeError(msg)

    monkeypatch.setattr("schema.scans.repository.list_scans", crash)
    resolver = await client.get("/api/scans", headers={**tenant.headers(), "X-Request-Id": "mine-1"})
    monkeypatch.setattr("app.middleware.authenticate", crash)
    middleware = await client.get("/api/scans", headers={**tenant.headers(), "X-Request-Id": "mine-2"})

    for response, request_id in ((resolver, "mine-1"), (middleware, "mine-2")):
        assert error_of(response)[:2] == (500, "INTERNAL_ERROR")
        assert response.headers["x-request-id"] == request_id
        assert "/srv" not in response.text


@on_sqlite
async def test_ready_schema_and_start_page(client: httpx.AsyncClient) -> None:
    ready = await client.get("/api/ready")
    sdl = await client.get("/schema.graphql")
    start = await client.get("/")

    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "checks": {"database": "ok"}})
    assert "type Query {" in sdl.text
    assert (start.status_code, start.headers["location"]) == (307, "/graphql")


def test_codes_of_the_contract_are_all_there() -> None:
    assert {code.value for code in ErrorCode} == {
        "BAD_REQUEST",
        "VALIDATION_ERROR",
        "UNAUTHORIZED",
        "PLAN_LIMIT",
        "FORBIDDEN",
        "NOT_FOUND",
        "METHOD_NOT_ALLOWED",
        "CONFLICT",
        "PAYLOAD_TOO_LARGE",
        "UNSUPPORTED_MEDIA_TYPE",
        "RATE_LIMITED",
        "INTERNAL_ERROR",
        "SERVICE_UNAVAILABLE",
        "TIMEOUT",
    }
