"""The CVE watch over REST: its settings, and having it look."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from schema.kernel.principal import Role
from tests.app.site import Site, Tenant

DEFAULTS = {"enabled": True, "minSeverityFilter": "MEDIUM", "sources": ["nvd", "ghsa", "cisa_kev", "osv"]}


async def settings(client: httpx.AsyncClient, tenant: Tenant) -> dict[str, Any]:
    watch = (await client.get("/api/cve-watch", headers=tenant.headers())).json()["data"]
    return {name: watch[name] for name in DEFAULTS}


async def change(client: httpx.AsyncClient, tenant: Tenant, given: dict[str, Any]) -> httpx.Response:
    return await client.put("/api/cve-watch/settings", headers=tenant.headers(), json=given)


async def test_what_is_not_given_stays_and_null_is_the_default(client: httpx.AsyncClient, tenant: Tenant) -> None:
    assert await settings(client, tenant) == DEFAULTS
    changed = await change(client, tenant, {"minSeverityFilter": "CRITICAL", "sources": ["ghsa", "cisa_kev", "ghsa"]})
    assert changed.json()["data"]["updatedBy"] is not None
    assert await settings(client, tenant) == {
        "enabled": True,
        "minSeverityFilter": "CRITICAL",
        "sources": ["cisa_kev", "ghsa"],
    }
    await change(client, tenant, {"enabled": False})
    await change(client, tenant, {"minSeverityFilter": None, "sources": None})
    assert await settings(client, tenant) == DEFAULTS | {"enabled": False}


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"minSeverityFilter": "UNKNOWN"}, "minSeverityFilter"),
        ({"sources": []}, "sources"),
        ({"sources": ["nist"]}, "sources.0"),
        ({"enabled": "yes"}, "enabled"),
        ({"interval": 5}, "interval"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    client: httpx.AsyncClient, tenant: Tenant, given: dict[str, Any], path: str
) -> None:
    refused = await change(client, tenant, {"enabled": False} | given)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert [issue["path"] for issue in refused.json()["error"]["issues"]] == [path]
    assert await settings(client, tenant) == DEFAULTS


async def test_it_is_triggered_once_in_five_minutes_by_all_of_an_organization(
    site: Site, client: httpx.AsyncClient
) -> None:
    tenant, other = await site.tenant("acme", Role.ADMIN, Role.OWNER), await site.tenant("other")

    async def trigger(whose: Tenant, role: Role = Role.ADMIN) -> httpx.Response:
        return await client.post("/api/cve-watch/trigger", headers=whose.headers(role))

    first = await trigger(tenant)
    assert (first.status_code, first.json()["data"]["jobId"][:4]) == (202, "job-")
    assert (await client.get("/api/cve-watch", headers=tenant.headers())).json()["data"]["running"] is True
    again = await trigger(tenant, Role.OWNER)
    assert (again.status_code, again.json()["error"]["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(again.headers["Retry-After"]) <= 301  # seconds, rounded up
    assert (await trigger(other)).status_code == 202


async def test_a_watch_that_is_switched_off_does_not_look(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await change(client, tenant, {"enabled": False})
    refused = await client.post("/api/cve-watch/trigger", headers=tenant.headers())
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
