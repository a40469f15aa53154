"""How many whole scans of a small image one worker process does a minute, image reading included.

This is not B4, which leaves fetching and reading out: here every scan unpacks an archive and takes an inventory, each in
a child process, so it is what a pipeline gets on this machine.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from app import administration
from app.local_scan import request_for
from app.queue import Redis
from app.runtime import open_services, worker_runtime
from app.settings import Settings
from bench.results import Result
from schema.jobs.models import JobState
from schema.jobs.repository import count_by_state
from schema.scans.models import Engine
from schema.scans.trigger import queue_scan
from tests.factories import images
from workers.runner import JobRunner
from workers.workspace import Workspace


def run(size: str) -> list[Result]:
    scans = 40 if size == "small" else 1_000
    seconds = asyncio.run(_scan_all(scans))
    return [Result("-", f"{scans} whole scans of a small archive", f"{scans / seconds * 60:.0f} a minute", "-")]


async def _scan_all(scans: int) -> float:
    with tempfile.TemporaryDirectory() as directory:
        settings = Settings(data_dir=Path(directory) / "data")
        archive = Path(directory) / "small.tar"
        status = b"Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2\nArchitecture: amd64\n"
        release = b'ID=debian\nVERSION_ID="12"\n'
        image = images.image(images.layer({"etc/os-release": release, "var/lib/dpkg/status": status}))
        images.write_archive(archive, images.layout_files(image))
        await administration.set_up(
            settings, organization="Bench", email="bench@example.com", name="Bench", password="a long password"
        )
        async with open_services(settings, Redis("")) as services, worker_runtime(settings, services) as runtime:
            principal = await administration.operator_of(services, None)
            request = request_for(str(archive), engines=(Engine.SYFT,), name=None, platform=None)
            async with services.database.write() as session:
                for _ in range(scans):
                    await queue_scan(session, request, principal, now=services.clock())
            started = time.perf_counter()
            with Workspace(runtime.work_dir, runtime.owner) as workspace:
                runner = JobRunner(runtime, workspace)
                for _ in range(runtime.limits.concurrency):
                    runner.wake()
                await runner.idle()
            async with services.database.read() as session:
                done = (await count_by_state(session))[JobState.DONE]
            if done != scans:
                raise RuntimeError(f"{done} of {scans} scans ended")
            return time.perf_counter() - started
