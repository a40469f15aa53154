"""Schedules fire once each, however many processes look, and batches scan each tag once, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlmodel import col

from schema.images.models import Tag
from schema.images.repository import file_image, file_tag
from schema.jobs.models import Job, JobKind, JobState
from schema.kernel.clock import utc_now
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import system_principal
from schema.registries import lifecycle
from schema.registries.models import Registry, RegistryProvider, RegistryStatus, RegistrySync, ScanMethod, Schedule
from schema.registries.repository import add_registry
from schema.registries.scheduling import BY_SCHEDULE, due_registries, fire, next_run
from schema.scans.batches.repository import get_batch
from schema.scans.batches.running import BatchRequest, cancel_batch, queue_batch
from schema.scans.models import Scan, ScanBatch, ScanStatus
from schema.scans.unasked import scan_tags
from tests.workers.workshop import Workshop
from workers import batches
from workers.leases import LeaseLostError
from workers.reconciler import reconcile, run_schedules

HOST = "registry.acme.example"
NOON = datetime.fromisoformat("2026-05-01T12:00:00+00:00")


async def registry(workshop: Workshop, **settings: Any) -> str:
    organization_id = workshop.principal.organization_id
    async with workshop.database.write() as session:
        registry_id = await add_registry(
            session,
            organization_id,
            name=settings.pop("name", "Acme"),
            provider=RegistryProvider.CUSTOM,
            host=settings.pop("host", HOST),
            insecure=False,
            username=None,
            password=None,
            keys=workshop.services.keys,
            now=utc_now(),
        )
        if settings:
            await session.execute(update(Registry).where(col(Registry.id) == registry_id).values(**settings))
    return registry_id


async def tags(workshop: Workshop, registry_id: str | None, *names: str, image: str = f"{HOST}/team/api") -> list[str]:
    organization_id = workshop.principal.organization_id
    async with workshop.database.write() as session:
        image_id = await file_image(session, organization_id, image, registry_id=registry_id, now=utc_now())
        return [await file_tag(session, organization_id, image_id, name, now=utc_now()) for name in names]


async def scans(workshop: Workshop) -> list[Scan]:
    return sorted(await workshop.rows(Scan), key=lambda scan: scan.reference)


async def batch(workshop: Workshop, **wanted: Any) -> str:
    async with workshop.database.write() as session:
        return await queue_batch(
            session,
            workshop.principal.organization_id,
            BatchRequest(**wanted),
            requested_by="user:usr-ada",
            now=utc_now(),
        )


async def shown(workshop: Workshop, batch_id: str) -> Any:
    async with workshop.database.read() as session:
        return await get_batch(session, workshop.principal.organization_id, batch_id)


def names(found: Sequence[Scan]) -> list[str]:
    return [scan.reference.removeprefix(f"{HOST}/") for scan in found]


# --- Firing


def test_the_next_time_is_an_hour_away_at_most_and_not_the_same_for_all() -> None:
    moments = {
        next_run(new_id(IdPrefix.REGISTRY), schedule, None, "UTC", after=NOON)
        for schedule in (Schedule.DAILY, Schedule.WEEKLY, Schedule.ON_PUSH)
        for _ in range(20)
    }
    assert all(moment is not None and NOON < moment <= NOON + timedelta(hours=1) for moment in moments)
    assert len(moments) > 30
    assert next_run("reg-1", Schedule.MANUAL, None, "UTC", after=NOON) is None
    night = next_run("reg-1", Schedule.CRON, "30 2 * * *", "Europe/Berlin", after=NOON)
    assert night == datetime.fromisoformat("2026-05-02T00:30:00+00:00")


async def test_t108_of_many_processes_that_look_at_once_one_fires(workshop: Workshop) -> None:
    registry_id = await registry(
        workshop, schedule=Schedule.DAILY, next_run_at=utc_now() - timedelta(days=3), scan_method=ScanMethod.SENSOR
    )
    await tags(workshop, registry_id, "1")

    await asyncio.gather(*(run_schedules(workshop.runtime()) for _ in range(8)))

    assert len(await workshop.rows(ScanBatch)) == 1, "three missed days are one run"
    [row] = await workshop.rows(Registry)
    assert utc_now() < row.next_run_at <= utc_now() + timedelta(hours=1)
    assert (await workshop.rows(RegistrySync)) == [], "its sensor looks"


async def test_t106_a_clock_that_goes_back_fires_nothing_again(workshop: Workshop) -> None:
    await registry(workshop, schedule=Schedule.CRON, cron="0 * * * *", time_zone="Europe/Berlin", next_run_at=NOON)

    async def fired(now: datetime) -> int:
        async with workshop.database.read() as session:
            due = await due_registries(session, now=now)
        done = []
        for each in due:
            async with workshop.database.write() as session:
                done.append(await fire(session, each, now=now))
        return len([each for each in done if each is not None])

    assert await fired(NOON - timedelta(seconds=1)) == 0
    assert await fired(NOON) == 1
    assert await fired(NOON - timedelta(hours=1)) == await fired(NOON + timedelta(minutes=59)) == 0
    assert await fired(NOON + timedelta(hours=2, minutes=1)) == 1, "one for the two that were jumped over"
    assert await fired(NOON + timedelta(hours=2, minutes=2)) == 0


async def test_who_dies_while_firing_has_not_fired(workshop: Workshop) -> None:
    registry_id = await registry(workshop, schedule=Schedule.DAILY, next_run_at=NOON)
    await tags(workshop, registry_id, "1")
    async with workshop.database.read() as session:
        [due] = await due_registries(session, now=utc_now())

    async def die_while_firing() -> None:
        async with workshop.database.write() as session:
            assert await fire(session, due, now=utc_now())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await die_while_firing()
    assert await workshop.rows(ScanBatch) == await workshop.rows(Job) == []

    await run_schedules(workshop.runtime())

    assert {job.kind for job in await workshop.rows(Job)} == {JobKind.BATCH, JobKind.SYNC}


async def test_a_zone_that_is_gone_stops_nobody_else(workshop: Workshop) -> None:
    past = utc_now() - timedelta(minutes=1)
    broken = await registry(workshop, schedule=Schedule.CRON, cron="0 0 * * *", time_zone="Mars/Base", next_run_at=past)
    await registry(workshop, name="Other", host="other.example", schedule=Schedule.ON_PUSH, next_run_at=past)

    await run_schedules(workshop.runtime())

    rows = {row.id: row for row in await workshop.rows(Registry)}
    assert (rows[broken].next_run_at, rows[broken].status) == (None, RegistryStatus.ERROR)
    assert "time zone" in rows[broken].status_message
    assert all(row.next_run_at > utc_now() for row in rows.values() if row.id != broken)


async def test_daily_scans_what_was_not_scanned_for_a_day(workshop: Workshop) -> None:
    registry_id = await registry(
        workshop, schedule=Schedule.DAILY, next_run_at=NOON, tag_exclude="*-dev", scanners=["syft"]
    )
    old, recent, _, _ = await tags(workshop, registry_id, "old", "recent", "never", "x-dev")
    principal = system_principal(workshop.principal.organization_id, "schedule")
    for tag_id, age in ((old, timedelta(hours=25)), (recent, timedelta(hours=23))):
        async with workshop.database.write() as session:
            [scan_id] = await scan_tags(session, principal.organization_id, [tag_id], principal, now=utc_now() - age)
            await session.execute(update(Scan).where(col(Scan.id) == scan_id).values(status=ScanStatus.COMPLETE))
            await session.execute(update(Job).values(state=JobState.DONE))

    await run_schedules(workshop.runtime())
    [batch_id] = [job.subject_id for job in await workshop.rows(Job) if job.kind is JobKind.BATCH]
    await _work_on(workshop, JobKind.BATCH)

    queued = [scan for scan in await scans(workshop) if scan.batch_id == batch_id]
    assert names(queued) == ["team/api:never", "team/api:old"]
    assert {tuple(scan.scanners) for scan in queued} == {("syft",)}
    assert {scan.requested_by for scan in queued} == {BY_SCHEDULE}


async def test_cron_scans_everything_once_the_catalogue_has_been_looked_at(workshop: Workshop) -> None:
    registry_id = await registry(workshop, schedule=Schedule.CRON, cron="0 0 * * *", next_run_at=NOON, tag_include="v*")
    await run_schedules(workshop.runtime())
    [sync] = await workshop.rows(RegistrySync)
    assert await workshop.rows(ScanBatch) == []
    await tags(workshop, registry_id, "v1", "v2", "latest")  # as the look would have found them

    async with workshop.database.write() as session:
        await lifecycle.end_complete(session, sync.organization_id, sync.id, left_out=None, now=utc_now())
    await _work_on(workshop, JobKind.BATCH)

    assert names(await scans(workshop)) == ["team/api:v1", "team/api:v2"]
    [row] = await workshop.rows(ScanBatch)
    assert (row.requested_by, row.registry_id) == (BY_SCHEDULE, registry_id)


# --- Batches


async def test_a_batch_scans_the_tags_its_globs_choose(workshop: Workshop) -> None:
    registry_id = await registry(workshop, scanners=["trivy"])
    await tags(workshop, registry_id, "v1", "v2", "v3-rc", "latest")
    await tags(workshop, registry_id, "v1", image=f"{HOST}/other/app")
    batch_id = await batch(workshop, images=f"{HOST}/team/*", tag_include="v*", tag_exclude="*-rc")
    assert (await shown(workshop, batch_id)).status == "SELECTING"

    await workshop.work()

    found = await scans(workshop)
    assert names(found) == ["team/api:v1", "team/api:v2"]
    assert {(scan.batch_id, scan.requested_by, tuple(scan.scanners)) for scan in found} == {
        (batch_id, "user:usr-ada", ("trivy",))
    }
    row = await shown(workshop, batch_id)
    assert (row.status, row.scan_count, row.queued_count) == ("IN_PROGRESS", 2, 2)


async def test_uploads_and_images_that_are_gone_are_left_out(workshop: Workshop) -> None:
    scan_id = await workshop.queue(name="acme/uploaded:1")
    registry_id = await registry(workshop)
    [gone, _] = await tags(workshop, registry_id, "gone", "there")
    async with workshop.database.write() as session:
        await session.execute(update(Tag).where(col(Tag.id) == gone).values(absent_since=utc_now()))
    await batch(workshop)

    await _work_on(workshop, JobKind.BATCH)

    assert names([scan for scan in await scans(workshop) if scan.id != scan_id]) == ["team/api:there"]


async def test_a_tag_that_is_being_scanned_is_not_scanned_twice(workshop: Workshop) -> None:
    registry_id = await registry(workshop)
    ids = await tags(workshop, registry_id, *(f"v{number}" for number in range(12)))
    principal = system_principal(workshop.principal.organization_id, "push")

    async def push(tag_ids: Sequence[str]) -> None:
        async with workshop.database.write() as session:
            await scan_tags(session, principal.organization_id, tag_ids, principal, now=utc_now())

    await asyncio.gather(*(push(ids) for _ in range(4)))

    assert len({scan.tag_id for scan in await scans(workshop)}) == len(await scans(workshop)) == 12


async def test_who_dies_leaves_whole_transactions_and_the_next_goes_on(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_id = await registry(workshop)
    await tags(workshop, registry_id, *(f"v{number:03}" for number in range(20)))
    batch_id = await batch(workshop)
    monkeypatch.setattr(batches, "_LOOKED_AT", 7)
    monkeypatch.setattr(batches, "_SCANNED", 3)
    lease, runtime = await workshop.lease(), workshop.runtime()
    for _ in range(3):
        assert not await batches._go_on(lease, runtime)
    done = len(await scans(workshop))
    assert 0 < done < 20
    await workshop.change_job(batch_id, lease_expires_at=utc_now() - timedelta(seconds=1))
    async with workshop.runner() as runner:
        await reconcile(runtime, runner)
    with pytest.raises(LeaseLostError):
        await batches._go_on(lease, runtime)
    assert len(await scans(workshop)) == done

    await _work_on(workshop, JobKind.BATCH)

    found = await scans(workshop)
    assert (len(found), len({scan.tag_id for scan in found})) == (20, 20)
    assert (await shown(workshop, batch_id)).scan_count == 20


async def test_a_cancelled_batch_ends_its_scans_and_looks_for_no_more(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_id = await registry(workshop)
    await tags(workshop, registry_id, *(f"v{number}" for number in range(9)))
    batch_id = await batch(workshop)
    monkeypatch.setattr(batches, "_SCANNED", 5)
    lease, runtime = await workshop.lease(), workshop.runtime()
    assert not await batches._go_on(lease, runtime)
    running = (await workshop.lease()).subject_id

    async with workshop.database.write() as session:
        cancelled = await cancel_batch(session, batch_id, workshop.principal, now=utc_now())
    assert await batches._go_on(lease, runtime)

    assert len(cancelled) == 5
    row = await shown(workshop, batch_id)
    assert (row.status, row.scan_count, row.cancelled_count) == ("CANCELLED", 5, 4)
    assert (await workshop.job(running)).cancel_requested, "its worker stops the engines"
    assert (await workshop.job(batch_id)).state is JobState.CANCELLED
    with pytest.raises(HarborGuardError) as refused:
        async with workshop.database.write() as session:
            await cancel_batch(session, batch_id, workshop.principal, now=utc_now())
    assert refused.value.code is ErrorCode.CONFLICT


async def test_cancelling_takes_as_many_statements_for_forty_scans_as_for_four(workshop: Workshop) -> None:
    registry_id = await registry(workshop)
    counted = {}
    for size in (4, 40):
        image = f"{HOST}/team/{size}"
        await tags(workshop, registry_id, *(f"v{number}" for number in range(size)), image=image)
        batch_id = await batch(workshop, images=image)
        await _work_on(workshop, JobKind.BATCH)
        statements: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any, told: list[str] = statements) -> None:
            told.append(statement)

        for engine in workshop.database.engines:
            event.listen(engine.sync_engine, "before_cursor_execute", note)
        async with workshop.database.write() as session:
            assert len(await cancel_batch(session, batch_id, workshop.principal, now=utc_now())) == size
        for engine in workshop.database.engines:
            event.remove(engine.sync_engine, "before_cursor_execute", note)
        counted[size] = len(statements)
    assert counted[4] == counted[40]


async def _work_on(workshop: Workshop, kind: JobKind) -> None:
    """The due jobs of that kind; the others wait."""
    async with workshop.database.write() as session:
        await session.execute(
            update(Job).where(col(Job.kind) != kind, col(Job.state) == JobState.QUEUED).values(state=JobState.DONE)
        )
    while [job for job in await workshop.rows(Job) if job.state is JobState.QUEUED and job.kind is kind]:
        await workshop.work()
