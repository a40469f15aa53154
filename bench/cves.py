"""B11: a day's EPSS of 300,000 CVEs beside a million findings, while somebody reads the list of findings all the time."""

from __future__ import annotations

import asyncio
import csv
import gzip
import random
import statistics
import time
from datetime import timedelta
from pathlib import Path

from bench.product import Product
from bench.results import Result
from schema.advisories.catalog import find_feed
from schema.advisories.importing import Content, filling
from schema.cves.importing import fill_cves
from schema.kernel.clock import iso_utc

RECORDS = 300_000
CHANGED = 0.15  # of the scores, from one day to the next
TARGET_SECONDS = 30
_FEED = find_feed("epss")


async def measure(name: str, product: Product, directory: Path, count: int) -> list[Result]:
    records = min(RECORDS, count)
    results = []
    for day, what in enumerate(("first", "a day later")):
        path = directory / f"epss-{day}.csv.gz"
        _write(path, records, day, iso_utc(product.services.clock() - timedelta(days=2 - day)))
        waits: list[float] = []
        reading = asyncio.create_task(_read(product, waits))
        began = time.perf_counter()
        async with filling(product.services.database, _FEED.name, clock=product.services.clock) as held:
            content = Content(source=path.name, complete=True)
            summary = await fill_cves(
                product.services.database, held, _FEED, content, [path], clock=product.services.clock
            )
        seconds = time.perf_counter() - began
        reading.cancel()
        p95 = statistics.quantiles(waits, n=20)[-1]
        results.append(
            Result(
                "B11",
                f"{name}, EPSS of {summary.records:,} CVEs, {what}, {summary.changed:,} changed, beside {count:,} findings; "
                "a reader's p95 meanwhile",
                f"{seconds:.1f} s; {p95:.0f} ms",
                f"<= {TARGET_SECONDS} s",
            )
        )
    return results


async def _read(product: Product, waits: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await product.get("/api/vulnerabilities?limit=50")
        waits.append((time.perf_counter() - began) * 1000)


def _write(path: Path, records: int, day: int, dated: str) -> None:
    first, later = random.Random(1), random.Random(2)
    with gzip.open(path, "wt", newline="") as file:
        file.write(f"#model_version:v2025.03.14,score_date:{dated}\n")
        lines = csv.writer(file)
        lines.writerow(("cve", "epss", "percentile"))
        for number in range(1_000, 1_000 + records):  # the ids of the findings' flaws among them
            score = first.random()
            if later.random() < CHANGED and day:
                score = later.random()
            lines.writerow((f"CVE-{2015 + number % 12}-{number}", f"{score:.5f}", f"{score:.5f}"))
