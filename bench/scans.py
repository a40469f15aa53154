"""B4: what a scan costs without its engine; and how many whole scans of a small image one worker process does a minute.

Without its engine: everything around it happens (leases, phases, log, results, signals, all in their transactions), but
fetching and reading the image are answered at once. In a whole scan both run, each in a child process, so that is what a
pipeline gets on this machine.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from unittest.mock import patch

import uvloop

from app import administration
from app.logging import configure_logging
from app.queue import Redis
from app.runtime import open_services, spare_collector, worker_runtime
from app.settings import Settings
from bench.product import new_database, postgresql
from bench.results import Result
from schema.jobs.models import JobState
from schema.jobs.repository import count_by_state
from schema.scans.models import Engine
from schema.scans.trigger import ScanRequest, queue_scan
from tests.factories import images
from workers.examination import Examination, Questions, examine
from workers.oci.layout import Image, read_image
from workers.oci.limits import ImageLimits
from workers.runner import JobRunner
from workers.workspace import Workspace

WORKERS = (1, 2, 4)
TARGET = 1_500  # a minute, of one worker process without its engine


def run(size: str) -> list[Result]:
    alone, whole = (200, 40) if size == "small" else (1_000, 1_000)
    results = []
    with tempfile.TemporaryDirectory() as directory:
        rate = _measure(Settings(data_dir=Path(directory) / "data"), alone, 1, engine=False)
        what = f"{alone} scans without their engine, SQLite, 1 worker process"
        results.append(Result("B4", what, f"{rate:.0f} a minute", f">= {TARGET}"))
    with postgresql() as server:
        for workers in WORKERS:
            url = asyncio.run(new_database(server, f"workers_{workers}"))
            with tempfile.TemporaryDirectory() as directory:
                settings = Settings(data_dir=Path(directory) / "data", database_url=url)
                rate = _measure(settings, alone, workers, engine=False)
            what = f"{alone} scans without their engine, PostgreSQL, {workers} worker processes"
            results.append(Result("B4", what, f"{rate:.0f} a minute", f">= {TARGET}" if workers == 1 else "grows"))
    with tempfile.TemporaryDirectory() as directory:
        rate = _measure(Settings(data_dir=Path(directory) / "data"), whole, 1, engine=True)
    return [*results, Result("-", f"{whole} whole scans of a small archive", f"{rate:.0f} a minute", "-")]


def _measure(settings: Settings, scans: int, workers: int, *, engine: bool) -> float:
    """Scans a minute of so many worker processes."""
    asyncio.run(_queue(settings, scans))
    start = multiprocessing.get_context("spawn")
    barrier = start.Barrier(workers + 1)
    processes = [
        start.Process(target=_work, args=(settings.model_dump(), barrier), kwargs={"engine": engine})
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    for process in processes:
        process.join()
    seconds = time.perf_counter() - started
    done = asyncio.run(_done(settings))
    if done != scans:
        raise RuntimeError(f"{done} of {scans} scans ended")
    return scans / seconds * 60


def _layout(settings: Settings) -> Path:
    return settings.data_dir / "small"


async def _queue(settings: Settings, scans: int) -> None:
    await administration.set_up(
        settings, organization="Bench", email="bench@example.com", name="Bench", password="a long password"
    )
    status = b"Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2\nArchitecture: amd64\n"
    release = b'ID=debian\nVERSION_ID="12"\n'
    image = images.image(images.layer({"etc/os-release": release, "var/lib/dpkg/status": status}))
    images.write_layout(_layout(settings), image)
    request = ScanRequest(image="local/small", scanners=(Engine.SYFT,), path=str(_layout(settings)), force=True)
    async with open_services(settings, Redis("")) as services:
        principal = await administration.operator_of(services, None)
        async with services.database.write() as session:
            for _ in range(scans):
                await queue_scan(session, request, principal, now=services.clock())


async def _done(settings: Settings) -> int:
    async with open_services(settings, Redis("")) as services, services.database.read() as session:
        return (await count_by_state(session)).get(JobState.DONE, 0)


def _work(values: dict[str, object], barrier: Barrier, *, engine: bool) -> None:
    """One worker process, as `harborguard worker` starts it, until nothing is due."""
    configure_logging(level="warning", json=True)
    spare_collector()
    settings = Settings.model_validate(values)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work_until_idle(settings, barrier, engine=engine))


async def _work_until_idle(settings: Settings, barrier: Barrier, *, engine: bool) -> None:
    async with _runner(settings) as (runner, slots):
        barrier.wait()
        with _every_engine() if engine else _no_engine(_layout(settings)):
            for _ in range(slots):
                runner.wake()
            await runner.idle()


@asynccontextmanager
async def _runner(settings: Settings) -> AsyncIterator[tuple[JobRunner, int]]:
    async with open_services(settings, Redis("")) as services, worker_runtime(settings, services) as runtime:
        with Workspace(runtime.work_dir, runtime.owner) as workspace:
            yield JobRunner(runtime, workspace), runtime.limits.concurrency


@contextmanager
def _every_engine() -> Iterator[None]:
    yield


@contextmanager
def _no_engine(layout: Path) -> Iterator[None]:
    image = read_image(layout, ImageLimits())
    examination = examine(layout, Questions(), ImageLimits())

    async def fetched(*_: object, **__: object) -> Image:
        return image

    async def examined(*_: object, **__: object) -> Examination:
        return examination

    with patch("workers.scan.fetch_image", fetched), patch("workers.scan.examine_image", examined):
        yield
