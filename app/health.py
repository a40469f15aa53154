"""`/api/health`: the process answers. `/api/ready`: it can do its work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from redis.exceptions import RedisError
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from compat_rest.envelopes import JsonResponse
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError

log = structlog.get_logger(__name__)
PROBE_SECONDS = 2.0

# Raises HarborGuardError, RedisError or OSError, or takes too long, when what it asks is not there.
Probe = Callable[[], Awaitable[None]]


async def health(_request: Request) -> Response:
    return JsonResponse({"status": "ok"})


async def ask_database(database: Database) -> None:
    async with database.read() as session:
        await session.execute(select(1))


class Readiness:
    """All probes at once; 503 when one fails. What a probe found is logged, callers learn only which one it was."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = dict(probes)

    async def answer(self, _request: Request) -> Response:
        results = await asyncio.gather(*(_passes(name, probe) for name, probe in self._probes.items()))
        checks = {name: "ok" if passed else "failed" for name, passed in zip(self._probes, results, strict=True)}
        ready = all(results)
        body = {"status": "ready" if ready else "unavailable", "checks": checks}
        return JsonResponse(body, status_code=200 if ready else 503)


async def _passes(name: str, probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await probe()
    except (HarborGuardError, RedisError, OSError) as error:
        log.warning("ready.failed", probe=name, error=type(error).__name__)
        return False
    return True
