"""A sensor's life: it introduces itself, asks for work, shows that it is there, and sends what it saw.

While the server is away it goes on with what it has, and what it saw waits on disk. The server knows a job by its id:
what it has been told twice changes nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import replace
from http import HTTPStatus
from ipaddress import ip_network
from typing import Any

import orjson
import structlog

from app.client.api import ApiError, connect
from app.outgoing import OutgoingClient
from app.runtime import outgoing_policy, toolbox, worker_limits
from app.sensor.identity import Identity, own_identity
from app.sensor.looking import VERSION, Means, tool_versions
from app.sensor.outbox import Letter, Outbox
from app.sensor.server import Job, Server
from app.settings import Settings
from schema.kernel.clock import utc_now
from schema.kernel.errors import HarborGuardError
from schema.registries.addresses import read_address
from schema.registries.repository import RegistryAccess
from schema.registries.rules import detect
from schema.scans.failures import ScanFailure
from schema.scans.models import Engine
from schema.sensors.handover import write_public_key
from schema.sensors.rules import OWN_CREDENTIALS, SCAN
from workers.oci.listing import Catalogue
from workers.oci.providers import open_catalogue
from workers.workspace import Workspace

log = structlog.get_logger(__name__)
IDLE_HEARTBEAT_SECONDS, BUSY_HEARTBEAT_SECONDS = 30.0, 5.0  # a job that is cancelled is heard of by a heartbeat
REGISTER_AGAIN = HTTPStatus.FORBIDDEN  # what the server answers to an id it has forgotten
_TAGS_AT_ONCE = 10_000  # of a catalogue, in one message
_REASON = 1_500  # characters of why a job failed
# RFC 1918, loopback and RFC 4193. Whoever names a sensor's registry says where it may connect to: mostly there.
_PRIVATE = tuple(
    map(ip_network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)


async def run_sensor(settings: Settings, key: str) -> None:
    """Works until it is cancelled. Raises ApiError when the server does not take the key, OSError for a data directory
    that another sensor has.
    """
    directory = settings.data_dir.absolute() / "sensor"
    access, policy = _own_access(settings), outgoing_policy(settings)
    if access is not None and not policy.allowed_networks:
        policy = replace(policy, allowed_networks=_PRIVATE)
    with own_identity(directory) as identity:
        async with (
            connect(settings.url, key, tell=lambda message: log.warning("sensor.server_away", reason=message)) as api,
            OutgoingClient(policy) as http,
        ):
            means = Means(
                name=settings.sensor_name or socket.gethostname(),
                http=http,
                toolbox=toolbox(settings),
                limits=worker_limits(settings),
                native_fallback=settings.native_fallback,
                key=identity.key,
                access=access,
            )
            with Workspace(settings.scratch, f"sensor-{identity.id[:8]}-{os.getpid()}") as workspace:
                sensor = Sensor(
                    server=Server(api),
                    means=means,
                    identity=identity,
                    outbox=Outbox(directory / "outbox"),
                    workspace=workspace,
                    settings=settings,
                )
                await sensor.run()


def _own_access(settings: Settings) -> RegistryAccess | None:
    """The sensor's own registry, as its environment has it."""
    if not settings.sensor_registry:
        return None
    insecure = settings.sensor_registry.lower().startswith("http://")
    try:
        host = read_address(settings.sensor_registry, insecure=insecure).host
    except HarborGuardError as error:
        raise ValueError(f"HARBORGUARD_SENSOR_REGISTRY {error.issues[0].message}") from None
    password = settings.sensor_registry_password
    return RegistryAccess(
        host=host,
        insecure=insecure,
        username=settings.sensor_registry_username or None,
        password=password.get_secret_value() if password else None,
        provider=settings.sensor_registry_provider or detect(host),
        options={"namespace": settings.sensor_registry_namespace} if settings.sensor_registry_namespace else {},
    )


