"""Scanning many tags at once, and at the times of schedules, as people ask for it over REST."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from schema.audit.models import AuditEvent
from schema.images.repository import file_image, file_tag
from schema.jobs.models import Job, JobKind
from schema.kernel.clock import utc_now
from schema.registries.models import Registry, RegistrySync
from schema.scans.models import ScanBatch
from tests.app.site import Site, Tenant, on_sqlite
from tests.workers.workshop import Workshop

HOST = "registry.acme.example"


async def add_registry(client: httpx.AsyncClient, tenant: Tenant, **given: Any) -> dict[str, Any]:
    body = {"name": "acme", "url": f"https://{HOST}", "provider": "DOCKER_REGISTRY", **given}
    response = await client.post("/api/registries", json=body, headers=tenant.headers())
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()["data"]
    return made


async def file(site: Site, tenant: Tenant, registry_id: str, image: str, *tags: str) -> None:
    async with site.database.write() as session:
        image_id = await file_image(
            session, tenant.organization_id, f"{HOST}/{image}", registry_id=registry_id, now=utc_now()
        )
        for tag in tags:
            await file_tag(session, tenant.organization_id, image_id, tag, now=utc_now())


async def rows(site: Site, table: Any) -> list[Any]:
    async with site.database.read() as session:
        return list((await session.execute(select(table))).scalars())


async def work(site: Site, directory: Path) -> None:
    """A worker looks for the tags of batches; their scans are left waiting."""
    async with site.database.write() as session:
        await session.execute(update(Job).where(col(Job.kind) == JobKind.BATCH).values(priority=100))
    workshop = Workshop(site.database, directory)
    async with workshop.runner() as runner:
        await runner.work_on(await workshop.lease())
    await workshop.close()


async def start(client: httpx.AsyncClient, tenant: Tenant, **body: Any) -> httpx.Response:
    return await client.post("/api/scans/bulk", json=body, headers=tenant.headers())


async def test_a_batch_is_started_followed_and_cancelled(
    site: Site, tenant: Tenant, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    registry = await add_registry(client, tenant)
    await file(site, tenant, registry["id"], "team/api", "v1", "v2", "v2-rc", "latest")
    await file(site, tenant, registry["id"], "other/app", "v1")

    started = await start(
        client, tenant, images=f"{HOST}/team/*", tagInclude="v*", tagExclude="*-rc", scanners=["syft"]
    )
    assert started.status_code == 202
    batch = started.json()["data"]
    assert started.headers["location"] == f"/api/scans/bulk/{batch['id']}"
    assert (batch["status"], batch["scanCount"]) == ("SELECTING", 0)
    await work(site, tmp_path)

    headers = tenant.headers()
    shown = (await client.get(started.headers["location"], headers=headers)).json()["data"]
    assert (shown["status"], shown["scanCount"], shown["queuedCount"]) == ("IN_PROGRESS", 2, 2)
    listed = (await client.get(f"/api/scans?batchId={batch['id']}&sort=scannedAt:asc", headers=headers)).json()
    assert {scan["image"] for scan in listed["data"]} == {f"{HOST}/team/api:v1", f"{HOST}/team/api:v2"}
    assert {tuple(scan["scanners"]) for scan in listed["data"]} == {("syft",)}
    assert (await client.get("/api/scans/bulk", headers=headers)).json()["data"][0]["id"] == batch["id"]

    cancelled = await client.post(f"{started.headers['location']}/cancel", headers=headers)
    assert (cancelled.status_code, cancelled.json()["data"]["cancelledCount"]) == (200, 2)
    again = await client.post(f"{started.headers['location']}/cancel", headers=headers)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "CONFLICT")
    actions = [row.action for row in await rows(site, AuditEvent) if row.target == f"batch:{batch['id']}"]
    assert sorted(actions) == ["scan.batch_cancelled", "scan.batch_started"]


@on_sqlite
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"images": ""}, "images"),
        ({"images": " , "}, "images"),
        ({"images": "ghcr.io/a b"}, "images"),
        ({"images": ",".join(["a"] * 101)}, "images"),
        ({"images": "*", "tagInclude": "v 1"}, "tagInclude"),
        ({"images": "*", "tagExclude": "\u00e9"}, "tagExclude"),
        ({"images": "*", "scanners": ["clamav"]}, "scanners.0"),
        ({}, "images"),
    ],
)
async def test_what_chooses_nothing_is_refused_and_changes_nothing(
    site: Site, tenant: Tenant, client: httpx.AsyncClient, body: dict[str, Any], path: str
) -> None:
    response = await start(client, tenant, **body)

    assert (response.status_code, response.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert [issue["path"] for issue in response.json()["error"]["issues"]] == [path]
    assert await rows(site, ScanBatch) == await rows(site, Job) == []


@on_sqlite
async def test_a_foreign_registry_is_a_missing_one(site: Site, tenant: Tenant, client: httpx.AsyncClient) -> None:
    other = await add_registry(client, await site.tenant("globex"))

    response = await start(client, tenant, images="*", registryId=other["id"])

    assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert await rows(site, ScanBatch) == []


@on_sqlite
async def test_a_batch_that_finds_nothing_is_complete(
    site: Site, tenant: Tenant, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    started = await start(client, tenant, images="nothing/*")
    await work(site, tmp_path)

    shown = (await client.get(started.headers["location"], headers=tenant.headers())).json()["data"]
    assert (shown["status"], shown["scanCount"], shown["selectedAt"] is not None) == ("COMPLETE", 0, True)


# --- Schedules


@on_sqlite
async def test_a_schedule_says_when_it_comes_next(site: Site, tenant: Tenant, client: httpx.AsyncClient) -> None:
    made = await add_registry(client, tenant, schedule="cron", cron="30 2 * * *", timeZone="Europe/Berlin")
    at = datetime.fromisoformat(made["nextRunAt"])
    assert at.minute == 30
    assert utc_now() < at <= utc_now() + timedelta(days=1, hours=1)

    path, headers = f"/api/registries/{made['id']}", tenant.headers()
    daily = (await client.put(path, json={"schedule": "daily", "cron": None}, headers=headers)).json()["data"]
    assert datetime.fromisoformat(daily["nextRunAt"]) <= utc_now() + timedelta(hours=1)
    manual = (await client.put(path, json={"schedule": "manual"}, headers=headers)).json()["data"]
    assert manual["nextRunAt"] is None


@on_sqlite
@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"schedule": "cron"}, "cron"),
        ({"schedule": "cron", "cron": "61 * * * *"}, "cron"),
        ({"schedule": "cron", "cron": "0 0 31 2 *"}, "cron"),
        ({"schedule": "cron", "cron": "0 0 * * *", "timeZone": "Mars/Base"}, "timeZone"),
        ({"schedule": "hourly"}, "schedule"),
    ],
)
async def test_a_time_that_never_comes_is_refused(
    site: Site, tenant: Tenant, client: httpx.AsyncClient, given: dict[str, Any], path: str
) -> None:
    body = {"name": "acme", "url": f"https://{HOST}", "provider": "DOCKER_REGISTRY", **given}
    response = await client.post("/api/registries", json=body, headers=tenant.headers())

    assert (response.status_code, response.json()["error"]["issues"][0]["path"]) == (400, path), response.text
    assert await rows(site, Registry) == []


async def test_schedules_can_be_run_now(site: Site, tenant: Tenant, client: httpx.AsyncClient) -> None:
    daily = await add_registry(client, tenant, schedule="daily")
    manual = await add_registry(client, tenant, name="other", url="https://other.example")
    await file(site, tenant, daily["id"], "team/api", "1")
    foreign = await add_registry(client, await site.tenant("globex"), schedule="daily")

    async def run(**body: Any) -> httpx.Response:
        return await client.post("/api/registries/schedule-scans", json=body, headers=tenant.headers())

    missing = await run(registryIds=[daily["id"], foreign["id"]])
    assert missing.status_code == 404
    assert await rows(site, ScanBatch) == []
    assert not any(row.scans_after for row in await rows(site, RegistrySync)), "only the first looks at each"

    every = await run()
    assert every.status_code == 202, every.text
    [ran] = every.json()["data"]
    assert (ran["registryId"], ran["syncId"], ran["batchId"] is not None) == (daily["id"], None, True), (
        "it is looked at"
    )

    [ran] = (await run(registryIds=[manual["id"]])).json()["data"]
    assert (ran["registryId"], ran["batchId"]) == (manual["id"], None), "its tags are scanned after the look"
    assert {row.registry_id for row in await rows(site, RegistrySync) if row.scans_after} == {manual["id"]}
    assert {row.organization_id for row in await rows(site, ScanBatch)} == {tenant.organization_id}
