"""A worker in this process: real database, real child processes, the queue's stand-in, and images from the factory."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from sqlalchemy import select, update
from sqlmodel import col

from app.blobs import DirectoryBlobStore
from app.keys import FileKeyProvider
from app.queue import ArqQueue, Redis, RedisSignals
from app.rate_limits import WindowLimiter
from schema.advisories.catalog import LOCAL
from schema.advisories.importing import import_advisories
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.jobs.models import Job
from schema.jobs.repository import Lease, lease_next, stopping
from schema.kernel.clock import utc_now
from schema.kernel.columns import Table
from schema.kernel.context import Limits, RequestContext, Services
from schema.kernel.database import Database
from schema.kernel.outbox import OutboxRelay
from schema.kernel.ports import OutgoingHttp, RegistryProbe
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.secrets import SessionSigner, TokenMint
from schema.organizations.models import Plan
from schema.organizations.repository import create_organization
from schema.scans.formats import ReportFormat
from schema.scans.importing import ReportHeader, receive_report
from schema.scans.models import Engine, Scan
from schema.scans.repository import load_scan
from schema.scans.trigger import ScanRequest, cancel_scan, queue_scan
from tests.factories.images import Image, image, layer, write_layout
from tests.identity import MASTER_KEY
from tests.processes import until
from workers.engines.running import EngineLimits
from workers.engines.tools import OFF, Toolbox
from workers.oci.limits import ImageLimits
from workers.runner import JobRunner
from workers.runtime import WorkerLimits, WorkerRuntime
from workers.sandbox import SandboxLimits
from workers.workspace import Workspace

IMAGE = "ghcr.io/acme/api:1"
LIMITS = WorkerLimits(
    concurrency=2,
    organization_limit=None,
    lease_seconds=600,  # so that nothing happens because time has passed, unless a test wants it
    heartbeat_seconds=200,
    reconcile_seconds=0.1,
    scan_seconds=300,
    image=ImageLimits(),
    analysis=SandboxLimits(wall_seconds=120),
    engines=EngineLimits(),
)
# Whatever is installed on this machine: tests that want a tool say which.
NO_TOOLS = dict.fromkeys(Engine, OFF)
OS_RELEASE = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'


def dpkg_status(packages: Mapping[str, str]) -> bytes:
    """The database of installed Debian packages, from names and versions."""
    entries = (
        f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n"
        for name, version in packages.items()
    )
    return "\n".join(entries).encode()


def debian(packages: Mapping[str, str] | None = None) -> Image:
    """A Debian 12 image with packages, by default two of them."""
    status = dpkg_status({"openssl": "3.0.1-1", "curl": "7.88.0-1"} if packages is None else packages)
    return image(layer({"etc/os-release": OS_RELEASE, "var/lib/dpkg/status": status}, created_by="ADD rootfs"))


def advisories(*packages: str, ecosystem: str = "Debian:12") -> list[AdvisoryRecord]:
    """One for each package, fixed in a version nobody has."""
    return [
        parse_osv(
            {
                "id": f"DSA-{number}",
                "aliases": [f"CVE-2024-{number + 1000}"],
                "modified": "2024-05-01T00:00:00Z",
                "affected": [
                    {
                        "package": {"ecosystem": ecosystem, "name": name},
                        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9999"}]}],
                    }
                ],
            }
        )
        for number, name in enumerate(packages)
    ]


async def store_advisories(database: Database, records: Sequence[AdvisoryRecord], *, feed: str = LOCAL) -> None:
    async def stream() -> AsyncIterator[AdvisoryRecord | None]:
        for record in records:
            yield record

    await import_advisories(database, "test", stream(), clock=utc_now, feed=feed)


@dataclass
class Workshop:
    database: Database
    directory: Path
    redis: Redis = field(default_factory=lambda: Redis(""))
    limits: WorkerLimits = LIMITS
    native_fallback: bool = True
    tools: Mapping[Engine, str] = field(default_factory=lambda: NO_TOOLS)

    def __post_init__(self) -> None:
        connection = self.redis.connect()
        self.services = Services(
            database=self.database,
            relay=OutboxRelay(self.database, ArqQueue(connection)),
            signals=RedisSignals(connection),
            blobs=DirectoryBlobStore(self.directory / "uploads"),
            keys=FileKeyProvider(self.directory, MASTER_KEY),
            mint=TokenMint(b"p" * 32),
            signer=SessionSigner(b"s" * 32),
            rates=WindowLimiter(),
            registry_probe=cast("RegistryProbe", object()),
            clock=utc_now,
            limits=Limits(max_upload_bytes=1_000_000, session_idle_seconds=60, session_absolute_seconds=60),
        )
        self.principal: Principal
        self.connection = connection

    async def open(self) -> None:
        async with self.database.write() as session:
            organization_id = await create_organization(session, name="Acme", plan=Plan.ENTERPRISE, now=utc_now())
        self.principal = Principal(
            organization_id=organization_id,
            role=Role.OWNER,
            actor_kind=ActorKind.OPERATOR,
            actor_id="operator",
            user_id=None,
            credential_id="operator",
        )

    async def close(self) -> None:
        await self.services.background.settle()
        await self.connection.aclose(close_connection_pool=True)

    @property
    def work_dir(self) -> Path:
        return self.directory / "work"

    def change_limits(self, **values: Any) -> None:
        self.limits = replace(self.limits, **values)

    def runtime(self, *, http: OutgoingHttp | None = None) -> WorkerRuntime:
        """Of a new worker process, as far as leases know."""
        return WorkerRuntime(
            services=self.services,
            http=http or cast("OutgoingHttp", object()),
            limits=self.limits,
            work_dir=self.work_dir,
            owner=f"worker-{secrets.token_hex(4)}",
            native_fallback=self.native_fallback,
            toolbox=Toolbox(places=self.tools, databases=self.directory / "databases", hidden=(self.directory,)),
        )

    @asynccontextmanager
    async def runner(self) -> AsyncIterator[JobRunner]:
        runtime = self.runtime()
        with Workspace(runtime.work_dir, runtime.owner) as workspace:
            runner = JobRunner(runtime, workspace)
            try:
                yield runner
            finally:
                await runner.close()

    def layout(self, content: Image | None = None) -> Path:
        return write_layout(self.directory / f"image-{secrets.token_hex(4)}", content or debian())

    async def queue(
        self,
        source: Path | None = None,
        *,
        engines: tuple[Engine, ...] = (Engine.TRIVY, Engine.SYFT),
        name: str = IMAGE,
        platform: str | None = None,
        force: bool = False,
    ) -> str:
        """A scan of a layout or an archive, by default of the small Debian image."""
        path = source or self.layout()
        request = ScanRequest(image=name, scanners=engines, path=str(path), platform=platform, force=force)
        async with self.database.write() as session:
            return await queue_scan(session, request, self.principal, now=utc_now())

    async def import_(
        self,
        document: object,
        *,
        name: str = IMAGE,
        stated: ReportFormat | None = None,
        digest: str | None = None,
        platform: str | None = None,
    ) -> Scan:
        """A scan of a report, JSON or bytes, as it has ended."""
        content = document if isinstance(document, bytes) else orjson.dumps(document)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 10_000):
                yield content[start : start + 10_000]

        context = RequestContext(
            services=self.services, principal_or_none=self.principal, request_id="req", client_ip="192.0.2.9"
        )
        header = ReportHeader(image=name, format=stated, digest=digest, platform=platform)
        scan_id = await receive_report(context, header, chunks())
        await self.work()
        return await self.scan(scan_id)

    async def lease(self, owner: str = "worker-test", *, seconds: float = 600) -> Lease:
        async with self.database.write() as session:
            lease = await lease_next(session, owner=owner, now=utc_now(), seconds=seconds)
        assert lease is not None
        return lease

    async def work(self) -> None:
        """Works on the next job, as its worker would."""
        async with self.runner() as runner:
            await runner.work_on(await self.lease())

    async def scan(self, scan_id: str) -> Scan:
        async with self.database.read() as session:
            return await load_scan(session, self.principal.organization_id, scan_id)

    async def scanned(self, source: Path | None = None, **how: Any) -> Scan:
        """Queues a scan, works on it and returns how it ended."""
        scan_id = await self.queue(source, **how)
        await self.work()
        return await self.scan(scan_id)

    async def job(self, scan_id: str) -> Job:
        async with self.database.read() as session:
            return (await session.execute(select(Job).where(col(Job.subject_id) == scan_id))).scalar_one()

    async def change_job(self, scan_id: str, **values: Any) -> None:
        async with self.database.write() as session:
            await session.execute(update(Job).where(col(Job.subject_id) == scan_id).values(**values))

    async def cancel(self, scan_id: str) -> None:
        async with self.database.write() as session:
            await cancel_scan(session, scan_id, self.principal, now=utc_now())
        await self.services.signals.send(stopping(scan_id))

    async def rows(self, table: type[Table]) -> list[Any]:
        async with self.database.read() as session:
            return list((await session.execute(select(table))).scalars())

    async def until_ended(self, scan_id: str) -> Scan:
        async def ended() -> bool:
            return (await self.job(scan_id)).finished_at is not None

        await until(ended)
        return await self.scan(scan_id)

    def scratch(self) -> list[Path]:
        """What lies in the work directory."""
        return [path for path in self.work_dir.rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.fixture
async def workshop(database: Database, tmp_path: Path) -> AsyncIterator[Workshop]:
    workshop = Workshop(database, tmp_path)
    await workshop.open()
    yield workshop
    await workshop.close()