class Sensor:
    """One running sensor. Its jobs are tasks by the id of the job."""

    def __init__(
        self,
        *,
        server: Server,
        means: Means,
        identity: Identity,
        outbox: Outbox,
        workspace: Workspace,
        settings: Settings,
    ) -> None:
        self._server = server
        self._means = means
        self._identity = identity
        self._outbox = outbox
        self._workspace = workspace
        self._settings = settings
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[str] = set()
        self._written = asyncio.Event()
        self._started = time.monotonic()

    async def run(self) -> None:
        await self._register()
        loops = [self._take_work(), self._show_life(), self._send()]
        if self._means.access is not None:
            loops.append(self._discover(self._means.access))
        try:
            async with asyncio.TaskGroup() as group:
                for loop in loops:
                    group.create_task(loop)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            for task in self._jobs.values():
                task.cancel()
            await asyncio.gather(*self._jobs.values(), return_exceptions=True)

    # --- What it does all the time

    async def _register(self) -> None:
        found = await self._means.toolbox.look(Engine)
        access = self._means.access
        capabilities = [SCAN, *(["discovery"] if access else ()), *([OWN_CREDENTIALS] if _has_account(access) else ())]
        await self._server.register(
            {
                "name": self._means.name,
                "version": VERSION,
                "hostname": socket.gethostname(),
                "os": platform.system().lower(),
                "arch": platform.machine(),
                "scannerVersions": tool_versions(list(found.values())),
                "capabilities": capabilities,
                "s3Configured": False,
                "registryUrl": self._settings.sensor_registry,
                "sensorId": self._identity.id,
                "publicKey": write_public_key(self._identity.key.public_key()),
            }
        )
        log.info("sensor.registered", name=self._means.name, capabilities=capabilities)

    async def _take_work(self) -> None:
        while True:
            if len(self._jobs) < self._settings.worker_concurrency:
                found = await self._known(self._server.claim())
                self._drop(found.cancel_jobs if found else ())
                for job in found.jobs if found else ():
                    self._start(job)
                if found is not None and found.jobs:
                    continue
            await asyncio.sleep(self._settings.sensor_poll_seconds)

    async def _show_life(self) -> None:
        while True:
            active = len(self._jobs) + len(self._outbox.letters())
            uptime = int(time.monotonic() - self._started)
            self._drop(await self._known(self._server.heartbeat(active=active, uptime_seconds=uptime)) or ())
            await asyncio.sleep(BUSY_HEARTBEAT_SECONDS if self._jobs else IDLE_HEARTBEAT_SECONDS)

    async def _send(self) -> None:
        while True:
            self._written.clear()
            for letter in self._outbox.letters():
                await self._deliver(letter)
            await self._written.wait()

    async def _known(self, call: Coroutine[Any, Any, Any]) -> Any:
        """What the server answers; None where it has forgotten this sensor, which introduces itself anew then."""
        try:
            return await call
        except ApiError as error:
            if error.status != REGISTER_AGAIN:
                raise
            log.warning("sensor.forgotten", reason=str(error))
            await self._register()
            return None

    async def _deliver(self, letter: Letter) -> None:
        """What the server refuses it will always refuse: the job is told to have failed, and that is not told twice."""
        try:
            if letter.has_results:
                await self._server.upload(letter.path)
                await self._server.report(letter.job_id, {"status": "completed"})
            else:
                outcome = orjson.loads(await asyncio.to_thread(letter.path.read_bytes))
                await self._server.report(letter.job_id, outcome)
            log.info("sensor.sent", job=letter.job_id)
        except ApiError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                raise  # the key may be made good; what was seen waits until then
            log.warning("sensor.refused", job=letter.job_id, reason=str(error))
            if letter.has_results:
                self._outbox.put_outcome(letter.job_id, _failed(f"The server refused the results: {error}"))
                self._written.set()
        self._outbox.remove(letter)

    # --- Jobs

    def _start(self, job: Job) -> None:
        if job.id in self._jobs:
            return
        task = asyncio.create_task(self._work_on(job))
        self._jobs[job.id] = task
        task.add_done_callback(lambda _task: self._jobs.pop(job.id, None))

    def _drop(self, unwanted: Sequence[str]) -> None:
        for job_id in unwanted:
            if job_id in self._jobs:
                self._unwanted.add(job_id)
                self._jobs[job_id].cancel()

    async def _work_on(self, job: Job) -> None:
        with structlog.contextvars.bound_contextvars(job=job.id):
            log.info("sensor.started", image=job.scan.image_ref)
            try:
                outcome = await self._outcome(job)
            except asyncio.CancelledError:
                if job.id not in self._unwanted:
                    raise  # the sensor stops; the server gives the job to another one, or to this one's next start
                self._unwanted.discard(job.id)
                outcome = orjson.dumps({"status": "cancelled"})
            if outcome is not None:
                try:
                    self._outbox.put_outcome(job.id, outcome)
                except OSError as error:  # the server will miss the job, and give it out again
                    log.warning("sensor.outbox_unwritable", reason=error.strerror)
            self._written.set()

    async def _outcome(self, job: Job) -> bytes | None:
        """How the job ended without results; None once there are some in the outbox."""
        seconds = self._means.limits.scan_seconds
        try:
            async with asyncio.timeout(seconds):
                with self._workspace.scratch() as scratch:
                    envelope = await self._means.look(job, scratch)
            await asyncio.to_thread(self._outbox.put_results, job.id, envelope)
        except (ScanFailure, HarborGuardError) as failure:
            return _failed(failure.message)
        except TimeoutError:
            return _failed(f"The scan took longer than {int(seconds)} seconds")
        except OSError as error:
            return _failed(f"The sensor cannot write: {error.strerror}")
        except Exception:
            log.exception("sensor.unexpected_error")
            return _failed("A defect of the sensor; its own log has the details")
        return None

    # --- The registry it stands beside

    async def _discover(self, access: RegistryAccess) -> None:
        """Whatever goes wrong with it, the registry can still be scanned."""
        while True:
            try:
                catalogue = await open_catalogue(access, http=self._means.http, clock=utc_now)
                async for repositories in _repositories(catalogue):
                    await self._report(access, repositories)
            except ScanFailure as failure:
                log.warning("sensor.discovery_failed", reason=failure.message)
                await self._report(access, [], error=failure.message)
            await asyncio.sleep(self._settings.sensor_discovery_minutes * 60)

    async def _report(self, access: RegistryAccess, repositories: list[dict[str, Any]], **error: str) -> None:
        catalog = {
            "registryUrl": self._settings.sensor_registry,
            "provider": access.provider,
            "repositories": repositories,
            "discoveredAt": utc_now().isoformat(),
            **error,
        }
        try:
            await self._known(self._server.report_catalog(catalog))
        except ApiError as refusal:
            if refusal.status == HTTPStatus.UNAUTHORIZED:
                raise
            log.warning("sensor.catalog_refused", reason=str(refusal))


async def _repositories(catalogue: Catalogue) -> AsyncIterator[list[dict[str, Any]]]:
    """Repositories with their tags, as many at a time as go into one message; the tags of one may take several."""
    gathered: list[dict[str, Any]] = []
    count = 0
    async for names in catalogue.list_repositories():
        for name in names:
            async for tags in catalogue.list_tags(name):
                gathered.append({"name": name, "tags": [tag.name for tag in tags]})
                count += len(tags)
                if count >= _TAGS_AT_ONCE:
                    yield gathered
                    gathered, count = [], 0
    yield gathered


def _has_account(access: RegistryAccess | None) -> bool:
    return access is not None and access.username is not None


def _failed(reason: str) -> bytes:
    return orjson.dumps({"status": "failed", "error": reason[:_REASON]})
