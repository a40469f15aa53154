"""A worker sees each job to its end, whatever comes between: real images, real child processes."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schema.images.repository import insert_upload
from schema.jobs import repository
from schema.jobs.models import JobKind, JobState
from schema.kernel.clock import utc_now
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.scans.failures import FailureCode
from schema.scans.models import Engine, EngineRun, EngineRunStatus, ScanPhase, ScanStatus
from schema.scans.repository import log_lines
from schema.scans.trigger import ScanRequest, queue_scan
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from tests.app.site import on_sqlite
from tests.factories.images import docker_files, write_archive
from tests.processes import PATIENCE, Reading, paused_reader, until, until_gone
from tests.workers.workshop import Workshop, advisories, debian, store_advisories
from workers.runner import PERFORM
from workers.sandbox import SandboxLimits


async def test_a_scan_from_layout_to_verdict(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))

    scan = await workshop.scanned()

    assert (scan.status, scan.phase, scan.progress) == (ScanStatus.COMPLETE, ScanPhase.DONE, 100), scan.failure_reason
    assert (scan.package_count, scan.digest) == (2, debian().digest)
    assert len(await workshop.rows(ScanFinding)) == 1
    assert (await workshop.job(scan.id)).state is JobState.DONE
    assert workshop.scratch() == []
    async with workshop.database.read() as session:
        lines = await log_lines(session, workshop.principal.organization_id, scan.id, after=0)
    assert [line.sequence for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1].message == "Scan ended with 1 findings"


@on_sqlite
async def test_a_docker_archive_is_scanned_like_a_layout(workshop: Workshop) -> None:
    archive = write_archive(workshop.directory / "saved.tar.gz", docker_files(debian()), compression="gzip")

    scan = await workshop.scanned(archive)

    assert (scan.status, scan.package_count) == (ScanStatus.COMPLETE, 2)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"not an archive at all" * 1000, FailureCode.IMAGE_INVALID),
        (b"", FailureCode.IMAGE_INVALID),
        (None, FailureCode.IMAGE_NOT_FOUND),
    ],
)
async def test_a_broken_archive_fails_with_a_sentence(
    workshop: Workshop, content: bytes | None, code: FailureCode
) -> None:
    archive = workshop.directory / "broken.tar"
    if content is not None:
        archive.write_bytes(content)

    scan = await workshop.scanned(archive)

    assert (scan.status, scan.phase, scan.failure_code) == (ScanStatus.FAILED, ScanPhase.DONE, code)
    assert scan.failure_reason is not None
    assert " " in scan.failure_reason
    assert str(workshop.directory) not in scan.failure_reason, "no path of the server"
    job = await workshop.job(scan.id)
    assert (job.state, job.attempt) == (JobState.FAILED, 1), "trying again would not help"
    assert {run.status for run in await workshop.rows(EngineRun)} == {EngineRunStatus.SKIPPED}


@pytest.mark.parametrize("reading", ["unpack", "examine"])
async def test_a_running_scan_is_cancelled_and_its_child_is_gone(workshop: Workshop, reading: Reading) -> None:
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        runner.wake()
        child = await paused_reader(os.getpid(), reading)

        await workshop.cancel(scan_id)

        scan = await workshop.until_ended(scan_id)
        await until_gone(child)
    assert (scan.status, scan.phase) == (ScanStatus.CANCELLED, ScanPhase.DONE)
    assert (await workshop.job(scan_id)).state is JobState.CANCELLED
    assert {run.status for run in await workshop.rows(EngineRun)} == {EngineRunStatus.SKIPPED}
    assert workshop.scratch() == []


async def test_t100_whoever_lost_the_lease_stores_nothing(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    workshop.change_limits(heartbeat_seconds=0.1)
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        runner.wake()
        child = await paused_reader(os.getpid(), "examine")

        await workshop.change_job(scan_id, lease_owner="another-worker", attempt=2)

        await until_gone(child)
        # It goes on to look for other work, and finds none.
        async with asyncio.timeout(PATIENCE):
            await runner.idle()
    job = await workshop.job(scan_id)
    assert (job.state, job.lease_owner, job.attempt) == (JobState.RUNNING, "another-worker", 2)
    assert (await workshop.scan(scan_id)).status is ScanStatus.IN_PROGRESS
    assert await workshop.rows(Vulnerability) == []


@on_sqlite
async def test_t100_a_lease_that_is_lost_in_the_last_moment_stores_nothing(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    scan_id = await workshop.queue()
    finish = repository.finish

    async def too_late(session: Any, lease: repository.Lease, state: JobState, **how: Any) -> bool:
        monkeypatch.undo()
        requeued, _ = await repository.requeue_orphans(session, now=utc_now() + timedelta(days=1))
        assert requeued == 1
        return await finish(session, lease, state, **how)

    monkeypatch.setattr(repository, "finish", too_late)

    await workshop.work()

    assert await workshop.rows(Vulnerability) == []
    assert (await workshop.scan(scan_id)).status is ScanStatus.IN_PROGRESS


@on_sqlite
async def test_t100_a_worker_that_slept_does_not_start_again_what_another_ended(workshop: Workshop) -> None:
    """Stopped between taking the job and its first write, for longer than the lease."""
    scan_id = await workshop.queue()
    stale = await workshop.lease("sleeper")
    async with workshop.database.write() as session:
        await repository.requeue_orphans(session, now=utc_now() + timedelta(days=1))
    await workshop.work()
    before = await workshop.scan(scan_id)
    assert before.status is ScanStatus.COMPLETE

    async with workshop.runner() as runner:
        await runner.work_on(stale)

    assert (await workshop.scan(scan_id)).model_dump() == before.model_dump()


async def test_an_unexpected_exception_is_retried_and_then_the_scan_fails(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    attempts = []

    def crash(*_: object) -> None:
        attempts.append(1)
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("workers.matching.match_packages", crash)
    scan_id = await workshop.queue()

    async with workshop.runner() as runner:
        runner.wake()
        scan = await workshop.until_ended(scan_id)

    assert len(attempts) == 3
    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, FailureCode.INTERNAL)
    assert scan.failure_reason is not None
    assert "secret" not in scan.failure_reason
    assert (await workshop.job(scan_id)).state is JobState.FAILED


async def test_what_fails_once_succeeds_at_the_next_attempt(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store_advisories(workshop.database, advisories("openssl"))

    def crash(*_: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError

    monkeypatch.setattr("workers.matching.match_packages", crash)
    scan_id = await workshop.queue()

    async with workshop.runner() as runner:
        runner.wake()
        scan = await workshop.until_ended(scan_id)

    assert scan.status is ScanStatus.COMPLETE
    assert (await workshop.job(scan_id)).attempt == 2
    assert len(await workshop.rows(ScanFinding)) == 1


@on_sqlite
async def test_t104_a_work_directory_that_cannot_be_written_is_no_lost_job(workshop: Workshop) -> None:
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        for directory in workshop.work_dir.iterdir():
            if directory.is_dir():
                directory.rmdir()
        runner.wake()
        scan = await workshop.until_ended(scan_id)

    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, FailureCode.INTERNAL)


async def test_t101_stopping_hands_back_and_another_worker_completes(workshop: Workshop) -> None:
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        runner.wake()
        child = await paused_reader(os.getpid(), "examine")
    await until_gone(child)
    job = await workshop.job(scan_id)
    assert (job.state, job.lease_owner, job.attempt) == (JobState.QUEUED, None, 0), "no attempt is lost"
    assert workshop.scratch() == []

    await workshop.work()

    assert (await workshop.scan(scan_id)).status is ScanStatus.COMPLETE
    job = await workshop.job(scan_id)
    assert (job.state, job.attempt) == (JobState.DONE, 1)


@on_sqlite
async def test_a_scan_that_takes_too_long_fails(workshop: Workshop) -> None:
    workshop.change_limits(scan_seconds=1)
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        runner.wake()
        child = await paused_reader(os.getpid(), "unpack")
        scan = await workshop.until_ended(scan_id)
        await until_gone(child)

    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, FailureCode.LIMIT_EXCEEDED)
    assert scan.failure_reason == "The scan took longer than 1 seconds"


@on_sqlite
async def test_a_time_out_of_anything_else_is_not_the_scan_s(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*_: object) -> None:
        raise TimeoutError("a connection took too long")

    monkeypatch.setattr("workers.scan.fetch_image", slow)
    scan_id = await workshop.queue()

    async with workshop.runner() as runner:
        runner.wake()
        scan = await workshop.until_ended(scan_id)

    assert scan.failure_code is FailureCode.INTERNAL
    assert (await workshop.job(scan_id)).attempt == 3


@on_sqlite
async def test_reading_that_takes_too_long_fails(workshop: Workshop) -> None:
    workshop.change_limits(analysis=SandboxLimits(wall_seconds=1))
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        runner.wake()
        child = await paused_reader(os.getpid(), "unpack")
        scan = await workshop.until_ended(scan_id)
        await until_gone(child)

    assert scan.failure_code is FailureCode.LIMIT_EXCEEDED


@on_sqlite
async def test_a_child_that_is_killed_fails_the_scan_and_not_the_worker(workshop: Workshop) -> None:
    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        runner.wake()
        os.kill(await paused_reader(os.getpid(), "examine"), signal.SIGKILL)
        assert (await workshop.until_ended(scan_id)).failure_code is FailureCode.LIMIT_EXCEEDED
        second = await workshop.queue()
        runner.wake()
        assert (await workshop.until_ended(second)).status is ScanStatus.COMPLETE


@on_sqlite
async def test_t103_a_database_that_goes_away_leaves_the_job_to_its_lease(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "away")

    scan_id = await workshop.queue()
    async with workshop.runner() as runner:
        with monkeypatch.context() as patched:
            patched.setattr("workers.scan.fetch_image", away)
            runner.wake()
            async with asyncio.timeout(PATIENCE):
                await runner.idle()
        assert (await workshop.job(scan_id)).state is JobState.RUNNING
        async with workshop.database.write() as session:
            await repository.requeue_orphans(session, now=utc_now() + timedelta(days=1))
        runner.wake()
        assert (await workshop.until_ended(scan_id)).status is ScanStatus.COMPLETE


@on_sqlite
async def test_no_more_jobs_at_a_time_than_there_are_slots_and_none_is_forgotten(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    running = 0

    async def count(*_: object) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.02)
        running -= 1

    monkeypatch.setitem(PERFORM, JobKind.SCAN, count)
    layout = workshop.layout()
    scans = [await workshop.queue(layout) for _ in range(5)]
    async with workshop.runner() as runner:
        # Every wake-up but the first two comes while no slot is free.
        for _ in scans:
            runner.wake()
        assert not runner.has_free_slot

        async def all_taken() -> bool:
            return len(at_once) == len(scans)

        await until(all_taken)
        async with asyncio.timeout(PATIENCE):
            await runner.idle()
        assert runner.has_free_slot

    assert max(at_once) == 2
    states = [(await workshop.job(scan_id)).state for scan_id in scans]
    assert states == [JobState.RUNNING] * 5, "nobody ended them: the work was made up"


@on_sqlite
async def test_a_wake_up_without_work_ends(workshop: Workshop) -> None:
    async with workshop.runner() as runner:
        runner.wake()
        async with asyncio.timeout(PATIENCE):
            await runner.idle()


@on_sqlite
async def test_an_upload_is_read_from_the_store(workshop: Workshop, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "image.tar", docker_files(debian()))

    async def chunks() -> Any:
        yield archive.read_bytes()

    organization = workshop.principal.organization_id
    blob = await workshop.services.blobs.receive(organization, chunks(), max_bytes=10_000_000)
    async with workshop.database.write() as session:
        upload = {
            "id": "upl-1",
            "organization_id": organization,
            "image": "acme/api:1",
            "blob": blob.key,
            "sha256": blob.sha256,
            "size_bytes": blob.size_bytes,
            "created_by": "operator",
            "created_at": utc_now(),
        }
        await insert_upload(session, upload)
        request = ScanRequest(image="acme/api:1", scanners=(Engine.SYFT,), upload_id="upl-1")
        scan_id = await queue_scan(session, request, workshop.principal, now=utc_now())

    await workshop.work()

    assert (await workshop.scan(scan_id)).package_count == 2
