"""A registry tells of a push, and the image is filed and scanned: for the right secret, once, and for nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import orjson
import pytest
import uvicorn
from sqlalchemy import select

from schema.audit.models import AuditEvent
from schema.images.models import Image, Tag
from schema.kernel.clock import iso_utc, utc_now
from schema.registries.events.receiving import DELIVERY_BUDGET, MAX_BYTES
from schema.registries.models import Registry, RegistryEvent
from schema.scans.models import Scan
from schema.sensors.models import SensorJob
from tests import distribution
from tests.app.site import Site, Tenant, on_sqlite
from tests.app.test_wire import Server
from tests.factories import images
from tests.factories.images import layer
from tests.processes import until

DIGEST = f"sha256:{'d' * 64}"


@dataclass
class Hooked:
    """A registry with a webhook, and what its provider sends."""

    site: Site
    tenant: Tenant
    client: httpx.AsyncClient
    id: str
    address: str
    secret: str

    async def send(self, body: Any, *, secret: str | None = None, **headers: str) -> httpx.Response:
        given = self.secret if secret is None else secret
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {
            "Content-Type": "application/vnd.docker.distribution.events.v2+json",
            "Authorization": f"Bearer {given}",
        }
        return await self.client.post(self.address, content=content, headers={**sent, **headers})

    async def rows(self, table: Any) -> list[Any]:
        async with self.site.database.read() as session:
            return list((await session.execute(select(table))).scalars())

    async def tags(self) -> set[str]:
        named = {image.id: image.name for image in await self.rows(Image)}
        return {f"{named[tag.image_id]}:{tag.name}" for tag in await self.rows(Tag) if tag.absent_since is None}

    async def untouched(self) -> bool:
        return [] == await self.rows(Image) == await self.rows(Scan) == await self.rows(RegistryEvent)


async def hooked(site: Site, client: httpx.AsyncClient, tenant: Tenant, **given: Any) -> Hooked:
    body = {"name": "acme", "url": "https://registry.acme.example", "provider": "DOCKER_REGISTRY", **given}
    made = await client.post("/api/registries", json={"schedule": "on_push", **body}, headers=tenant.headers())
    assert made.status_code == 201, made.text
    registry_id = made.json()["data"]["id"]
    webhook = await client.post(f"/api/registries/{registry_id}/webhook", headers=tenant.headers())
    assert webhook.status_code == 201, webhook.text
    shown = webhook.json()["data"]
    return Hooked(site, tenant, client, registry_id, shown["url"], shown["secret"])


@pytest.fixture
async def hook(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> Hooked:
    return await hooked(site, client, tenant)


def event(number: int = 1, *, tag: str | None = "1.0", action: str = "push", **more: Any) -> dict[str, Any]:
    target = {"repository": "team/api", "tag": tag, "digest": DIGEST, **more}
    return {"events": [{"id": f"e-{number}", "timestamp": iso_utc(utc_now()), "action": action, "target": target}]}


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


# --- What a push does


async def test_a_push_is_filed_and_scanned_at_once(hook: Hooked) -> None:
    response = await hook.send(event())

    assert response.status_code == 202, response.text
    assert response.json()["data"] == {"outcome": "1 filed; 1 queued for a scan", "duplicate": False}
    assert await hook.tags() == {"registry.acme.example/team/api:1.0"}
    [scan] = await hook.rows(Scan)
    assert (scan.reference, scan.requested_by) == ("registry.acme.example/team/api:1.0", "system:push")
    listed = await hook.client.get(f"/api/registries/{hook.id}/events", headers=hook.tenant.headers())
    assert [(each["images"], each["outcome"]) for each in listed.json()["data"]] == [
        ([f"registry.acme.example/team/api:1.0@{DIGEST}"], "1 filed; 1 queued for a scan")
    ]


@on_sqlite
async def test_without_the_schedule_it_is_only_filed(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    hook = await hooked(site, client, tenant, schedule="daily")

    assert (await hook.send(event())).json()["data"]["outcome"] == "1 filed"
    assert (len(await hook.tags()), await hook.rows(Scan)) == (1, [])


@on_sqlite
async def test_the_scan_of_a_sensors_registry_waits_for_the_sensor(
    site: Site, client: httpx.AsyncClient, tenant: Tenant
) -> None:
    hook = await hooked(site, client, tenant, scanMethod="sensor")

    assert (await hook.send(event())).json()["data"]["outcome"] == "1 filed; 1 queued for a scan"
    assert len(await hook.rows(SensorJob)) == 1


@on_sqlite
async def test_the_registrys_tag_filters_count(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    hook = await hooked(site, client, tenant, tagInclude="v*", tagExclude="*-dev")
    both = {"events": [*event(1, tag="v1-dev")["events"], *event(2, tag="v1")["events"], *event(3, tag="x")["events"]]}

    assert "2 left out by the tag filters" in (await hook.send(both)).json()["data"]["outcome"]
    assert await hook.tags() == {"registry.acme.example/team/api:v1"}


@on_sqlite
async def test_what_is_deleted_is_marked_absent(hook: Hooked) -> None:
    await hook.send(event(1))

    gone = await hook.send(event(2, action="delete", tag=None))

    assert gone.json()["data"]["outcome"] == "1 marked as absent"
    assert await hook.tags() == set()


@on_sqlite
@pytest.mark.parametrize("repository", ["../../etc", "team/api:latest", "TEAM/api", "a" * 400, "team/api@sha256:x"])
async def test_what_is_no_image_of_the_registry_is_left(hook: Hooked, repository: str) -> None:
    response = await hook.send(event(repository=repository))

    assert response.json()["data"]["outcome"] == "1 not an image of this registry"
    assert await hook.tags() == set()


# --- Who may tell


async def test_a_wrong_secret_is_like_no_registry(hook: Hooked) -> None:
    address = urlsplit(hook.address)
    unknown = f"{address.path}?registry=reg-00000000000000000000000000"
    other_provider = hook.address.replace("docker-registry", "harbor")
    nobody = hook.address.replace("docker-registry", "nobody")
    refusals = [
        await hook.send(event(), secret="wrong"),
        await hook.send(event(), secret=""),
        *[
            await hook.client.post(
                where,
                json=event(),
                headers={"Authorization": f"Bearer {hook.secret}", "Content-Type": "application/json"},
            )
            for where in (unknown, other_provider, nobody, address.path)
        ],
    ]

    assert {code(each) for each in refusals} == {(401, "UNAUTHORIZED")}
    assert len({each.json()["error"]["message"] for each in refusals}) == 1
    assert await hook.untouched()


async def test_the_secret_of_one_registry_opens_no_other(site: Site, client: httpx.AsyncClient, hook: Hooked) -> None:
    other = await hooked(site, client, await site.tenant("globex"))

    assert code(await other.send(event(), secret=hook.secret)) == (401, "UNAUTHORIZED")
    assert await hook.untouched()
    assert (await other.send(event())).status_code == 202
    assert {row.organization_id for row in await hook.rows(Image)} == {other.tenant.organization_id}


async def test_a_new_secret_ends_the_old_one_and_none_ends_all(hook: Hooked) -> None:
    path, headers = f"/api/registries/{hook.id}/webhook", hook.tenant.headers()
    old, hook.secret = hook.secret, (await hook.client.post(path, headers=headers)).json()["data"]["secret"]
    assert code(await hook.send(event(), secret=old)) == (401, "UNAUTHORIZED")
    assert (await hook.send(event())).status_code == 202

    assert (await hook.client.delete(path, headers=headers)).status_code == 204
    assert code(await hook.send(event(2))) == (401, "UNAUTHORIZED")


@on_sqlite
async def test_the_secret_is_shown_once_and_lies_nowhere(hook: Hooked, capsys: pytest.CaptureFixture[str]) -> None:
    await hook.send(event())
    await hook.send(event(2), secret="another-guess-at-it")

    shown = await hook.client.get(f"/api/registries/{hook.id}", headers=hook.tenant.headers())
    everything = [shown.text, "".join(capsys.readouterr())]
    everything += [
        repr(row.model_dump()) for table in (AuditEvent, RegistryEvent, Registry) for row in await hook.rows(table)
    ]
    assert not any(secret in each for each in everything for secret in (hook.secret, "another-guess-at-it"))
    assert any("registry.webhook_created" in each for each in everything)


@on_sqlite
async def test_a_token_in_the_address_is_logged_by_nobody(
    site: Site, client: httpx.AsyncClient, tenant: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = await hooked(site, client, tenant, provider="QUAY", url="https://quay.io")
    assert ("token", hook.secret) in parse_qsl(urlsplit(hook.address).query)

    response = await client.post(hook.address, json={"repository": "team/api", "updated_tags": ["1.0"]})

    assert response.status_code == 202, response.text
    assert await hook.tags() == {"quay.io/team/api:1.0"}
    assert hook.secret not in "".join(capsys.readouterr())


# --- Once


async def test_a_delivery_that_comes_again_changes_nothing(hook: Hooked) -> None:
    sent = event()
    first, again = await hook.send(sent), await hook.send(sent)

    assert first.json()["data"]["duplicate"] is False
    assert (again.status_code, again.json()["data"]["duplicate"]) == (202, True)
    assert (len(await hook.rows(Scan)), len(await hook.rows(RegistryEvent))) == (1, 1)


async def test_the_same_delivery_many_times_at_once_counts_once(hook: Hooked) -> None:
    sent = event()

    answers = await asyncio.gather(*(hook.send(sent) for _ in range(8)))

    assert [each.status_code for each in answers] == [202] * 8
    assert sorted(each.json()["data"]["duplicate"] for each in answers) == [False] + [True] * 7
    assert (len(await hook.rows(Scan)), len(await hook.rows(RegistryEvent))) == (1, 1)


async def test_two_pushes_of_one_tag_at_once_are_one_scan(hook: Hooked) -> None:
    await asyncio.gather(*(hook.send(event(number, digest=f"sha256:{number:064x}")) for number in range(6)))

    assert len(await hook.rows(RegistryEvent)) == 6
    assert len(await hook.rows(Scan)) == 1, "the others found it waiting"


@on_sqlite
@pytest.mark.parametrize("age", [timedelta(hours=25), -timedelta(minutes=11)])
async def test_what_was_recorded_long_ago_does_nothing(hook: Hooked, age: timedelta) -> None:
    sent = event()
    sent["events"][0]["timestamp"] = iso_utc(utc_now() - age)

    assert "Nothing done" in (await hook.send(sent)).json()["data"]["outcome"]
    assert (await hook.tags(), await hook.rows(Scan)) == (set(), [])


# --- Too much, and nonsense


@on_sqlite
async def test_more_than_an_event_can_be_is_refused(hook: Hooked) -> None:
    assert code(await hook.send(b" " * (MAX_BYTES + 1))) == (413, "PAYLOAD_TOO_LARGE")
    assert await hook.untouched()


@on_sqlite
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"events": 1}', b'{"events": [{"action": "push"}]}'])
async def test_what_is_no_event_is_refused(hook: Hooked, body: bytes) -> None:
    assert code(await hook.send(body)) == (400, "BAD_REQUEST")
    assert await hook.untouched()


@on_sqlite
async def test_a_registry_that_talks_too_much_waits(hook: Hooked) -> None:
    for number in range(DELIVERY_BUDGET.requests):
        await hook.send({"events": [{"id": f"p-{number}", "action": "pull", "target": {}}]})

    response = await hook.send(event())

    assert code(response) == (429, "RATE_LIMITED")
    assert int(response.headers["retry-after"]) > 0
    assert await hook.rows(Scan) == []


# --- A real registry


@asynccontextmanager
async def served(site: Site) -> AsyncIterator[str]:
    server = Server(uvicorn.Config(site.app, log_config=None, access_log=False, lifespan="off", server_header=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = server.force_exit = True
        await task


@on_sqlite
@pytest.mark.skipif(distribution.PROGRAM is None, reason="docker-registry is not installed")
async def test_a_real_registrys_notifications_lead_to_scans(
    site: Site, client: httpx.AsyncClient, tenant: Tenant, tmp_path: Path
) -> None:
    hook = await hooked(site, client, tenant)
    image = images.image(layer({"etc/os-release": b"ID=debian\n"}))
    async with served(site) as url:
        endpoint = {"url": f"{url}{hook.address}", "headers": {"Authorization": [f"Bearer {hook.secret}"]}}

        def push() -> None:
            with (
                distribution.running(tmp_path, endpoint=endpoint) as host,
                httpx.Client(base_url=f"http://{host}") as registry,
            ):
                distribution.push(registry, "team/api", image, "1.0")
                told.wait(timeout=60)

        told = Event()
        pushing = asyncio.create_task(asyncio.to_thread(push))

        async def scanned() -> bool:
            return bool(await hook.rows(Scan))

        try:
            await until(scanned)
        finally:
            told.set()
            await pushing

    assert await hook.tags() == {"registry.acme.example/team/api:1.0"}
    [tag] = await hook.rows(Tag)
    assert tag.source_digest == image.digest
    [scan] = await hook.rows(Scan)
    assert scan.requested_by == "system:push"
