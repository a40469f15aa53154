from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from schema.advisories.models import AdvisoryFeed
from tests.app.site import SCAN, Site, Tenant, copy_sqlite


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """SQLite only: what is counted here does not depend on the database."""
    return copy_sqlite(sqlite_template, tmp_path)


async def samples(client: httpx.AsyncClient) -> dict[str, float]:
    response = await client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in response.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_requests_are_counted_by_route_template(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await client.get("/api/scans/scn-secret-id", headers=tenant.headers())
    await client.get("/api/nothing/at/all")
    await client.request("BREW", "/api/scans", headers=tenant.headers())
    found = await samples(client)

    def requests(method: str, route: str, status: int) -> str:
        return f'harborguard_http_requests_total{{method="{method}",route="{route}",status="{status}"}}'

    assert found[requests("GET", "/api/scans/{scanId}", 404)] == 1
    assert found[requests("GET", "unmatched", 404)] == 1
    assert found[requests("other", "/api/scans", 405)] == 1
    assert found['harborguard_http_request_seconds_count{method="GET",route="/api/scans/{scanId}"}'] == 1
    assert "secret" not in "".join(found)
    assert tenant.organization_id not in "".join(found)


async def test_operations_are_counted_by_names_of_our_own(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await client.get("/api/scans", headers=tenant.headers())
    await client.get("/api/scans?limit=0", headers=tenant.headers())
    for name in ("listScans", "Mine", "x" * 1000):
        await client.post(
            "/graphql",
            json={"query": f"query {name} {{ me {{ role }} }}", "operationName": name},
            headers=tenant.headers(),
        )
    found = {name: value for name, value in (await samples(client)).items() if "graphql_operations_total" in name}

    assert found == {
        'harborguard_graphql_operations_total{operation="listScans",result="ok"}': 2,
        'harborguard_graphql_operations_total{operation="listScans",result="error"}': 1,
        'harborguard_graphql_operations_total{operation="other",result="ok"}': 2,
    }


async def test_jobs_are_counted_by_state(client: httpx.AsyncClient, tenant: Tenant) -> None:
    await client.post("/api/scans", json=SCAN, headers=tenant.headers())

    assert (await samples(client))['harborguard_jobs{state="QUEUED"}'] == 1


async def test_feeds_tell_of_when_their_data_is(client: httpx.AsyncClient, site: Site) -> None:
    async with site.database.write() as session:
        session.add(AdvisoryFeed(name="kev", database_date=datetime(2026, 11, 1, tzinfo=UTC), validators={}))
        session.add(AdvisoryFeed(name="epss", validators={}))
    found = {name: value for name, value in (await samples(client)).items() if "advisory_feed" in name}

    assert found == {
        'harborguard_advisory_feed_timestamp_seconds{feed="kev"}': datetime(2026, 11, 1, tzinfo=UTC).timestamp()
    }


async def test_scrape_survives_an_unreachable_database(
    client: httpx.AsyncClient, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(site.database, "_reader", None)
    monkeypatch.setattr("schema.kernel.database.AsyncSession", lambda *_args, **_options: away())
    found = await samples(client)

    assert not [name for name in found if name.startswith("harborguard_jobs")]
