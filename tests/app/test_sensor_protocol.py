"""The sensor protocol as both generations in the field speak it: each gotcha of theirs, each line of what they need of us."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from compat_rest.examples import MESSAGES
from compat_rest.routes import ROUTES
from schema.audit.models import AuditEvent
from schema.images.models import Image, Tag, Upload
from schema.jobs.models import Job
from schema.kernel.database import Database
from schema.kernel.principal import Role
from schema.registries.models import RegistryStatus
from schema.scans.models import Scan, ScanLog
from schema.sensors.models import Sensor, SensorJob, SensorJobState
from schema.sensors.rules import LEASE
from schema.sensors.watching import watch_sensors
from tests.app.sensor_site import (
    ALL_ENGINES,
    CANARY,
    HOST,
    IMAGE,
    NO_FINDINGS,
    VERSIONS,
    Edge,
    SensorClient,
    envelope,
    open_edge,
    stop_clock,
)
from tests.app.site import Site, on_sqlite
from tests.app.test_statement_budgets import counted

SCAN_UUID = "0b8f5ad0-8f0c-4a3e-9c0e-6a1f0e9e4b11"


@pytest.fixture
async def edge(site: Site, tmp_path: Path) -> Edge:
    return await open_edge(site, tmp_path)


@pytest.fixture
async def april(edge: Edge, client: httpx.AsyncClient) -> SensorClient:
    """Of the first generation, registered."""
    sensor = SensorClient(client, await edge.key())
    await sensor.register()
    return sensor


@pytest.fixture
async def may(edge: Edge, client: httpx.AsyncClient) -> SensorClient:
    """Of the second generation, with an identity, registered."""
    sensor = SensorClient(client, await edge.key(), second=True, identity="sensor-7")
    await sensor.register()
    return sensor


# --- Who may speak


@on_sqlite
async def test_nobody_but_a_sensor_speaks_the_protocol(site: Site, edge: Edge, client: httpx.AsyncClient) -> None:
    people = await site.tenant("people", *(role for role in Role if role is not Role.SENSOR))
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/api/agent/register", {}),
        ("POST", "/api/agent/heartbeat", {}),
        ("GET", "/api/agent/jobs?agentId=x", None),
        ("POST", "/api/agent/jobs/x/status", {}),
        ("POST", "/api/agent/catalog", {}),
        ("POST", "/api/scans/upload", {}),
        ("POST", "/api/patches/upload", {}),
        ("POST", "/api/exports/upload", {}),
    ]
    for method, path, body in calls:
        for key in people.keys.values():
            response = await SensorClient(client, key).call(method, path, body)
            assert (response.status_code, response.json()["error"]["code"]) == (403, "FORBIDDEN"), path
        unknown = await SensorClient(client, f"hg_ak_{'0' * 48}").call(method, path, body)
        assert unknown.status_code == 401, path
    assert await edge.rows(Sensor) == []


@on_sqlite
async def test_a_sensor_does_nothing_else(april: SensorClient) -> None:
    for path in ("/api/scans", "/api/me", "/api/sensors", "/api/images", "/api/api-keys"):
        assert (await april.call("GET", path)).status_code == 403, path
    body = {"query": "{ me { role } }"}
    told = (await april.call("POST", "/graphql", body)).json()
    assert told["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert (await april.call("POST", "/api/auth/logout", {})).status_code == 403


async def test_a_key_is_a_sensors_by_its_registry_whatever_role_it_is_made_with(
    edge: Edge, client: httpx.AsyncClient
) -> None:
    made = await client.post(
        "/api/api-keys",
        json={"name": "edge", "role": "admin", "registryId": edge.registry_id},
        headers=edge.tenant.headers(),
    )
    assert made.json()["data"]["role"] == "sensor"
    assert await SensorClient(client, made.json()["data"]["secret"]).register()
    refused = await client.post("/api/api-keys", json={"name": "x", "role": "sensor"}, headers=edge.tenant.headers())
    assert refused.status_code == 400


@on_sqlite
async def test_x_api_key_is_as_good(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.post("/api/agent/register", json={"name": "edge"}, headers={"X-API-Key": await edge.key()})
    assert response.status_code == 200


# --- Register


async def test_registering_is_idempotent_and_keeps_what_tools_say(edge: Edge, april: SensorClient) -> None:
    assert await april.register() == april.agent_id
    [sensor] = await edge.rows(Sensor)
    assert sensor.id == april.agent_id
    assert (sensor.name, sensor.hostname, sensor.os, sensor.arch, sensor.version) == (
        "edge-1",
        "edge-1.local",
        "linux",
        "amd64",
        "0.1.0",
    )
    assert sensor.scanner_versions == VERSIONS
    assert (sensor.capabilities, sensor.registry_id, sensor.identity) == (["scan"], edge.registry_id, "")
    actions = [row.action for row in await edge.rows(AuditEvent)]
    assert actions.count("sensor.registered") == 1


async def test_sensors_that_share_a_key_are_told_apart_by_their_identity(edge: Edge, client: httpx.AsyncClient) -> None:
    key = await edge.key()
    sensors = [SensorClient(client, key, second=True, identity=each) for each in ("a", "b", "")]
    assert len({await each.register() for each in sensors}) == 3
    assert await SensorClient(client, key).register() == sensors[2].agent_id  # an older one has nothing but its key


@on_sqlite
@pytest.mark.parametrize(
    "message",
    [
        {},
        {"name": "edge", "scannerVersions": None, "capabilities": None},
        {
            "name": "x" * 1000,
            "hostname": 7,
            "os": None,
            "scannerVersions": {"trivy": None, "x": 1},
            "capabilities": "scan",
        },
        {"name": "a\u0000b\nc", "unknown": {"nested": [1]}, "registryUrl": "https://user:pw@host/", "sensorId": ""},
    ],
)
async def test_a_registration_may_leave_out_and_add_what_it_likes(
    edge: Edge, client: httpx.AsyncClient, message: dict[str, Any]
) -> None:
    sensor = SensorClient(client, await edge.key())
    response = await sensor.call("POST", "/api/agent/register", message)
    assert response.status_code == 200, response.text
    assert response.json().keys() == {"agentId"}
    [row] = await edge.rows(Sensor)
    assert row.name
    assert row.name.isprintable()
    assert "pw" not in (row.registry_url or "")


@on_sqlite
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/json;charset=UTF-8"])
async def test_a_charset_is_no_matter(april: SensorClient, content_type: str) -> None:
    for path, body in (("/api/agent/register", {}), ("/api/scans/upload", envelope(SCAN_UUID))):
        assert (await april.call("POST", path, body, **{"Content-Type": content_type})).status_code == 200


@on_sqlite
async def test_an_address_that_ends_with_a_slash(edge: Edge, client: httpx.AsyncClient) -> None:
    sensor = SensorClient(client, await edge.key(), base="http://test/")
    await sensor.register()
    assert (await sensor.heartbeat()).status_code == 200
    assert (await sensor.poll())["jobs"] == []
    assert (await sensor.upload(envelope(SCAN_UUID))).status_code == 200


@on_sqlite
async def test_replies_are_the_protocols_own(april: SensorClient) -> None:
    assert (await april.heartbeat()).json() == {"ok": True, "cancelJobs": []}
    assert await april.poll() == {"jobs": [], "cancelJobs": []}
    assert (await april.upload(envelope(SCAN_UUID))).json().keys() == {"ok", "scanId", "imageId"}


@on_sqlite
async def test_the_messages_that_are_shown_are_accepted(may: SensorClient) -> None:
    paths = {route.operation: route.path for route in ROUTES if route.tag == "sensor-protocol"}
    for operation, message in MESSAGES.items():
        body = {**message, **({"agentId": may.agent_id} if "agentId" in message else {})}
        if operation in paths and operation != "reportSensorJob":
            response = await may.call("POST", paths[operation], body)
            assert response.status_code == 200, (operation, response.text)


@on_sqlite
async def test_looking_without_taking_is_no_method(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    await edge.trigger(client)
    response = await april.call("HEAD", f"/api/agent/jobs?agentId={april.agent_id}")
    assert response.status_code == 405
    assert await april.claim() is not None


async def test_what_sensors_do_every_few_seconds_is_cheap(
    site: Site, edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    """To the statement, so that a new one is a decision."""
    counts = {}
    stop_clock(site)
    await april.poll()
    for name, call in {
        "idle": april.heartbeat,
        "scanning": lambda: april.heartbeat("scanning"),
        "poll": april.poll,
    }.items():
        await site.services.background.settle()
        with counted(site) as statements:
            await call()
            await site.services.background.settle()
        counts[name] = len(statements)
    await edge.trigger(client)
    await site.services.background.settle()
    with counted(site) as statements:
        await april.claim()
        await site.services.background.settle()
    counts["claim"] = len(statements)
    # The sensor, and that it was heard of; its jobs; and one that looks whether the outbox holds anything.
    assert counts == {"idle": 3, "scanning": 5, "poll": 3, "claim": 12}


# --- Jobs


async def test_scans_of_its_registry_wait_for_a_sensor(
    edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    scan_id = await edge.trigger(client, scanners=["trivy", "syft"])
    shown = await edge.scan(client, scan_id)
    assert (shown["status"], shown["origin"]) == ("QUEUED", "sensor")
    assert await edge.rows(Job) == []  # nothing for our workers

    job = await april.claim()

    assert job is not None
    assert (job["id"], job["type"], bool(job["createdAt"])) == (scan_id, "SCAN", True)
    assert job["scan"] == {
        "imageRef": IMAGE,
        "source": "registry",
        "scanners": ["trivy", "syft"],
        "platform": None,
        "registryCredentials": None,
        "sealedCredentials": None,
    }
    assert (await edge.scan(client, scan_id))["status"] == "IN_PROGRESS"
    assert await april.claim() is None


async def test_other_registries_are_scanned_by_us(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    await edge.trigger(client, "ghcr.io/acme/api:1")
    assert await april.claim() is None
    assert len(await edge.rows(Job)) == 1


async def test_a_sensor_gets_the_jobs_of_its_own_registry(edge: Edge, client: httpx.AsyncClient) -> None:
    other = SensorClient(client, await edge.key(await edge.add_registry("other.acme.example")))
    await other.register()
    scan_id = await edge.trigger(client)
    assert await other.claim() is None
    assert (await other.status(scan_id, "completed")).status_code == 403
    assert (await other.upload(envelope(scan_id))).status_code == 403


async def test_one_job_at_a_time_the_most_urgent_first(
    edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    low, high = await edge.trigger(client), await edge.trigger(client, priority=5)
    claimed = [await april.claim() for _ in range(3)]
    assert [each and each["id"] for each in claimed] == [high, low, None]


async def test_two_sensors_never_get_the_same_job(edge: Edge, client: httpx.AsyncClient) -> None:
    sensors = [SensorClient(client, await edge.key()) for _ in range(4)]
    for each in sensors:
        await each.register()
    scans = {await edge.trigger(client) for _ in range(6)}
    claimed: list[str] = []
    for _ in range(3):
        jobs = await asyncio.gather(*(each.claim() for each in sensors))
        claimed += [job["id"] for job in jobs if job]
    assert sorted(claimed) == sorted(scans)


async def test_credentials_go_to_whom_they_are_of_use(
    edge: Edge, april: SensorClient, may: SensorClient, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        await edge.trigger(client)
    old, new = await april.claim(), await may.claim()
    assert old is not None
    assert new is not None
    assert CANARY not in orjson.dumps(old).decode()
    assert new["scan"]["registryCredentials"] == {"username": "robot", "password": CANARY}


@on_sqlite
async def test_a_registry_without_tls_is_told_to_whom_understands_it(
    site: Site, tmp_path: Path, client: httpx.AsyncClient
) -> None:
    edge = await open_edge(site, tmp_path, insecure=True)
    old = SensorClient(client, await edge.key())
    new = SensorClient(client, await edge.key(), second=True)
    for each in (old, new):
        await each.register()
        await edge.trigger(client)
    references = [job["scan"]["imageRef"] for each in (old, new) if (job := await each.claim())]
    assert references == [IMAGE, f"http://{IMAGE}"]


@on_sqlite
async def test_whoever_cannot_scan_gets_no_scan(edge: Edge, may: SensorClient, client: httpx.AsyncClient) -> None:
    await may.call("POST", "/api/agent/register", {**may.registration(), "capabilities": ["export"]})
    await edge.trigger(client)
    assert await may.claim() is None


async def test_an_agent_id_counts_with_its_own_key_only(
    site: Site, tmp_path: Path, edge: Edge, april: SensorClient, may: SensorClient, client: httpx.AsyncClient
) -> None:
    stranger = await open_edge(site, tmp_path, "stranger")
    foreign = SensorClient(client, await stranger.key())
    await foreign.register()
    for agent_id in (may.agent_id, foreign.agent_id, "sen-none", ""):
        impostor = SensorClient(client, april.key, agent_id=agent_id)
        wanted = 400 if agent_id == "" else 403
        assert (await impostor.call("GET", f"/api/agent/jobs?agentId={agent_id}")).status_code == wanted
        assert (await impostor.heartbeat()).status_code == 403
        body = {"agentId": agent_id, "repositories": []}
        assert (await impostor.call("POST", "/api/agent/catalog", body)).status_code == 403


async def test_a_foreign_organizations_job_is_a_missing_one(
    site: Site, tmp_path: Path, edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    stranger = await open_edge(site, tmp_path, "stranger")
    theirs = await stranger.trigger(client)
    answers = []
    for scan_id in (theirs, f"scn-{'0' * 26}"):
        status, upload = await april.status(scan_id, "failed", "x"), await april.upload(envelope(scan_id))
        answers.append([(each.status_code, each.json()["error"]["message"]) for each in (status, upload)])
    assert answers[0] == answers[1] == [(404, "Job not found"), (404, "Scan not found")]
    assert (await stranger.scan(client, theirs))["status"] == "QUEUED"


# --- Leases


async def test_a_job_whose_way_was_lost_goes_out_again_and_bounded(
    site: Site, edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    """The sensor never saw the reply: it goes on saying that it is idle, which keeps nothing."""
    hands = stop_clock(site)
    scan_id = await edge.trigger(client)
    for attempt in (1, 2, 3):
        job = await april.claim()
        assert job is not None
        assert job["id"] == scan_id
        hands.pass_(seconds=LEASE.total_seconds() - 1)
        await april.heartbeat("idle")
        await watch(site, hands.now)
        assert [each.state for each in await edge.rows(SensorJob)] == [SensorJobState.CLAIMED]
        hands.pass_(seconds=2)
        await watch(site, hands.now)
        assert (await edge.scan(client, scan_id))["status"] == ("QUEUED" if attempt < 3 else "FAILED")
    failed = await edge.scan(client, scan_id)
    assert (failed["failureCode"], "silent" in failed["failureReason"]) == ("INTERRUPTED", True)
    assert await april.claim() is None


async def watch(site: Site, now: Any) -> None:
    async with site.database.write() as session:
        await watch_sensors(session, now=now)


async def test_a_sensor_that_scans_keeps_its_job(
    site: Site, edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    hands = stop_clock(site)
    await edge.trigger(client)
    await april.claim()
    for _ in range(20):
        hands.pass_(seconds=30)
        assert (await april.heartbeat("scanning")).status_code == 200
        await watch(site, hands.now)
    [job] = await edge.rows(SensorJob)
    assert (job.state, job.attempt) == (SensorJobState.CLAIMED, 1)


async def test_results_of_a_sensor_that_was_given_up_are_taken_all_the_same(
    site: Site, edge: Edge, april: SensorClient, may: SensorClient, client: httpx.AsyncClient
) -> None:
    hands = stop_clock(site)
    scan_id = await edge.trigger(client)
    await april.claim()
    hands.pass_(minutes=10)
    await watch(site, hands.now)
    second = await may.claim()
    assert second is not None
    assert second["id"] == scan_id

    assert (await april.upload(envelope(scan_id))).status_code == 200
    assert (await april.status(scan_id, "completed")).status_code == 200
    again = await may.upload(envelope(scan_id))
    assert (again.status_code, again.json()["scanId"]) == (200, scan_id)
    await edge.work()
    assert (await edge.scan(client, scan_id))["status"] == "COMPLETE"
    assert len(await edge.rows(Upload)) == 1


async def test_a_sensor_that_starts_anew_has_lost_what_it_had(
    site: Site, edge: Edge, may: SensorClient, client: httpx.AsyncClient
) -> None:
    hands = stop_clock(site)
    scan_id = await edge.trigger(client)
    await may.claim()
    await may.register()
    await watch(site, hands.now)
    job = await may.claim()
    assert job is not None
    assert job["id"] == scan_id


# --- Who is there


async def test_offline_after_two_minutes_and_six_after_registering(
    site: Site, edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    hands = stop_clock(site)
    await april.register()
    hands.pass_(minutes=5, seconds=50)  # it warms up its databases, and says nothing
    await watch(site, hands.now)
    assert await shown_status(edge, client, april) == "online"
    assert (await april.heartbeat("scanning")).status_code == 200
    assert await shown_status(edge, client, april) == "scanning"
    assert (await edge.registry()).status is RegistryStatus.CONNECTED
    hands.pass_(minutes=1, seconds=59)
    await watch(site, hands.now)
    assert (await edge.registry()).status is RegistryStatus.CONNECTED
    hands.pass_(seconds=2)
    assert await shown_status(edge, client, april) == "offline"
    await watch(site, hands.now)
    await watch(site, hands.now)
    assert (await edge.registry()).status is RegistryStatus.ERROR
    assert [row.action for row in await edge.rows(AuditEvent)].count("sensor.lost") == 1

    await april.poll()  # any request will do
    await site.services.background.settle()

    assert await shown_status(edge, client, april) == "online"
    registry = await edge.registry()
    assert (registry.status, registry.status_message) == (RegistryStatus.CONNECTED, None)
    assert [row.action for row in await edge.rows(AuditEvent)].count("sensor.recovered") == 1


async def shown_status(edge: Edge, client: httpx.AsyncClient, sensor: SensorClient) -> str:
    response = await client.get(f"/api/sensors/{sensor.agent_id}", headers=edge.tenant.headers())
    return str(response.json()["data"]["status"])


async def test_a_registry_is_there_while_one_of_its_sensors_is(
    site: Site, edge: Edge, april: SensorClient, may: SensorClient
) -> None:
    hands = stop_clock(site)
    hands.pass_(minutes=7)
    await may.heartbeat()
    await watch(site, hands.now)
    assert {row.id: row.lost_at is not None for row in await edge.rows(Sensor)} == {
        april.agent_id: True,
        may.agent_id: False,
    }
    assert (await edge.registry()).status is RegistryStatus.CONNECTED


async def test_sensors_are_listed_shown_and_removed(
    site: Site, tmp_path: Path, edge: Edge, april: SensorClient, may: SensorClient, client: httpx.AsyncClient
) -> None:
    stranger = await site.tenant("stranger")
    listed = (await client.get("/api/sensors", headers=edge.tenant.headers())).json()
    assert (listed["meta"]["total"], [each["id"] for each in listed["data"]]) == (2, [may.agent_id, april.agent_id])
    shown = (await client.get(f"/api/sensors/{april.agent_id}", headers=edge.tenant.headers())).json()["data"]
    assert {"name": "grype", "version": VERSIONS["grype"]} in shown["scannerVersions"]
    assert (await client.get("/api/sensors", headers=stranger.headers())).json()["data"] == []
    for method in ("GET", "DELETE"):
        path = f"/api/sensors/{april.agent_id}"
        assert (await client.request(method, path, headers=stranger.headers())).status_code == 404

    scan_id = await edge.trigger(client)
    await april.claim()
    gone = await client.delete(f"/api/sensors/{april.agent_id}", headers=edge.tenant.headers())
    assert gone.status_code == 204
    assert (await april.heartbeat()).status_code == 403
    await watch(site, site.services.clock())
    job = await may.claim()
    assert job is not None
    assert job["id"] == scan_id


async def test_a_poll_with_nothing_to_do_writes_nothing(
    site: Site, edge: Edge, april: SensorClient, database: Database
) -> None:
    stop_clock(site)
    await april.poll()
    await site.services.background.settle()
    before = (await edge.rows(Sensor))[0].last_seen_at
    await april.poll()
    await site.services.background.settle()
    assert (await edge.rows(Sensor))[0].last_seen_at == before


# --- How a job ends


async def test_results_then_completed(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    scan_id = await edge.trigger(client)
    await april.claim()
    uploaded = await april.upload(envelope(scan_id))
    assert uploaded.json()["scanId"] == scan_id
    for _ in range(2):
        assert (await april.status(scan_id, "completed")).status_code == 200
    await edge.work()

    scan = await edge.scan(client, scan_id)
    assert (scan["status"], scan["partial"], scan["imageId"]) == ("COMPLETE", False, uploaded.json()["imageId"])
    assert [(run["engine"], run["status"]) for run in scan["engines"]] == [(each, "COMPLETE") for each in ALL_ENGINES]
    for _ in range(2):
        assert (await april.status(scan_id, "completed")).status_code == 200
    assert {row.action for row in await edge.rows(AuditEvent)} >= {"scan.triggered", "scan.uploaded"}
    [job] = await edge.rows(SensorJob)
    assert job.state is SensorJobState.COMPLETED


async def test_failed_without_results_fails_the_scan(
    edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    scan_id = await edge.trigger(client)
    await april.claim()
    error = "upload failed:\n<b>boom</b>\u0000 https://robot:hunter2@registry/ " + "x" * 10_000
    for _ in range(2):
        assert (await april.status(scan_id, "failed", error)).status_code == 200
    scan = await edge.scan(client, scan_id)
    assert (scan["status"], scan["failureCode"]) == ("FAILED", "SENSOR_FAILED")
    reason = scan["failureReason"]
    assert reason.startswith("The sensor failed: upload failed: <b>boom</b>")
    assert len(reason) <= 2000
    assert reason.isprintable()
    assert "hunter2" not in reason
    assert "hunter2" not in str([row.message for row in await edge.rows(ScanLog)])


async def test_completed_without_results_is_a_failure(
    edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    scan_id = await edge.trigger(client)
    await april.claim()
    assert (await april.status(scan_id, "completed")).status_code == 200
    assert (await edge.scan(client, scan_id))["status"] == "FAILED"


@pytest.mark.parametrize("worked_before", [True, False])
async def test_all_engines_failed_is_said_after_the_results(
    edge: Edge, may: SensorClient, client: httpx.AsyncClient, *, worked_before: bool
) -> None:
    scan_id = await edge.trigger(client)
    await may.claim()
    assert (await may.upload(envelope(scan_id, status="FAILED", findings=NO_FINDINGS))).status_code == 200
    if worked_before:
        await edge.work()
    error = "all scanners failed (trivy: no such host; grype: boom)"
    assert (await may.status(scan_id, "failed", error)).status_code == 200
    await edge.work()
    scan = await edge.scan(client, scan_id)
    assert (scan["status"], scan["compliance"]) == ("FAILED", None)
    assert scan["failureReason"] == f"The sensor failed: {error}"


async def test_all_engines_failed_and_completed_is_what_the_older_one_says(
    edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    scan_id = await edge.trigger(client)
    await april.claim()
    await april.upload(envelope(scan_id, status="FAILED", findings=NO_FINDINGS))
    assert (await april.status(scan_id, "completed")).status_code == 200
    await edge.work()
    scan = await edge.scan(client, scan_id)
    assert (scan["status"], scan["failureCode"]) == ("FAILED", "SENSOR_FAILED")
    assert "did not say why" in scan["failureReason"]


async def test_failed_after_good_results_changes_nothing(
    edge: Edge, may: SensorClient, client: httpx.AsyncClient
) -> None:
    scan_id = await edge.trigger(client)
    await may.claim()
    await may.upload(envelope(scan_id))
    await edge.work()
    assert (await may.status(scan_id, "failed", "some scanner failed")).status_code == 200
    assert (await edge.scan(client, scan_id))["status"] == "COMPLETE"


async def test_cancelled_is_accepted(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    scan_id = await edge.trigger(client)
    await april.claim()
    for _ in range(2):
        assert (await april.status(scan_id, "cancelled")).status_code == 200
    assert (await edge.scan(client, scan_id))["status"] == "CANCELLED"


@on_sqlite
async def test_an_outcome_nobody_knows_is_refused(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    scan_id = await edge.trigger(client)
    response = await april.status(scan_id, "exploded")
    assert (response.status_code, response.json()["error"]["issues"][0]["path"]) == (400, "status")


async def test_cancelling_what_waits(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    scan_id = await edge.trigger(client)
    cancelled = await client.post(f"/api/scans/{scan_id}/cancel", headers=edge.tenant.headers())
    assert cancelled.json()["data"]["status"] == "CANCELLED"
    assert await april.poll() == {"jobs": [], "cancelJobs": []}
    again = await client.post(f"/api/scans/{scan_id}/cancel", headers=edge.tenant.headers())
    assert again.status_code == 409


async def test_cancelling_what_a_sensor_has(edge: Edge, april: SensorClient, client: httpx.AsyncClient) -> None:
    scan_id = await edge.trigger(client)
    await april.claim()
    cancelled = await client.post(f"/api/scans/{scan_id}/cancel", headers=edge.tenant.headers())
    assert cancelled.json()["data"]["status"] == "CANCELLED"
    assert (await april.heartbeat("scanning")).json()["cancelJobs"] == [scan_id]

    assert (await april.upload(envelope(scan_id))).json()["scanId"] == scan_id
    assert (await april.status(scan_id, "completed")).status_code == 200
    await edge.work()
    assert (await edge.scan(client, scan_id))["status"] == "CANCELLED"
    assert await edge.rows(Upload) == []


async def test_a_sensor_that_asks_for_work_is_told_what_to_drop(
    edge: Edge, april: SensorClient, client: httpx.AsyncClient
) -> None:
    scan_id, following = await edge.trigger(client), await edge.trigger(client)
    await april.claim()
    await client.post(f"/api/scans/{scan_id}/cancel", headers=edge.tenant.headers())
    answer = await april.poll()
    assert (answer["cancelJobs"], [each["id"] for each in answer["jobs"]]) == ([scan_id], [following])
    assert (await april.poll())["cancelJobs"] == []
    assert (await april.status(scan_id, "cancelled")).status_code == 200


# --- Catalogues, patches, exports


async def test_a_catalogue_is_filed(edge: Edge, may: SensorClient, client: httpx.AsyncClient) -> None:
    report = {
        "agentId": may.agent_id,
        "registryUrl": f"https://{HOST}",
        "provider": "generic",
        "repositories": [
            {"name": "team/api", "tags": ["1.0", "1.1", "not a tag"]},
            {"name": "team/web", "tags": None},
            {"name": f"{HOST}/team/job", "tags": ["x"]},
            {"name": "NOT A NAME", "tags": ["1"]},
            None,
        ],
        "discoveredAt": "2026-04-01T12:34:56Z",
    }
    for _ in range(2):
        response = await may.call("POST", "/api/agent/catalog", report)
        assert (response.status_code, response.json()["ok"]) == (200, True), response.text
    images = {row.name: row for row in await edge.rows(Image)}
    assert {name: row.tag_count for name, row in images.items()} == {
        f"{HOST}/team/api": 2,
        f"{HOST}/team/web": 0,
        f"{HOST}/team/job": 1,
    }
    assert {row.registry_id for row in images.values()} == {edge.registry_id}
    assert sorted(row.name for row in await edge.rows(Tag)) == ["1.0", "1.1", "x"]


@on_sqlite
@pytest.mark.parametrize("more", [{"repositories": None}, {}, {"repositories": [], "error": "401 Unauthorized"}])
async def test_a_catalogue_may_hold_nothing(edge: Edge, may: SensorClient, more: dict[str, Any]) -> None:
    response = await may.call("POST", "/api/agent/catalog", {"agentId": may.agent_id, **more})
    assert response.status_code == 200, response.text
    assert await edge.rows(Image) == []


@on_sqlite
async def test_patches_and_exports_are_kept(edge: Edge, may: SensorClient) -> None:
    source = {"ref": IMAGE, "name": "team/api", "tag": ""}
    sensor = {"version": "0.1.0", "scannerVersions": None}
    patch = {
        "version": "1.0",
        "sensor": sensor,
        "source": source,
        "patched": {"sizeBytes": 0},
        "patch": {"id": "p-1", "status": "SUCCESS"},
        "results": [],
        "sink": {"kind": "registry"},
        "tooling": {"buildah": "1.0"},
    }
    export = {"version": "1.0", "sensor": sensor, "source": source, "export": {"id": "e-1", "status": "SUCCESS"}}
    patched = await may.call("POST", "/api/patches/upload", patch)
    exported = await may.call("POST", "/api/exports/upload", export)
    assert (patched.status_code, exported.status_code) == (200, 200)
    uploads = {row.id: row for row in await edge.rows(Upload)}
    assert set(uploads) == {patched.json()["patchId"], exported.json()["exportId"]}
    kept = edge.site.services.blobs.path(uploads[patched.json()["patchId"]].blob)
    assert orjson.loads(kept.read_bytes()) == patch
    for path in ("/api/patches/upload", "/api/exports/upload"):
        assert (await may.call("POST", path, {"version": "2.0"})).status_code == 400
    assert len(await edge.rows(Upload)) == 2


@on_sqlite
async def test_nothing_that_is_kept_or_logged_has_the_registrys_password(
    edge: Edge, may: SensorClient, client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    scan_id = await edge.trigger(client)
    job = await may.claim()
    assert job is not None
    assert job["scan"]["registryCredentials"]["password"] == CANARY
    await may.status(scan_id, "failed", f"skopeo: https://robot:{CANARY}@{HOST}/v2/: denied")
    told = (await client.get(f"/api/scans/{scan_id}", headers=edge.tenant.headers())).text
    kept = [
        row.model_dump_json()
        for table in (Scan, SensorJob, AuditEvent, ScanLog, Sensor)
        for row in await edge.rows(table)
    ]
    captured = capsys.readouterr()
    assert CANARY not in told + "".join(kept) + captured.out + captured.err
