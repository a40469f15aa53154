"""Trusting keys over REST: who may, what is refused, and what is written down."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import select
from sqlmodel import col

from schema.audit.models import AuditEvent
from schema.kernel.public_keys import describe
from schema.kernel.tenancy import tenant as of_tenant
from tests.app.site import Site, Tenant, on_sqlite
from tests.factories.statements import new_key, public_pem

KEY = new_key()


async def add(client: httpx.AsyncClient, tenant: Tenant, **given: str) -> httpx.Response:
    body = {"name": "release", "pem": public_pem(KEY)} | given
    return await client.post("/api/trusted-keys", json=body, headers=tenant.headers())


async def test_a_key_is_trusted_and_no_longer(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    made = await add(client, tenant)
    assert made.status_code == 201
    told = made.json()["data"]
    assert made.headers["location"] == f"/api/trusted-keys/{told['id']}"
    assert (told["name"], told["algorithm"]) == ("release", "ecdsa-secp256r1")
    assert (told["fingerprint"], told["pem"]) == (describe(KEY.public_key()).fingerprint, public_pem(KEY))
    headers = tenant.headers()
    assert (await client.get("/api/trusted-keys", headers=headers)).json()["data"] == [told]
    assert (await client.get(f"/api/trusted-keys/{told['id']}", headers=headers)).json()["data"] == told

    assert (await client.delete(f"/api/trusted-keys/{told['id']}", headers=headers)).status_code == 204

    assert (await client.get("/api/trusted-keys", headers=headers)).json()["data"] == []
    assert (await client.delete(f"/api/trusted-keys/{told['id']}", headers=headers)).status_code == 404
    async with site.database.read() as session:
        statement = select(col(AuditEvent.action)).where(
            of_tenant(AuditEvent, tenant.organization_id), col(AuditEvent.action).startswith("trusted_key.")
        )
        assert sorted((await session.execute(statement)).scalars()) == ["trusted_key.added", "trusted_key.removed"]


@on_sqlite
@pytest.mark.parametrize("again", [{"name": "another"}, {"pem": public_pem(new_key())}])
async def test_a_key_and_a_name_are_taken_once(
    client: httpx.AsyncClient, tenant: Tenant, again: dict[str, str]
) -> None:
    await add(client, tenant)
    refused = await add(client, tenant, **again)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")


@on_sqlite
async def test_no_more_are_trusted_than_can_be_tried(client: httpx.AsyncClient, tenant: Tenant) -> None:
    for number in range(50):
        assert (await add(client, tenant, name=f"key {number}", pem=public_pem(new_key()))).status_code == 201
    refused = await add(client, tenant, name="one more")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")


@on_sqlite
async def test_what_is_no_public_key_is_refused(client: httpx.AsyncClient, tenant: Tenant) -> None:
    refused = await add(client, tenant, pem="-----BEGIN PUBLIC KEY-----\n")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BAD_REQUEST")
    assert "public key in PEM" in refused.json()["error"]["message"]
