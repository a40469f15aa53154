"""What is known of an image is neither read nor judged again, and what changed in the advisories reaches old scans."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schema.dependencies.models import Package
from schema.images.models import Tag
from schema.jobs.models import Job, JobKind, JobState
from schema.scans.models import Engine, EngineRun, Scan, ScanStatus
from schema.scans.rematching import ACTOR
from schema.vulnerabilities.models import TriageStatus, Vulnerability
from tests.app.site import on_sqlite
from tests.workers.workshop import Workshop, advisories, debian, store_advisories
from workers.examination import Examination
from workers.reading import examine_image
from workers.reconciler import rematch_if_switched

ENGINES = (Engine.TRIVY, Engine.SYFT, Engine.DOCKLE, Engine.DIVE)


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The layouts that were really read."""
    layouts: list[Path] = []

    async def noted(layout: Path, *arguments: Any, **options: Any) -> Examination:
        layouts.append(layout)
        return await examine_image(layout, *arguments, **options)

    monkeypatch.setattr("workers.observing.examine_image", noted)
    return layouts


async def rematched(workshop: Workshop) -> None:
    """What the reconciler does after advisories were imported, and what a worker then does."""
    await rematch_if_switched(workshop.runtime(), None)
    async with workshop.runner() as runner:
        runner.wake()
        await runner.idle()


async def by_age(workshop: Workshop) -> list[Scan]:
    return sorted(await workshop.rows(Scan), key=lambda scan: scan.id)


async def test_an_unchanged_image_is_not_scanned_again(workshop: Workshop, examined: list[Path]) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    first = await workshop.scanned(engines=ENGINES)

    second = await workshop.scanned(engines=ENGINES)

    assert len(examined) == 1, "nothing was launched for the second"
    assert (second.findings_of, second.inventory_of) == (first.id, first.id)
    assert (second.status, second.grade, second.package_count) == (ScanStatus.COMPLETE, first.grade, 2)
    assert second.misconfiguration_count == first.misconfiguration_count > 0
    [tag] = await workshop.rows(Tag)
    assert tag.last_scan_id == second.id


@on_sqlite
@pytest.mark.parametrize("how", [{"force": True}, {"engines": (Engine.TRIVY,)}])
async def test_it_is_when_somebody_insists_or_asks_for_something_else(
    workshop: Workshop, examined: list[Path], how: dict[str, Any]
) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    await workshop.scanned(engines=ENGINES)

    second = await workshop.scanned(**({"engines": ENGINES} | how))

    assert len(examined) == 2
    assert (second.findings_of, second.inventory_of) == (None, None)


async def test_newer_advisories_judge_what_was_read_before(workshop: Workshop, examined: list[Path]) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    first = await workshop.scanned(engines=ENGINES)
    await store_advisories(workshop.database, advisories("openssl", "curl"))

    second = await workshop.scanned(engines=ENGINES)

    assert len(examined) == 1
    assert (second.inventory_of, second.findings_of) == (first.id, None)
    assert (second.unknown, second.new_count, second.compared_with) == (2, 1, first.id)
    assert second.secret_count == first.secret_count
    assert {row.scan_id for row in await workshop.rows(Package)} == {first.id}
    runs = {run.engine: run for run in await workshop.rows(EngineRun) if run.scan_id == second.id}
    assert runs[Engine.TRIVY].finding_count == 2
    assert first.id in str(runs[Engine.DIVE].message)


@on_sqlite
async def test_the_same_image_in_another_repository_is_judged_there(workshop: Workshop, examined: list[Path]) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    await workshop.scanned()

    second = await workshop.scanned(name="ghcr.io/acme/copy:1")

    assert len(examined) == 1
    assert second.unknown == 1
    assert {row.image_id for row in await workshop.rows(Vulnerability)} == {
        scan.image_id for scan in await workshop.rows(Scan)
    }


async def test_t02_nobody_learns_from_another_organization_s_scans(workshop: Workshop, examined: list[Path]) -> None:
    await workshop.scanned()
    await workshop.open()  # another organization

    second = await workshop.scanned()

    assert len(examined) == 2
    assert (second.inventory_of, second.findings_of) == (None, None)


async def test_advisories_that_change_reach_scans_without_their_image(workshop: Workshop, examined: list[Path]) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    first = await workshop.scanned(workshop.layout(debian()))
    other = await workshop.scanned(workshop.layout(debian({"zlib": "1.2"})), name="ghcr.io/acme/zlib:1")
    await store_advisories(workshop.database, advisories("openssl", "curl"))

    await rematched(workshop)

    scans = await by_age(workshop)
    assert len(examined) == 2
    [again] = [scan for scan in scans if scan.requested_by == ACTOR]
    assert (again.inventory_of, again.compared_with, again.new_count, again.unknown) == (first.id, first.id, 1, 2)
    assert (again.status, again.reference, again.digest) == (ScanStatus.COMPLETE, first.reference, first.digest)
    [zlib] = [scan for scan in scans if scan.id == other.id]
    assert zlib.advisory_key == again.advisory_key != first.advisory_key, "looked at, and nothing had changed"

    await rematched(workshop)
    assert len(await by_age(workshop)) == len(scans), "once for each state of the advisories"


async def test_a_withdrawn_advisory_fixes_what_it_had_found(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl", "curl"))
    await workshop.scanned()
    _, curl = advisories("openssl", "curl")
    await store_advisories(workshop.database, [replace(curl, withdrawn=curl.modified)])

    await rematched(workshop)

    again = (await by_age(workshop))[-1]
    assert (again.requested_by, again.fixed_count, again.unknown) == (ACTOR, 1, 1)
    state = {row.package_name: row.status for row in await workshop.rows(Vulnerability)}
    assert state == {"openssl": TriageStatus.OPEN, "curl": TriageStatus.FIXED}


@on_sqlite
async def test_a_worker_that_dies_while_judging_again_leaves_the_rest_to_the_next(workshop: Workshop) -> None:
    await store_advisories(workshop.database, advisories("openssl"))
    for number in range(3):
        await workshop.scanned(name=f"ghcr.io/acme/api-{number}:1")
    await store_advisories(workshop.database, advisories("openssl", "curl"))
    await rematch_if_switched(workshop.runtime(), None)
    [job] = [job for job in await workshop.rows(Job) if job.kind is JobKind.REMATCH]
    lease = await workshop.lease()
    assert lease.job_id == job.id
    await workshop.change_job(job.subject_id, state=JobState.QUEUED, lease_owner=None)  # as the reconciler does

    async with workshop.runner() as runner:
        await runner.work_on(lease)  # the dead one, still at it: it holds no lease, and changes nothing
        assert [scan for scan in await by_age(workshop) if scan.requested_by == ACTOR] == []
        runner.wake()
        await runner.idle()

    again = [scan for scan in await by_age(workshop) if scan.requested_by == ACTOR]
    assert sorted(scan.new_count or 0 for scan in again) == [1, 1, 1]
    assert (await workshop.job(job.subject_id)).state is JobState.DONE
