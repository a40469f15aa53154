"""HarborGuard as an operator runs it: processes of its own, started, killed and started again; looked at from outside."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from app import administration
from app.settings import Settings
from schema.dependencies.models import Package
from schema.jobs.models import Job, JobState
from schema.kernel.columns import Table
from schema.kernel.database import Database
from schema.kernel.principal import Role
from schema.scans.models import EngineRun, Scan, ScanPhase, ScanStatus
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from tests import holding
from tests.factories.images import docker_files, write_archive
from tests.processes import HOLDING, PATIENCE, Reading, is_alive, paused_reader, until
from tests.workers.imports.samples import sbom
from tests.workers.workshop import advisories, debian, store_advisories

ROOT = Path(__file__).parents[2]
# Enough that storing takes a while, and that what is stored twice or in part shows.
PACKAGES = {f"package-{number}": "1.0-1" for number in range(1200)}


@dataclass
class Deployment:
    """`await up()` starts what is not running. Without `redis_url` one process does everything."""

    directory: Path
    database_url: str = ""
    redis_url: str = ""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.settings = Settings(
            data_dir=self.directory / "data", database_url=self.database_url, redis_url=self.redis_url
        )

    @property
    def at_scale(self) -> bool:
        return bool(self.redis_url)

    @property
    def worker(self) -> str:
        """The command whose process works on scans."""
        return "worker" if self.at_scale else "serve"

    @property
    def worker_pid(self) -> int:
        return self.processes[self.worker].pid

    async def prepare(self) -> None:
        """An organization, advisories for every package of the image, and the image."""
        await administration.set_up(
            self.settings, organization="Acme", email="ada@acme.example", name="Ada", password="correct horse battery"
        )
        async with self.database() as database:
            await store_advisories(database, advisories(*PACKAGES))
        self.archive = write_archive(self.directory / "image.tar", docker_files(debian(PACKAGES)))

    @asynccontextmanager
    async def database(self) -> AsyncIterator[Database]:
        database = Database(self.settings.database)
        try:
            yield database
        finally:
            await database.close()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        async with self.database() as database, database.read() as session:
            yield session

    # --- Processes

    async def up(self) -> None:
        for command in ("serve", "worker") if self.at_scale else ("serve",):
            self.start(command)
        await self.until_ready()

    def start(self, command: str) -> None:
        running = self.processes.get(command)
        if running is not None and running.poll() is None:
            return
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HARBORGUARD_DATA_DIR": str(self.settings.data_dir),
            "HARBORGUARD_DATABASE_URL": self.database_url,
            "HARBORGUARD_REDIS_URL": self.redis_url,
            "HARBORGUARD_PORT": str(self.port),
            "HARBORGUARD_LEASE_SECONDS": "2",
            "HARBORGUARD_RECONCILE_SECONDS": "0.5",
            "HARBORGUARD_RATE_LIMIT_PER_MINUTE": "100000",
        }
        with (self.directory / f"{command}.log").open("ab") as log:
            self.processes[command] = subprocess.Popen(
                [sys.executable, "-m", holding.MODULE, str(HOLDING), command],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def until_ready(self, status: int = 200) -> None:
        async def answers() -> bool:
            process = self.processes["serve"]
            assert process.poll() is None, (self.directory / "serve.log").read_text()[-4000:]
            async with self.api() as api:
                try:
                    return (await api.get("/api/ready")).status_code == status
                except httpx.TransportError:
                    return False

        await until(answers, every=0.1)

    async def kill(self, command: str, how: signal.Signals = signal.SIGKILL) -> int:
        """Ends a process and returns its exit code."""
        process = self.processes[command]
        process.send_signal(how)
        return await asyncio.to_thread(process.wait, PATIENCE)

    def down(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    @contextmanager
    def paused(self, command: str) -> Iterator[None]:
        process = self.processes[command]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    # --- Over the network

    def api(self, key: str = "") -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"X-API-Key": key} if key else {},
            timeout=PATIENCE,
            trust_env=False,
        )

    async def key(self) -> str:
        """A new one for each test, because triggers are limited by key."""
        return await administration.create_key(
            self.settings, name=secrets.token_hex(4), role=Role.ADMIN, organization_id=None, expires_days=1
        )

    async def upload(self, api: httpx.AsyncClient) -> tuple[str, str]:
        """(the upload's id, a reference nobody has used)."""
        image = f"acme/app-{secrets.token_hex(4)}:1"
        response = await api.post(
            "/api/images/upload",
            params={"image": image},
            headers={"Content-Type": "application/x-tar"},
            content=await asyncio.to_thread(self.archive.read_bytes),
        )
        assert response.is_success, response.text
        return response.json()["data"]["id"], image

    async def trigger(self, api: httpx.AsyncClient, uploaded: tuple[str, str] | None = None) -> str:
        upload_id, image = uploaded or await self.upload(api)
        response = await api.post(
            "/api/scans", json={"image": image, "scanners": ["trivy", "syft"], "uploadId": upload_id, "force": True}
        )
        assert response.status_code == 202, response.text
        return str(response.json()["data"]["id"])

    async def import_report(self, api: httpx.AsyncClient) -> str:
        """A report of the same packages as the image's, which judges none."""
        purls = (f"pkg:deb/debian/{name}@{version}?distro=debian-12" for name, version in PACKAGES.items())
        response = await api.post(
            "/api/scans/import",
            params={"image": f"acme/app-{secrets.token_hex(4)}:1"},
            headers={"Content-Type": "application/json"},
            content=orjson.dumps(sbom(*purls)),
        )
        assert response.status_code == 202, response.text
        return str(response.json()["data"]["id"])

    async def trigger_and_pause(self, api: httpx.AsyncClient, reading: Reading) -> tuple[str, int]:
        """(the scan's id, the process id of the child that reads its image and goes no further)."""
        uploaded = await self.upload(api)
        child = asyncio.create_task(paused_reader(self.worker_pid, reading))
        return await self.trigger(api, uploaded), await child

    # --- In the database

    async def job(self, scan_id: str) -> Job:
        async with self.reading() as session:
            return (await session.execute(select(Job).where(col(Job.subject_id) == scan_id))).scalar_one()

    async def phase(self, scan_id: str) -> ScanPhase:
        async with self.reading() as session:
            return (await session.execute(select(col(Scan.phase)).where(col(Scan.id) == scan_id))).scalar_one()

    async def assert_completed_once(self, scan_id: str, *, attempt: int | None = None) -> None:
        """Waits for the scan's end; then everything is there, nothing twice, and nothing lies around."""

        async def ended() -> bool:
            return (await self.job(scan_id)).finished_at is not None

        await until(ended, every=0.1)
        job = await self.job(scan_id)
        async with self.reading() as session:
            scan = (await session.execute(select(Scan).where(col(Scan.id) == scan_id))).scalar_one()
            counted = {table: await self._count(session, table, scan) for table in (EngineRun, Package, ScanFinding)}
            vulnerabilities = await session.execute(
                select(col(Vulnerability.id)).where(col(Vulnerability.image_id) == scan.image_id)
            )
            filed = len(vulnerabilities.all())
        assert scan.status is ScanStatus.COMPLETE, (scan.status, scan.failure_reason)
        assert job.state is JobState.DONE
        assert counted == {EngineRun: 2, Package: len(PACKAGES), ScanFinding: len(PACKAGES)}
        assert filed == len(PACKAGES)
        assert scan.critical + scan.high + scan.medium + scan.low + scan.unknown == len(PACKAGES)
        if attempt is not None:
            assert job.attempt == attempt
        await until(self._is_tidy)

    @staticmethod
    async def _count(session: AsyncSession, table: type[Table], scan: Scan) -> int:
        columns: Any = table
        return len((await session.execute(select(columns.id).where(columns.scan_id == scan.id))).all())

    async def _is_tidy(self) -> bool:
        """One living owner in the work directory, with nothing in its hands."""
        entries = Counter(path.suffix for path in self.settings.scratch.iterdir())
        # Unlike a path's own walk it does not mind that directories go while it looks.
        walked = os.walk(self.settings.scratch)
        files = [name for _, _, names in walked for name in names if not name.endswith(".lock")]
        return entries == {"": 1, ".lock": 1} and not files

    def assert_running(self) -> None:
        for command, process in self.processes.items():
            assert is_alive(process.pid), (self.directory / f"{command}.log").read_text()[-4000:]
