"""B9: the dashboard at a million findings with twenty readers at once, over GraphQL."""

from __future__ import annotations

import asyncio
import statistics
import time

import orjson

from bench.product import Product, post
from bench.results import Result

READERS = 20
TARGET_MS = 100
DOCUMENT = """
{ dashboard { open { critical high medium low unknown total } fixable statuses { status count } images grades { grade count }
  queuedScans runningScans riskiestImages { id name riskScore grade } } }
"""


async def measure(name: str, product: Product, count: int, rounds: int) -> list[Result]:
    body = orjson.dumps({"query": DOCUMENT})
    times: list[float] = []

    async def read() -> None:
        for _ in range(rounds):
            began = time.perf_counter()
            await post(product.app, "/graphql", body, key=product.key)
            times.append((time.perf_counter() - began) * 1000)

    await post(product.app, "/graphql", body, key=product.key)
    await asyncio.gather(*(read() for _ in range(READERS)))
    p95 = statistics.quantiles(times, n=20)[-1]
    what = f"{name}, {count:,} findings, dashboard, {READERS} readers at once, p95"
    return [Result("B9", what, f"{p95:.1f} ms", f"<= {TARGET_MS} ms")]
