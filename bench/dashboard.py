"""B9: the dashboard and the posture at a million findings with twenty readers at once: one over GraphQL, one over REST."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

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
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "dashboard": lambda: post(product.app, "/graphql", body, key=product.key),
        "posture": lambda: product.get("/api/reports/posture"),
        "posture by day": lambda: product.get("/api/reports/posture/trend?days=90"),
    }
    return [
        Result(
            "B9",
            f"{name}, {count:,} findings, {what}, {READERS} readers at once, p95",
            f"{await _p95(call, rounds):.1f} ms",
            f"<= {TARGET_MS} ms",
        )
        for what, call in calls.items()
    ]


async def _p95(call: Callable[[], Awaitable[object]], rounds: int) -> float:
    """Milliseconds."""
    times: list[float] = []

    async def read() -> None:
        for _ in range(rounds):
            began = time.perf_counter()
            await call()
            times.append((time.perf_counter() - began) * 1000)

    await call()
    await asyncio.gather(*(read() for _ in range(READERS)))
    return statistics.quantiles(times, n=20)[-1]
