"""Where the time of one REST request goes: `GET /api/vulnerabilities?limit=50`, step by step.

Each step's function is timed from outside while requests run; a step that contains another one is given with what it
contains. The statements are part of "execution".
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from unittest.mock import patch

import uvloop

from app import middleware
from app.rate_limits import WindowLimiter
from bench import findings
from bench.product import opened
from bench.results import Result
from compat_rest import endpoints
from compat_rest.adapter import Directory
from compat_rest.endpoints import Endpoint
from schema.vulnerabilities import repository

URL = "/api/vulnerabilities?limit=50&page=1&sort=severity:desc"
# (step, where its function is found, its name)
STEPS: tuple[tuple[str, Any, str], ...] = (
    ("who asks: credential", middleware, "authenticate"),
    ("how often: rate limit", WindowLimiter, "hit"),
    ("which row: routing", Directory, "matches"),
    ("variables from path and query", endpoints, "read_query"),
    ("execution, statements included", endpoints, "run_operation"),
    ("of that, the statements and their rows", repository, "fetch_page"),
    ("envelope and JSON", Endpoint, "_envelope"),
    ("log line and metrics", middleware.RequestLog, "_finish"),
)


def run(size: str) -> list[Result]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(300 if size == "small" else 3_000))


async def _measure(requests: int) -> list[Result]:
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with opened(Path(directory) / "data") as product:
            await findings.furnish(product.services.database, product.organization_id, 5_000)
            for _ in range(20):
                await product.get(URL)
            with ExitStack() as stack:
                for step, owner, name in STEPS:
                    stack.enter_context(_timed(owner, name, times.setdefault(step, [])))
                whole = times.setdefault("the whole request", [])
                for _ in range(requests):
                    began = time.perf_counter()
                    await product.get(URL)
                    whole.append(time.perf_counter() - began)
    return [
        Result("REST", step, f"{statistics.median(each) * 1e6:,.0f} microseconds", "-") for step, each in times.items()
    ]


@contextmanager
def _timed(owner: Any, name: str, times: list[float]) -> Iterator[None]:
    function: Callable[..., Any] = getattr(owner, name)

    async def await_and_note(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = await function(*args, **options)
        times.append(time.perf_counter() - began)
        return result

    def call_and_note(*args: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = function(*args, **options)
        times.append(time.perf_counter() - began)
        return result

    with patch.object(owner, name, await_and_note if iscoroutinefunction(function) else call_and_note):
        yield
