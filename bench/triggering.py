"""B6: how long a pipeline waits for `POST /api/scans` and for an upload of 8 MB while four scans run in the same process.

The scans are of a Debian, which keeps its reader busy for most of a second; and, as hard as it gets, of an image that is a
list of 2,000 packages and nothing else, so that nearly all there is to do is to store them, in the process that answers.
The scenario's other half, results that a sensor uploads, comes with the sensor protocol.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

import orjson
import uvloop

from app.runtime import spare_collector, worker_runtime
from app.settings import Settings
from bench.product import Product, new_key, opened, post
from bench.results import Result
from schema.scans.models import Engine
from schema.scans.trigger import ScanRequest, queue_scan
from tests.factories import images
from tests.factories.distributions import Distributions, UnavailableError
from tests.factories.images import Image
from workers.runner import JobRunner
from workers.workspace import Workspace

PER_KEY = 10  # triggers a minute that one credential may send
UPLOAD_BYTES = 8 * 1024 * 1024
PACKAGES = 2_000
TRIGGER_MS, UPLOAD_MS = 50, 200


def run(size: str) -> list[Result]:
    calls = 50 if size == "small" else 500
    results = []
    for what, make in (("a Debian", _debian), (f"{PACKAGES:,} packages and nothing else", _list_of_packages)):
        with (
            tempfile.TemporaryDirectory() as directory,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            try:
                image = make(Path(directory))
            except UnavailableError as problem:
                results.append(Result("B6", f"scans of {what}", f"not measured: {problem}", "-"))
                continue
            results += runner.run(_measure(Path(directory), image, f"4 scans of {what} run", calls))
    return results


def _debian(scratch: Path) -> Image:
    made = scratch / "made"
    made.mkdir()
    return Distributions(made).debian()


def _list_of_packages(_scratch: Path) -> Image:
    return images.image(images.layer(_files()))


async def _measure(directory: Path, image: Image, meanwhile: str, calls: int) -> list[Result]:
    archive = directory / "busy.tar"
    images.write_archive(archive, images.layout_files(image))
    spare_collector()
    async with opened(directory / "data") as product:
        settings = Settings(data_dir=directory / "data", worker_concurrency=4)
        await _queue(product, archive, 4 * calls)
        async with worker_runtime(settings, product.services) as runtime:
            with Workspace(runtime.work_dir, runtime.owner) as workspace:
                runner = JobRunner(runtime, workspace)
                for _ in range(runtime.limits.concurrency):
                    runner.wake()
                await asyncio.sleep(1)
                triggers = await _trigger(product, calls)
                uploads = await _upload(product, calls // 10)
                await runner.close()
    return [
        Result("B6", f"{calls} triggers while {meanwhile}, p95", f"{_p95(triggers):.1f} ms", f"<= {TRIGGER_MS} ms"),
        Result("B6", f"upload of 8 MB while {meanwhile}, p95", f"{_p95(uploads):.0f} ms", f"<= {UPLOAD_MS} ms"),
    ]


def _files() -> dict[str, bytes]:
    status = b"\n".join(
        b"Package: library%d\nStatus: install ok installed\nVersion: 1.%d\nArchitecture: amd64\n" % (number, number)
        for number in range(PACKAGES)
    )
    return {"etc/os-release": b'ID=debian\nVERSION_ID="12"\n', "var/lib/dpkg/status": status}


async def _queue(product: Product, archive: Path, scans: int) -> None:
    request = ScanRequest(image="local/busy", scanners=(Engine.SYFT,), path=str(archive), force=True)
    async with product.services.database.write() as session:
        for _ in range(scans):
            await queue_scan(session, request, product.principal, now=product.services.clock())


async def _trigger(product: Product, calls: int) -> list[float]:
    times = []
    keys = [await new_key(product.services, product.organization_id) for _ in range(-(-calls // PER_KEY))]
    for number in range(calls):
        # The lowest priority, so that they wait behind the scans that are to run meanwhile.
        body = orjson.dumps({"image": f"registry.example/app:{number}", "scanners": ["syft"], "priority": -10})
        began = time.perf_counter()
        await post(product.app, "/api/scans", body, key=keys[number // PER_KEY])
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.02)  # as pipelines do, rather than one after the other
    return times


async def _upload(product: Product, calls: int) -> list[float]:
    times = []
    archive = os.urandom(UPLOAD_BYTES)
    for number in range(calls):
        began = time.perf_counter()
        await post(
            product.app,
            f"/api/images/upload?image=registry.example/up:{number}",
            archive,
            key=product.key,
            media_type="application/x-tar",
        )
        times.append((time.perf_counter() - began) * 1000)
    return times


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]
