"""The whole HTTP application on a real database, in this process."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette

from app.asgi import create_app
from app.blobs import DirectoryBlobStore
from app.keys import FileKeyProvider
from app.outgoing import OutgoingClient, OutgoingPolicy
from app.queue import ArqQueue, Redis, RedisSignals
from app.rate_limits import WindowLimiter
from app.settings import Settings
from app.signing import read_signer
from schema.credentials.repository import insert_api_key
from schema.kernel.clock import utc_now
from schema.kernel.context import Limits, Services
from schema.kernel.database import Database
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.outbox import OutboxRelay
from schema.kernel.principal import Role
from schema.kernel.secrets import SessionSigner, TokenKind, TokenMint, hash_password, new_token
from schema.organizations.models import MembershipStatus, Plan
from schema.organizations.repository import add_member, create_organization, create_user
from tests.compat_rest.described import require_described
from tests.simulators.registry import resolve_to_loopback
from workers.oci.probe import HttpRegistryProbe

MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
PASSWORD = "correct horse battery"
MAX_UPLOAD_BYTES = 1024 * 1024
LOOPBACK = (ip_network("127.0.0.0/8"),)  # where simulated registries are
# For what is decided before the database is asked anything that could differ.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SIGNER = read_signer(
    ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ),
    None,
)
SCAN = {"image": "ghcr.io/acme/api:1.4.7", "scanners": ["trivy", "grype"]}


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """An organization and a key of each kind of caller in it."""

    organization_id: str
    user_id: str
    email: str
    keys: dict[Role, str]

    def headers(self, role: Role = Role.ADMIN) -> dict[str, str]:
        return {"X-API-Key": self.keys[role]}


class Site:
    def __init__(self, database: Database, directory: Path, redis: Redis, **settings: Any) -> None:
        self.database = database
        self.uploads = directory / "uploads"
        connection = redis.connect()
        self.http = OutgoingClient(OutgoingPolicy(allowed_networks=LOOPBACK), resolve=resolve_to_loopback)
        self.limiter = WindowLimiter()
        self.services = Services(
            database=database,
            relay=OutboxRelay(database, ArqQueue(connection)),
            signals=RedisSignals(connection),
            blobs=DirectoryBlobStore(self.uploads),
            keys=FileKeyProvider(directory, MASTER_KEY),
            mint=TokenMint(b"p" * 32),
            signer=SessionSigner(b"s" * 32),
            rates=self.limiter,
            registry_probe=HttpRegistryProbe(self.http, seconds=2),
            statements=SIGNER,
            clock=utc_now,
            limits=Limits(
                max_upload_bytes=MAX_UPLOAD_BYTES,
                max_report_bytes=MAX_UPLOAD_BYTES,
                session_idle_seconds=3600,
                session_absolute_seconds=86_400,
            ),
        )
        self.settings = Settings(data_dir=directory, **{"max_upload_bytes": MAX_UPLOAD_BYTES, **settings})
        self.app: Starlette = create_app(self.settings, self.services)

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Whatever a route answers is held against its description."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False, client=("192.0.2.7", 40_000))
        hooks = {"response": [require_described]}
        return httpx.AsyncClient(transport=transport, base_url="http://test", event_hooks=hooks, **options)

    async def tenant(self, name: str = "acme", *roles: Role) -> Tenant:
        """Roles are those a key is made for; by default an admin's."""
        now = utc_now()
        keys = {role: new_token(TokenKind.API_KEY) for role in roles or (Role.ADMIN,)}
        email = f"ada@{name}.example"
        async with self.database.write() as session:
            organization_id = await create_organization(session, name=name, plan=Plan.ENTERPRISE, now=now)
            user_id = await create_user(session, email=email, name="Ada", password_hash=_password_hash(), now=now)
            await add_member(
                session, organization_id, user_id, role=Role.OWNER, status=MembershipStatus.ACTIVE, now=now
            )
            for role, key in keys.items():
                values = {
                    "id": new_id(IdPrefix.API_KEY),
                    "organization_id": organization_id,
                    "name": role.value,
                    "role": role,
                    "prefix": key[:10],
                    "token_hash": self.services.mint.hash(key),
                    "created_by": user_id,
                    "created_at": now,
                    "last_used_at": now,
                }
                await insert_api_key(session, values)
        return Tenant(organization_id=organization_id, user_id=user_id, email=email, keys=keys)

    async def sign_in(self, client: httpx.AsyncClient, tenant: Tenant) -> None:
        """The client has the session cookie afterwards."""
        response = await client.post("/api/auth/login", json={"email": tenant.email, "password": PASSWORD})
        assert response.status_code == 200, response.text


@asynccontextmanager
async def open_site(database: Database, directory: Path, **settings: Any) -> AsyncIterator[Site]:
    site = Site(database, directory, Redis(""), **settings)
    async with site.http:
        yield site
        await site.services.background.settle()


def copy_sqlite(template: Path, directory: Path) -> str:
    """The URL of a database of its own, for modules that need no other kind."""
    path = directory / "harborguard.db"
    shutil.copyfile(template, path)
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    """A site of its own for each test, on each database."""
    async with open_site(database, tmp_path) as opened:
        yield opened


@pytest.fixture
async def tenant(site: Site) -> Tenant:
    return await site.tenant()


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with site.client() as opened:
        yield opened


_HASHES: list[str] = []


def _password_hash() -> str:
    if not _HASHES:
        _HASHES.append(hash_password(PASSWORD))
    return _HASHES[0]
