from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from app.logging import configure_logging
from tests.app.site import PASSWORD, Tenant, copy_sqlite


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: what is logged here does not depend on the database."""
    return copy_sqlite(sqlite_template, tmp_path)


@pytest.fixture
def fresh_logging() -> Iterator[None]:
    """Logging is one per process: put back as it was."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers, root.level = handlers, level
    for name in ("uvicorn.access", "strawberry.execution"):
        logging.getLogger(name).disabled = False
    structlog.configure(**configuration)


async def test_request_is_one_line_without_what_the_caller_wrote(client: httpx.AsyncClient, tenant: Tenant) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await client.get(
            "/api/scans/scn-1/logs?token=hunter2",
            headers={**tenant.headers(), "X-Request-Id": "mine", "User-Agent": "canary"},
        )

    [entry] = [entry for entry in logs if entry["event"] == "http.request"]
    assert entry.pop("duration_ms") >= 0
    actor = entry.pop("actor")
    assert actor.startswith("key-")
    assert entry == {
        "event": "http.request",
        "log_level": "info",
        "request_id": "mine",
        "method": "GET",
        "route": "/api/scans/{scanId}/logs",
        "status": 400,
        "client_ip": "192.0.2.7",
        "organization": tenant.organization_id,
    }


async def test_t63_credentials_are_in_no_log_line(
    client: httpx.AsyncClient, tenant: Tenant, capsys: pytest.CaptureFixture[str], fresh_logging: None
) -> None:
    configure_logging(level="debug", json=True)
    [key] = tenant.keys.values()
    made = await client.post("/api/api-keys", json={"name": "a"}, headers=tenant.headers())
    signed_in = await client.post("/api/auth/login", json={"email": tenant.email, "password": PASSWORD})
    await client.post("/api/auth/login", json={"email": tenant.email, "password": "wrong " + PASSWORD})
    await client.post("/graphql", json={"query": f'{{ scan(id: "{key}") {{ id }} }}'}, headers=tenant.headers())
    await client.get(f"/api/me?token={key}", headers={"Authorization": f"Bearer {key}x"})

    logged = capsys.readouterr().err
    assert "http.request" in logged
    cookie = signed_in.headers["set-cookie"].partition("=")[2].partition(";")[0]
    for secret in (key, made.json()["data"]["secret"], PASSWORD, cookie):
        assert secret not in logged


def test_events_are_json_lines_with_secrets_removed(capsys: pytest.CaptureFixture[str], fresh_logging: None) -> None:
    configure_logging(level="info", json=True)
    log = structlog.get_logger("test")

    log.info("stored", password="hunter2", Authorization="Bearer x", name="ci")
    log.debug("not shown")
    logging.getLogger("library").warning("from a %s", "library")

    ours, theirs = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (ours["event"], ours["password"], ours["Authorization"], ours["name"]) == (
        "stored",
        "[removed]",
        "[removed]",
        "ci",
    )
    assert (ours["level"], ours["logger"]) == ("info", "test")
    assert (theirs["event"], theirs["level"]) == ("from a library", "warning")


def sign_in(*, secret: str) -> None:
    raise RuntimeError(len(secret))


@pytest.mark.parametrize("as_json", [True, False])
def test_t63_traceback_tells_no_local_variables(
    capsys: pytest.CaptureFixture[str], fresh_logging: None, *, as_json: bool
) -> None:
    configure_logging(level="info", json=as_json)
    try:
        sign_in(secret="hunter" + str(2))
    except RuntimeError:
        structlog.get_logger("test").exception("failed")

    logged = capsys.readouterr().err
    assert "RuntimeError" in logged
    assert "hunter2" not in logged


def test_console_format_is_for_people(capsys: pytest.CaptureFixture[str], fresh_logging: None) -> None:
    configure_logging(level="info", json=False)
    structlog.get_logger("test").info("stored", name="ci")

    assert "name=ci" in capsys.readouterr().err
