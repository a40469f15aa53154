"""Processes end with SIGKILL in every phase of a scan, and with SIGTERM: each scan is completed, once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
from sqlalchemy import text

from schema.jobs.models import JobState
from schema.scans.models import ScanPhase
from tests.chaos.deployment import Deployment
from tests.processes import PATIENCE, Reading, paused_reader, until, until_gone


def open_sqlite(deployment: Deployment) -> sqlite3.Connection:
    path = deployment.settings.data_dir / "harborguard.db"
    return sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)


def stop_in_phase(deployment: Deployment, scan_id: str, phase: ScanPhase, connection: sqlite3.Connection) -> None:
    """Returns with the write lock held while the scan is in that phase, so that it cannot get out of it."""
    while True:
        connection.execute("BEGIN IMMEDIATE")
        [found] = connection.execute("SELECT phase FROM scans WHERE id = ?", [scan_id]).fetchone()
        if found == phase:
            return
        connection.execute("ROLLBACK")
        assert found != ScanPhase.DONE, f"{phase} was missed"


def wait_for_ingest(scan_id: str, connection: sqlite3.Connection) -> None:
    """Returns when the scan's results are being stored: the last phase has begun, and somebody writes and writes."""
    connection.execute("PRAGMA busy_timeout = 0")
    busy = 0
    while busy < 20:
        [found] = connection.execute("SELECT phase FROM scans WHERE id = ?", [scan_id]).fetchone()
        assert found != ScanPhase.DONE, "the transaction was missed"
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            busy += found == ScanPhase.INGESTING
        else:
            busy = 0


async def test_t100_right_after_the_answer(embedded: Deployment) -> None:
    await embedded.up()
    async with embedded.api(await embedded.key()) as api:
        uploaded = await embedded.upload(api)
        scan_id = await embedded.trigger(api, uploaded)
        await embedded.kill("serve")

    await embedded.up()
    await embedded.assert_completed_once(scan_id)


@pytest.mark.parametrize("reading", ["unpack", "examine"])
async def test_t100_while_a_child_reads_the_image(embedded: Deployment, reading: Reading) -> None:
    """FETCHING and INVENTORY."""
    await embedded.up()
    async with embedded.api(await embedded.key()) as api:
        scan_id, child = await embedded.trigger_and_pause(api, reading)
        assert await embedded.phase(scan_id) is {"unpack": ScanPhase.FETCHING}.get(reading, ScanPhase.INVENTORY)

        await embedded.kill("serve")

    await until_gone(child)
    await embedded.up()
    await embedded.assert_completed_once(scan_id, attempt=2)


async def test_t100_while_packages_meet_advisories(embedded: Deployment) -> None:
    await embedded.up()
    async with embedded.api(await embedded.key()) as api:
        scan_id = await embedded.trigger(api)
        with closing(open_sqlite(embedded)) as connection:
            stop_in_phase(embedded, scan_id, ScanPhase.MATCHING, connection)
            await embedded.kill("serve")

    assert await embedded.phase(scan_id) is ScanPhase.MATCHING
    await embedded.up()
    await embedded.assert_completed_once(scan_id, attempt=2)


async def test_t100_in_the_middle_of_the_transaction_that_stores(embedded: Deployment) -> None:
    await embedded.up()
    async with embedded.api(await embedded.key()) as api:
        scan_id = await embedded.trigger(api)
        with closing(open_sqlite(embedded)) as connection:
            wait_for_ingest(scan_id, connection)
            await embedded.kill("serve")

    await embedded.up()
    await embedded.assert_completed_once(scan_id, attempt=2)


async def test_t100_while_a_child_reads_a_report(embedded: Deployment) -> None:
    await embedded.up()
    async with embedded.api(await embedded.key()) as api:
        pausing = asyncio.create_task(paused_reader(embedded.worker_pid, "import"))
        scan_id = await embedded.import_report(api)
        child = await pausing
        await embedded.kill("serve")

    await until_gone(child)
    await embedded.up()
    await embedded.assert_completed_once(scan_id, attempt=2)


async def test_t100_in_the_middle_of_storing_a_report(embedded: Deployment) -> None:
    await embedded.up()
    async with embedded.api(await embedded.key()) as api:
        scan_id = await embedded.import_report(api)
        with closing(open_sqlite(embedded)) as connection:
            wait_for_ingest(scan_id, connection)
            await embedded.kill("serve")

    await embedded.up()
    await embedded.assert_completed_once(scan_id, attempt=2)


@asynccontextmanager
async def locked(deployment: Deployment, table: str) -> AsyncIterator[None]:
    """Nobody reads or writes the table meanwhile. PostgreSQL only."""
    async with deployment.database() as database, database.writer.begin() as connection:
        await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        yield


async def until_somebody_waits(deployment: Deployment) -> None:
    async def waits() -> bool:
        async with deployment.reading() as session:
            waiting = await session.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            return bool(waiting.scalar_one())

    await until(waits)


@pytest.mark.parametrize(
    ("table", "phase"),
    [("advisory_packages", ScanPhase.MATCHING), ("scan_findings", ScanPhase.INGESTING)],
)
async def test_t100_a_worker_that_waits_for_the_database(scale: Deployment, table: str, phase: ScanPhase) -> None:
    """The second in the middle of its transaction, which its connection holds on to until it notices."""
    await scale.up()
    async with scale.api(await scale.key()) as api:
        uploaded = await scale.upload(api)
        async with locked(scale, table):
            scan_id = await scale.trigger(api, uploaded)
            await until_somebody_waits(scale)
            assert await scale.phase(scan_id) is phase
            await scale.kill("worker")

    await scale.up()
    await scale.assert_completed_once(scan_id, attempt=2)


async def test_t100_a_killed_api_disturbs_no_worker(scale: Deployment) -> None:
    await scale.up()
    async with scale.api(await scale.key()) as api:
        scan_id, child = await scale.trigger_and_pause(api, "unpack")
        await scale.kill("serve")
    assert (await scale.job(scan_id)).state is JobState.RUNNING

    os.kill(child, signal.SIGCONT)

    await scale.assert_completed_once(scan_id, attempt=1)


@pytest.mark.parametrize("kind", ["embedded", "scale"])
async def test_t101_a_process_that_is_asked_to_stop_hands_back(request: pytest.FixtureRequest, kind: str) -> None:
    deployment: Deployment = request.getfixturevalue(kind)
    await deployment.up()
    async with deployment.api(await deployment.key()) as api:
        scan_id, child = await deployment.trigger_and_pause(api, "examine")

    assert await deployment.kill(deployment.worker, signal.SIGTERM) == 0

    await until_gone(child)
    job = await deployment.job(scan_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    assert list(deployment.settings.scratch.iterdir()) == []
    await deployment.up()
    await deployment.assert_completed_once(scan_id, attempt=1)
