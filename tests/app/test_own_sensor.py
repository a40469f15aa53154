"""`harborguard sensor`: looks at images beside their registry and has the server judge them, whatever goes down meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import SecretStr
from sqlalchemy import update
from sqlmodel import col

from app.administration import set_up
from app.client.api import Api, ApiError
from app.outgoing import OutgoingClient, OutgoingPolicy
from app.runtime import worker_limits
from app.sensor.identity import own_identity
from app.sensor.looking import Means
from app.sensor.outbox import Outbox
from app.sensor.running import Sensor as Running
from app.sensor.running import _own_access
from app.sensor.server import Job, ScanOrder, Server
from app.settings import Settings
from schema.dependencies.models import Layer, Package
from schema.images.models import Image, Tag
from schema.kernel.clock import utc_now
from schema.kernel.principal import Role
from schema.registries.models import Registry, RegistryProvider
from schema.registries.repository import RegistryAccess
from schema.scans.failures import ScanFailure
from schema.scans.models import Misconfiguration
from schema.sensors.handover import open_access, read_public_key, seal_access, write_public_key
from schema.sensors.models import Sensor, SensorJob, SensorJobState
from schema.sensors.watching import watch_sensors
from schema.vulnerabilities.models import Vulnerability
from tests import distribution
from tests.app.sensor_site import CANARY, Edge, open_edge
from tests.app.site import LOOPBACK, Site, on_sqlite
from tests.docs.conftest import running_server
from tests.processes import PATIENCE, until
from tests.simulators.registry import RegistrySimulator, Stage, hanging, resolve_to_loopback, serving
from tests.workers.workshop import NO_TOOLS, advisories, debian, store_advisories
from workers.engines.tools import Toolbox
from workers.workspace import Workspace

ENGINES = ["trivy", "syft", "dockle", "dive"]


@dataclass
class Line(httpx.AsyncBaseTransport):
    """What lies between a sensor and the server: it can be cut, and knows what went over it."""

    inner: httpx.AsyncBaseTransport
    is_cut: bool = False
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_cut:
            raise httpx.ConnectError("the line is cut")
        self.sent.append((f"{request.method} {request.url.path}", await request.aread()))
        response = await self.inner.handle_async_request(request)
        self.received.append(await response.aread())
        return response


@dataclass
class Outpost:
    """A sensor beside a registry, and the organization it works for."""

    edge: Edge
    client: httpx.AsyncClient
    registry: RegistrySimulator
    line: Line
    settings: Settings
    key: str

    @property
    def image(self) -> str:
        return f"{self.registry.host}/team/api:1.0"

    @property
    def outbox(self) -> Path:
        return self.settings.data_dir / "sensor" / "outbox"

    def letters(self) -> list[str]:
        return sorted(path.name for path in self.outbox.glob("*") if path.suffix != ".part")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """A process of the sensor until the block ends, as if it were killed then."""
        async with self.sensor() as sensor:
            task = asyncio.create_task(sensor.run())
            try:
                yield task
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @asynccontextmanager
    async def sensor(self) -> AsyncIterator[Running]:
        directory = self.settings.data_dir / "sensor"
        policy = OutgoingPolicy(allowed_networks=LOOPBACK, silence_seconds=5)
        headers = {"Authorization": f"Bearer {self.key}"}
        with own_identity(directory) as identity, Workspace(self.settings.scratch, "sensor") as workspace:
            async with (
                OutgoingClient(policy, resolve=resolve_to_loopback) as http,
                httpx.AsyncClient(transport=self.line, base_url="http://test", headers=headers) as wire,
            ):
                yield Running(
                    server=Server(Api(wire, tell=lambda _message: None)),
                    means=self.means(http, identity.key),
                    identity=identity,
                    outbox=Outbox(self.outbox),
                    workspace=workspace,
                    settings=self.settings,
                )

    def means(self, http: OutgoingClient, key: X25519PrivateKey) -> Means:
        return Means(
            name="edge-1",
            http=http,
            toolbox=Toolbox(places=NO_TOOLS),
            limits=worker_limits(self.settings),
            native_fallback=True,
            key=key,
            access=_own_access(self.settings),
        )

    def set(self, **settings: Any) -> None:
        self.settings = self.settings.model_copy(update=settings)

    async def trigger(self, image: str = "", **given: Any) -> str:
        return await self.edge.trigger(self.client, image or self.image, **{"scanners": ENGINES, **given})

    async def scan(self, scan_id: str) -> dict[str, Any]:
        return await self.edge.scan(self.client, scan_id)

    async def job(self, scan_id: str) -> SensorJob:
        found: SensorJob = next(row for row in await self.edge.rows(SensorJob) if row.scan_id == scan_id)
        return found

    async def until(self, scan_id: str, *states: SensorJobState) -> None:
        async def reached() -> bool:
            return (await self.job(scan_id)).state in states

        await until(reached)

    async def judged(self, scan_id: str) -> dict[str, Any]:
        """The scan, once the server has made something of what the sensor sent."""
        await self.until(scan_id, SensorJobState.COMPLETED)
        await self.edge.work()
        return await self.scan(scan_id)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with serving() as stage:
        yield stage


@pytest.fixture
async def outpost(site: Site, tmp_path: Path, client: httpx.AsyncClient, stage: Stage) -> Outpost:
    """Its registry wants the user and the password that the server has."""
    edge = await open_edge(site, tmp_path, insecure=True)
    registry = stage.new_registry()
    registry.auth, registry.user = "basic", ("robot", CANARY)
    registry.add("team/api", debian(), "1.0")
    async with site.database.write() as session:
        await session.execute(
            update(Registry)
            .where(col(Registry.organization_id) == edge.tenant.organization_id, col(Registry.id) == edge.registry_id)
            .values(host=registry.host, provider=RegistryProvider.DOCKER_REGISTRY)
        )
    settings = Settings(data_dir=tmp_path / "sensor-data", url="http://test").model_copy(
        update={"sensor_poll_seconds": 0.05, "sensor_discovery_minutes": 60}
    )
    line = Line(httpx.ASGITransport(app=site.app, raise_app_exceptions=False))
    return Outpost(edge, client, registry, line, settings, await edge.key())


# --- What it sees, and who judges it


async def test_what_it_saw_is_judged_by_the_servers_advisories(outpost: Outpost) -> None:
    await store_advisories(outpost.edge.site.database, advisories("openssl"))
    scan_id = await outpost.trigger()

    async with outpost.running():
        scan = await outpost.judged(scan_id)

    assert (scan["status"], scan["origin"], scan["digest"], scan["platform"]) == (
        "COMPLETE", "sensor", debian().digest, "linux/amd64",
    )  # fmt: skip
    assert {run["engine"]: (run["status"], run["provider"].split()[0]) for run in scan["engines"]} == dict.fromkeys(
        ENGINES, ("COMPLETE", "native")
    )
    [flaw] = await outpost.edge.rows(Vulnerability)
    assert (flaw.cve_id, flaw.sources) == ("CVE-2024-1000", ["native"])
    packages = {row.name: row for row in await outpost.edge.rows(Package)}
    assert {row.path for row in packages.values()} == {"var/lib/dpkg/status"}
    [layer] = await outpost.edge.rows(Layer)
    assert {row.layer_digest for row in packages.values()} == {layer.diff_id}
    assert {row.check_id for row in await outpost.edge.rows(Misconfiguration)} >= {"CIS-DI-0001"}
    assert outpost.letters() == []


@on_sqlite
async def test_no_advisories_is_no_judgement(outpost: Outpost) -> None:
    scan_id = await outpost.trigger()

    async with outpost.running():
        scan = await outpost.judged(scan_id)

    assert (scan["status"], scan["compliance"], scan["counts"]["total"]) == ("COMPLETE", None, 0)
    assert "No advisory data" in scan["gradeReason"]


@on_sqlite
async def test_an_engine_it_does_not_speak_of_has_failed(outpost: Outpost) -> None:
    scan_id = await outpost.trigger()
    sensor = await _look_by_hand(outpost, scan_id, scanners=["syft"])

    assert (await outpost.client.post("/api/scans/upload", content=sensor, headers=_as_sensor(outpost))).is_success
    scan = await outpost.judged(scan_id)

    states = {run["engine"]: (run["status"], run["message"]) for run in scan["engines"]}
    assert states["syft"][0] == "COMPLETE"
    assert {states[each] for each in ENGINES if each != "syft"} == {("FAILED", "The sensor did not run it")}
    assert scan["partial"]


# --- Credentials


async def test_t63_credentials_are_sealed_for_the_job_and_lie_nowhere(
    outpost: Outpost, capsys: pytest.CaptureFixture[str]
) -> None:
    scan_id = await outpost.trigger()

    async with outpost.running():
        await outpost.judged(scan_id)

    assert any(each.authorization for each in outpost.registry.asked("manifests")), "it was needed"
    everything = [*outpost.line.received, *(body for _, body in outpost.line.sent)]
    everything += [path.read_bytes() for path in outpost.settings.data_dir.rglob("*") if path.is_file()]
    everything.append("".join(capsys.readouterr()).encode())
    assert not any(CANARY.encode() in each for each in everything)
    [job] = [job for each in outpost.line.received for job in _jobs(each)]
    assert job["scan"]["registryCredentials"] is None
    assert len(job["scan"]["sealedCredentials"]) > 100


@on_sqlite
async def test_its_own_credentials_spare_the_servers(outpost: Outpost) -> None:
    outpost.set(
        sensor_registry=f"http://{outpost.registry.host}",
        sensor_registry_username="robot",
        sensor_registry_password=SecretStr(CANARY),
    )
    scan_id = await outpost.trigger()

    async with outpost.running():
        assert (await outpost.judged(scan_id))["status"] == "COMPLETE"

    [job] = [job for each in outpost.line.received for job in _jobs(each)]
    assert (job["scan"]["registryCredentials"], job["scan"]["sealedCredentials"]) == (None, None)


def test_what_is_sealed_opens_for_one_key_and_one_job() -> None:
    access = RegistryAccess(host="r.example", insecure=False, username="u", password=CANARY, options={"region": "x"})
    mine, other = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    sealed = seal_access(access, write_public_key(mine.public_key()), scan_id="scn-1")

    assert open_access(sealed, mine, scan_id="scn-1") == access
    for key, scan_id, text in (
        (other, "scn-1", sealed),
        (mine, "scn-2", sealed),
        (mine, "scn-1", sealed[:-8] + "AAAAAAA="),
    ):
        with pytest.raises(ValueError, match="not sealed for this sensor"):
            open_access(text, key, scan_id=scan_id)
    for rubbish in ("", "AAAA", "no base64", "A" * 43):
        with pytest.raises(ValueError, match=r"[a-z]"):
            read_public_key(rubbish)


@on_sqlite
async def test_a_key_that_is_none_is_refused(outpost: Outpost) -> None:
    body = {"name": "x", "publicKey": "AAAA"}
    response = await outpost.client.post("/api/agent/register", json=body, headers=_as_sensor(outpost))

    assert (response.status_code, response.json()["error"]["issues"][0]["path"]) == (400, "publicKey")


@on_sqlite
async def test_it_scans_no_other_registry_than_its_own(outpost: Outpost) -> None:
    outpost.set(sensor_registry="registry.elsewhere.example")
    scan_id = await outpost.trigger()

    async with outpost.running():
        await outpost.until(scan_id, SensorJobState.FAILED)

    assert "is for registry.elsewhere.example" in (await outpost.scan(scan_id))["failureReason"]
    assert outpost.registry.asked("manifests") == []


# --- What goes down meanwhile


async def test_what_it_saw_waits_while_the_server_is_away(outpost: Outpost) -> None:
    scan_id = await outpost.trigger()
    outpost.registry.misbehave("manifests", hanging)
    async with outpost.running():
        await outpost.until(scan_id, SensorJobState.CLAIMED)
        outpost.line.is_cut = True
        outpost.registry.heal()

        await until(lambda: _is(lambda: bool(outpost.letters())))
    assert (await outpost.job(scan_id)).state is SensorJobState.CLAIMED

    outpost.line.is_cut = False  # by now the sensor was killed; another process of it finds what was written
    async with outpost.running():
        assert (await outpost.judged(scan_id))["status"] == "COMPLETE"
        await until(lambda: _is(lambda: outpost.letters() == []))


@on_sqlite
async def test_it_goes_on_by_itself_when_the_server_is_back(outpost: Outpost) -> None:
    async with outpost.running():
        await until(lambda: _is(lambda: len(outpost.line.sent) > 3))
        outpost.line.is_cut = True
        scan_id = await outpost.trigger()
        outpost.line.is_cut = False

        assert (await outpost.judged(scan_id))["status"] == "COMPLETE"


@on_sqlite
async def test_killed_in_the_middle_it_scans_again(outpost: Outpost) -> None:
    scan_id = await outpost.trigger()
    outpost.registry.misbehave("manifests", hanging)
    async with outpost.running():
        await outpost.until(scan_id, SensorJobState.CLAIMED)
    outpost.registry.heal()

    async with outpost.running():
        await until(lambda: _registered(outpost, 2))
        async with outpost.edge.site.database.write() as session:
            await watch_sensors(session, now=utc_now())  # as the reconciler does
        assert (await outpost.judged(scan_id))["status"] == "COMPLETE"
    assert (await outpost.job(scan_id)).attempt == 2


@on_sqlite
async def test_forgotten_by_the_server_it_introduces_itself_anew(outpost: Outpost) -> None:
    async with outpost.running():
        await until(lambda: _known(outpost))
        [sensor] = await outpost.edge.rows(Sensor)
        headers = outpost.edge.tenant.headers()
        assert (await outpost.client.delete(f"/api/sensors/{sensor.id}", headers=headers)).is_success

        await until(lambda: _registered(outpost, 2))
        scan_id = await outpost.trigger()
        assert (await outpost.judged(scan_id))["status"] == "COMPLETE"


@on_sqlite
async def test_a_cancelled_scan_is_dropped(outpost: Outpost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.sensor.running.BUSY_HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr("app.sensor.running.IDLE_HEARTBEAT_SECONDS", 0.05)
    scan_id = await outpost.trigger()
    outpost.registry.misbehave("manifests", hanging)
    async with outpost.running():
        await outpost.until(scan_id, SensorJobState.CLAIMED)
        headers = outpost.edge.tenant.headers()
        assert (await outpost.client.post(f"/api/scans/{scan_id}/cancel", headers=headers)).is_success

        await outpost.until(scan_id, SensorJobState.CANCELLED)
        assert (await outpost.scan(scan_id))["status"] == "CANCELLED"
        outpost.registry.heal()
        after = await outpost.trigger()
        assert (await outpost.judged(after))["status"] == "COMPLETE"


@on_sqlite
async def test_an_image_that_is_not_there_is_said(outpost: Outpost) -> None:
    scan_id = await outpost.trigger(f"{outpost.registry.host}/team/api:2.0")

    async with outpost.running():
        await outpost.until(scan_id, SensorJobState.FAILED)

    scan = await outpost.scan(scan_id)
    assert (scan["status"], scan["failureCode"]) == ("FAILED", "SENSOR_FAILED")
    assert "team/api:2.0" in scan["failureReason"]


@on_sqlite
async def test_what_the_server_refuses_fails_the_job_and_blocks_nothing(outpost: Outpost) -> None:
    scan_id = await outpost.trigger()
    async with outpost.sensor():
        Outbox(outpost.outbox).put_results(scan_id, b'{"version": "7"}')

    async with outpost.running():
        await outpost.until(scan_id, SensorJobState.FAILED)
        assert "refused the results" in (await outpost.scan(scan_id))["failureReason"]
        after = await outpost.trigger()
        assert (await outpost.judged(after))["status"] == "COMPLETE"


@on_sqlite
async def test_a_key_the_server_does_not_know_ends_it(outpost: Outpost) -> None:
    outpost.key = "hg_ak_" + "0" * 48
    async with outpost.running() as task:
        with pytest.raises(ApiError, match="UNAUTHORIZED"):
            await task


def test_two_sensors_never_share_an_identity(tmp_path: Path) -> None:
    with own_identity(tmp_path) as first, pytest.raises(OSError, match="another sensor runs"), own_identity(tmp_path):
        pass
    with own_identity(tmp_path) as again:
        assert again.id == first.id
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_a_letter_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(tmp_path)
    outbox.put_results("scn-1", b"{}")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        outbox.put_outcome("scn-2", b"{}")
    monkeypatch.undo()
    assert [(letter.job_id, letter.has_results) for letter in Outbox(tmp_path).letters()] == [("scn-1", True)]
    assert [path.name for path in tmp_path.iterdir()] == ["scn-1.results"]


# --- The registry it stands beside


@on_sqlite
async def test_it_reports_what_is_in_its_registry(outpost: Outpost) -> None:
    outpost.registry.auth = "none"
    outpost.registry.add("team/worker", debian(), "1", "2")
    outpost.set(sensor_registry=f"http://{outpost.registry.host}")

    async with outpost.running():
        await until(lambda: _filed(outpost, 3))

    images = {image.id: image.name for image in await outpost.edge.rows(Image)}
    tags = {f"{images[tag.image_id]}:{tag.name}" for tag in await outpost.edge.rows(Tag)}
    assert tags == {f"{outpost.registry.host}/team/{each}" for each in ("api:1.0", "worker:1", "worker:2")}


@on_sqlite
async def test_a_registry_that_does_not_list_is_no_reason_to_stop(outpost: Outpost) -> None:
    outpost.set(sensor_registry=f"http://{outpost.registry.host}")  # it wants credentials for its list
    scan_id = await outpost.trigger()

    async with outpost.running():
        assert (await outpost.judged(scan_id))["status"] == "COMPLETE"
    assert any(b'"error":' in body for path, body in outpost.line.sent if path.endswith("/catalog"))


# --- What is sent as an observation, and is none


def _without(*path: str | int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def _with(value: Any, *path: str | int) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = value

    return change


SPOILED: dict[str, Callable[[Any], None]] = {
    "no tools": _with([], "tools"),
    "an engine twice": lambda seen: seen["tools"].append(seen["tools"][0]),
    "an engine nobody knows": _with("clamav", "tools", 0, "engine"),
    "a tool without its answer": _with(None, "tools", 0, "problem"),
    "no examination": _with(None, "examination"),
    "no configuration": _with(None, "examination", "configuration"),
    "no layers' order": _with(3, "examination", "inventory", "layers", 0, "index"),
    "no digest": _with("latest", "image", "digest"),
    "no platform": _with("", "image", "platform"),
    "a name too long": _with("x" * 301, "examination", "inventory", "packages", 0, "name"),
    "a number too large": _with(2**40, "examination", "inventory", "packages", 0, "layer_index"),
    "a member missing": _without("examination", "inventory", "packages", 0, "version"),
    "a text for a list": _with("x", "examination", "inventory", "packages"),
    "a reason too long": _with("v" * 2000, "tools", 0, "problem"),
    "nothing": lambda seen: seen.clear(),
}


@pytest.mark.parametrize("what", SPOILED)
async def test_t52_what_our_own_reading_would_never_say_fails_the_scan(outpost: Outpost, what: str) -> None:
    scan_id = await outpost.trigger()
    envelope = orjson.loads(await _look_by_hand(outpost, scan_id))
    SPOILED[what](envelope["observation"])

    response = await outpost.client.post(
        "/api/scans/upload", content=orjson.dumps(envelope), headers=_as_sensor(outpost)
    )
    assert response.is_success, response.text
    await outpost.edge.work()

    scan = await outpost.scan(scan_id)
    assert (scan["status"], scan["failureCode"]) == ("FAILED", "REPORT_INVALID"), scan["failureReason"]
    assert await outpost.edge.rows(Package) == []


@on_sqlite
async def test_texts_of_a_sensor_are_one_printable_line(outpost: Outpost) -> None:
    scan_id = await outpost.trigger()
    envelope = orjson.loads(await _look_by_hand(outpost, scan_id))
    envelope["observation"]["examination"]["inventory"]["warnings"] = ["red\x1b[31m\nand \0 more"]

    headers = _as_sensor(outpost)
    assert (await outpost.client.post("/api/scans/upload", content=orjson.dumps(envelope), headers=headers)).is_success
    await outpost.edge.work()

    log = await outpost.client.get(f"/api/scans/{scan_id}/logs", headers=outpost.edge.tenant.headers())
    assert any(line["message"] == "red\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}and "
               "\N{REPLACEMENT CHARACTER} more" for line in log.json()["data"])  # fmt: skip


# --- The process


@pytest.mark.skipif(distribution.PROGRAM is None, reason="docker-registry is not installed")
def test_the_command_beside_a_real_registry(tmp_path: Path) -> None:
    (tmp_path / "users").write_text(distribution.HTPASSWD)
    auth = {"htpasswd": {"realm": "registry", "path": str(tmp_path / "users")}}
    with running_server(tmp_path) as server, distribution.running(tmp_path, auth=auth) as host:
        with httpx.Client(base_url=f"http://{host}", auth=("robot", "s3cret")) as registry:
            distribution.push(registry, "team/api", debian(), "1.0")
        owner = {"organization": "Acme", "email": "a@acme.example", "name": "A", "password": "correct horse battery"}
        asyncio.run(set_up(server.settings, **owner))
        headers = {"X-API-Key": server.new_key(Role.ADMIN)}
        with httpx.Client(base_url=server.url, headers=headers, timeout=30) as api:
            made = api.post(
                "/api/registries",
                json={
                    "name": "edge",
                    "url": f"http://{host}",
                    "provider": "DOCKER_REGISTRY",
                    "scanMethod": "sensor",
                    "insecure": True,
                    "username": "robot",
                    "password": "s3cret",
                },
            )
            assert made.status_code == 201, made.text
            environment = {
                "PATH": os.environ["PATH"],
                "HARBORGUARD_DATA_DIR": str(tmp_path / "sensor"),
                "HARBORGUARD_URL": server.url,
                "HARBORGUARD_API_KEY": made.json()["data"]["sensorApiKey"],
                "HARBORGUARD_SENSOR_REGISTRY": f"http://{host}",
                "HARBORGUARD_SENSOR_POLL_SECONDS": "1",
            }
            command = [sys.executable, "-m", "app.cli", "sensor"]
            log = tmp_path / "sensor.log"
            with log.open("wb") as output, subprocess.Popen(command, env=environment, stderr=output) as process:
                try:
                    body = {"image": f"{host}/team/api:1.0", "scanners": ["syft"]}
                    scan_id = api.post("/api/scans", json=body).json()["data"]["id"]
                    scan = _ended(api, scan_id)
                finally:
                    process.send_signal(signal.SIGTERM)
            assert process.returncode == 128 + signal.SIGTERM, log.read_text()
    assert (scan["status"], scan["packageCount"]) == ("COMPLETE", 2), scan
    assert "s3cret" not in log.read_text()


def _ended(api: httpx.Client, scan_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        scan: dict[str, Any] = api.get(f"/api/scans/{scan_id}").json()["data"]
        if scan["status"] in {"COMPLETE", "FAILED"}:
            return scan
        time.sleep(0.2)
    raise TimeoutError


# --- Helpers


async def _look_by_hand(outpost: Outpost, scan_id: str, **order: Any) -> bytes:
    """The envelope of a job, claimed and not sent."""
    async with outpost.sensor() as sensor:
        await sensor._register()
        [job] = (await sensor._server.claim()).jobs
        assert job.id == scan_id
        wanted = Job(id=job.id, scan=ScanOrder(**{**job.scan.model_dump(), **order}))
        with sensor._workspace.scratch() as scratch:
            try:
                return await sensor._means.look(wanted, scratch)
            except ScanFailure as failure:
                raise AssertionError(failure.message) from None


def _as_sensor(outpost: Outpost) -> dict[str, str]:
    return {"Authorization": f"Bearer {outpost.key}", "Content-Type": "application/json"}


def _jobs(answer: bytes) -> list[Any]:
    document = orjson.loads(answer)
    found: list[Any] = document.get("jobs", []) if isinstance(document, dict) else []
    return found


async def _is(condition: Callable[[], bool]) -> bool:
    return condition()


async def _known(outpost: Outpost) -> bool:
    return bool(await outpost.edge.rows(Sensor))


async def _registered(outpost: Outpost, times: int) -> bool:
    return len([path for path, _ in outpost.line.sent if path.endswith("/register")]) >= times


async def _filed(outpost: Outpost, tags: int) -> bool:
    return len(await outpost.edge.rows(Tag)) >= tags
