"""The product in this process, on a database of its own with one organization, to be called as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlmodel import col
from starlette.types import ASGIApp, Message

from app import administration
from app.asgi import create_app
from app.logging import configure_logging
from app.queue import Redis
from app.runtime import open_services
from app.settings import Settings
from schema.credentials.repository import insert_api_key
from schema.kernel.context import Services
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import Principal, Role
from schema.kernel.secrets import TokenKind, new_token
from schema.organizations.models import Organization
from tests.servers import create_database, postgres_server


@dataclass(frozen=True, slots=True)
class Product:
    app: ASGIApp
    services: Services
    organization_id: str
    key: str  # an admin's
    principal: Principal  # the operator's

    async def get(self, url: str) -> bytes:
        return await get(self.app, url, key=self.key)


async def get(app: ASGIApp, url: str, *, key: str = "") -> bytes:
    """The body of a successful answer."""
    return await _call(app, "GET", url, b"", key=key)


async def post(app: ASGIApp, url: str, body: bytes, *, key: str, media_type: str = "application/json") -> bytes:
    return await _call(app, "POST", url, body, key=key, headers=[(b"content-type", media_type.encode())])


async def _call(
    app: ASGIApp, method: str, url: str, body: bytes, *, key: str, headers: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    path, _, query = url.partition("?")
    chunks: list[bytes] = []
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        chunks.append(message.get("body", b""))

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"bench"), (b"accept", b"application/json"), (b"x-api-key", key.encode()), *headers],
        "client": ("127.0.0.1", 40_000),
        "server": ("127.0.0.1", 8_000),
    }
    await app(scope, receive, send)
    answer = b"".join(chunks)
    if not 200 <= status < 300:
        msg = f"{url} answered {status}: {answer[:300]!r}"
        raise RuntimeError(msg)
    return answer


@asynccontextmanager
async def opened(directory: Path, database_url: str = "") -> AsyncIterator[Product]:
    """With the settings and the logging of a real start; only the rate limit is out of the way."""
    settings = Settings(data_dir=directory, database_url=database_url, rate_limit_per_minute=10_000_000)
    configure_logging(level="info", json=True)
    settings.data_dir.mkdir(exist_ok=True)
    with (directory / "log").open("w", buffering=1) as log, redirect_stderr(log):
        await administration.set_up(
            settings, organization="Bench", email="bench@example.com", name="Bench", password="a long password"
        )
        async with open_services(settings, Redis("")) as services:
            async with services.database.read() as session:
                organization_id = (await session.execute(select(col(Organization.id)))).scalar_one()
            key = await new_key(services, organization_id)
            operator = await administration.operator_of(services, organization_id)
            yield Product(create_app(settings, services), services, organization_id, key, operator)


async def new_key(services: Services, organization_id: str) -> str:
    key, now = new_token(TokenKind.API_KEY), services.clock()
    values = {
        "id": new_id(IdPrefix.API_KEY),
        "organization_id": organization_id,
        "name": "bench",
        "role": Role.ADMIN,
        "prefix": key[:10],
        "token_hash": services.mint.hash(key),
        "created_by": "bench",
        "created_at": now,
        "last_used_at": now,
    }
    async with services.database.write() as session:
        await insert_api_key(session, values)
    return key


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a running server."""
    with postgres_server() as server:
        yield server.url


async def new_database(server_url: str, name: str) -> str:
    return await create_database(server_url, name)
