"""Putting the product together, and taking it apart again without leaving anything behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from app.queue import Redis
from app.runtime import open_services, open_worker, worker_limits, worker_runtime
from app.settings import Settings
from schema.kernel.errors import ErrorCode, HarborGuardError


async def test_services_stand_on_an_up_to_date_database(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")

    for _ in range(2):  # the second time there is nothing to migrate
        async with open_services(settings, Redis("")) as services, services.database.read() as session:
            assert (await session.execute(text("SELECT count(*) FROM scans"))).scalar_one() == 0

    assert settings.data_dir.stat().st_mode & 0o077 == 0, "keys and images are nobody else's business"


async def test_processes_that_start_at_once_migrate_once(database_url: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url=database_url)

    async def start() -> None:
        async with open_services(settings, Redis("")):
            pass

    await asyncio.gather(start(), start(), start())


async def test_a_restarted_process_is_nobody_s_owner(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with open_services(settings, Redis("")) as services:
        async with worker_runtime(settings, services) as first:
            pass
        async with worker_runtime(settings, services) as second:
            pass

    assert first.owner != second.owner


def test_limits_are_the_operator_s(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path, lease_seconds=30, scan_timeout_seconds=60, analysis_memory_bytes=256 * 1024**2
    )

    limits = worker_limits(settings)

    assert limits.heartbeat_seconds * 3 <= limits.lease_seconds, "two heartbeats may fail before the lease is lost"
    assert limits.scan_seconds == 60
    assert limits.analysis.memory_bytes == 256 * 1024**2


async def test_a_worker_leaves_nothing_behind(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    connections = Redis("")
    async with open_services(settings, connections) as services:
        async with open_worker(settings, connections, services):
            assert len(list(settings.scratch.iterdir())) == 2, "a directory and its lock"
        assert list(settings.scratch.iterdir()) == []


async def test_t103_a_database_that_is_away_stops_the_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql+asyncpg://harborguard@127.0.0.1:1/harborguard")

    async def start() -> None:
        async with open_services(settings, Redis("")):
            pass

    with pytest.raises(HarborGuardError) as refused:
        await start()
    assert refused.value.code is ErrorCode.SERVICE_UNAVAILABLE
