"""Starting, stopping and removing scans: everything or nothing, and only one's own."""

from __future__ import annotations

from datetime import timedelta

import pytest

from schema.audit.models import AuditEvent
from schema.images.models import Image, Tag
from schema.images.repository import insert_upload
from schema.jobs.models import Job, JobKind, JobState
from schema.jobs.repository import finish
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.outbox import OutboxMessage
from schema.registries.models import RegistryProvider
from schema.registries.repository import add_registry
from schema.scans import lifecycle
from schema.scans.inputs import TriggerScanInput
from schema.scans.models import Engine, EngineRun, EngineRunStatus, Scan, ScanLog, ScanPhase, ScanStatus, SourceKind
from schema.scans.repository import log_lines
from schema.scans.trigger import ScanRequest, cancel_scan, delete_scan, request_of
from schema.vulnerabilities.models import ScanFinding, Vulnerability
from tests.identity import Identity, Member
from tests.schema.scans.factories import IMAGE, NOW, finding, lease_of, results, rows, scanned, trigger


@pytest.fixture
async def ada(identity: Identity) -> Member:
    return await identity.member()


@pytest.fixture
async def mallory(identity: Identity) -> Member:
    return await identity.member(email="mallory@umbrella.example")


async def upload(identity: Identity, member: Member) -> str:
    upload_id = new_id(IdPrefix.UPLOAD)
    async with identity.database.write() as session:
        await insert_upload(
            session,
            {
                "id": upload_id,
                "organization_id": member.organization_id,
                "image": IMAGE,
                "blob": "b/1",
                "sha256": "0" * 64,
                "size_bytes": 1,
                "created_by": member.user_id,
                "created_at": NOW,
            },
        )
    return upload_id


async def registry(identity: Identity, member: Member, host: str = "ghcr.io") -> str:
    async with identity.database.write() as session:
        return await add_registry(
            session,
            member.organization_id,
            name=host,
            provider=RegistryProvider.CUSTOM,
            host=host,
            insecure=False,
            username=None,
            password=None,
            keys=identity.services.keys,
            now=NOW,
        )


async def test_one_transaction_stores_all_a_scan_needs(identity: Identity, ada: Member) -> None:
    scan_id = await trigger(identity.database, ada.principal, priority=3, platform="linux/arm64")

    [scan] = await rows(identity.database, Scan)
    assert scan.id == scan_id
    assert (scan.status, scan.phase, scan.progress) == (ScanStatus.QUEUED, ScanPhase.QUEUED, 0)
    assert (scan.reference, scan.platform, scan.priority) == (IMAGE, "linux/arm64", 3)
    assert scan.scanners == ["trivy", "syft"]
    assert scan.requested_by == f"user:{ada.user_id}"
    assert scan.source_kind is SourceKind.REGISTRY
    runs = await rows(identity.database, EngineRun)
    assert {run.engine: run.status for run in runs} == {
        Engine.TRIVY: EngineRunStatus.QUEUED,
        Engine.SYFT: EngineRunStatus.QUEUED,
    }
    [job] = await rows(identity.database, Job)
    assert (job.kind, job.subject_id, job.state, job.priority) == (JobKind.SCAN, scan_id, JobState.QUEUED, 3)
    [message] = await rows(identity.database, OutboxMessage)
    assert message.payload == {"jobId": job.id}
    [event] = await identity.audit("scan.triggered")
    assert (event.actor, event.target) == (ada.user_id, f"scan:{scan_id}")
    [image] = await rows(identity.database, Image)
    assert (image.name, image.tag_count, image.latest_digest) == ("ghcr.io/acme/api", 1, None)
    [tag] = await rows(identity.database, Tag)
    assert (tag.name, tag.digest) == ("1.4.7", None)
    [line] = await rows(identity.database, ScanLog)
    assert line.sequence == 1


@pytest.mark.parametrize("place", ["audit", "outbox"])
async def test_what_fails_half_way_leaves_nothing(
    identity: Identity, ada: Member, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("schema.scans.trigger.record" if place == "audit" else "schema.jobs.repository.post", broken)

    with pytest.raises(RuntimeError):
        await trigger(identity.database, ada.principal)

    for table in (Scan, EngineRun, Job, OutboxMessage, AuditEvent, Image, Tag, ScanLog):
        assert await rows(identity.database, table) == [], table


async def test_an_engine_named_twice_runs_once(identity: Identity, ada: Member) -> None:
    await trigger(identity.database, ada.principal, scanners=(Engine.SYFT, Engine.TRIVY, Engine.SYFT))

    [scan] = await rows(identity.database, Scan)
    assert scan.scanners == ["syft", "trivy"]
    assert len(await rows(identity.database, EngineRun)) == 2


async def test_a_request_is_read_from_the_input() -> None:
    given = TriggerScanInput(image="nginx", scanners=[Engine.TRIVY], upload_id="upl-1")  # type: ignore[arg-type]

    assert request_of(given) == ScanRequest(image="nginx", scanners=(Engine.TRIVY,), upload_id="upl-1")


async def test_scans_of_an_image_share_its_row(identity: Identity, ada: Member) -> None:
    for image in ("nginx", "docker.io/library/nginx:latest", "nginx:1.25"):
        await trigger(identity.database, ada.principal, image=image)

    [image_row] = await rows(identity.database, Image)
    assert (image_row.name, image_row.tag_count) == ("docker.io/library/nginx", 2)


async def test_a_digest_is_no_tag(identity: Identity, ada: Member) -> None:
    digest = "sha256:" + "c" * 64
    await trigger(identity.database, ada.principal, image=f"nginx@{digest}")

    [scan] = await rows(identity.database, Scan)
    assert (scan.digest, scan.tag_id) == (digest, None)
    assert await rows(identity.database, Tag) == []


async def test_an_upload_of_one_s_own_is_scanned(identity: Identity, ada: Member) -> None:
    upload_id = await upload(identity, ada)

    await trigger(identity.database, ada.principal, upload_id=upload_id)

    [scan] = await rows(identity.database, Scan)
    assert (scan.source_kind, scan.source) == (SourceKind.UPLOAD, upload_id)


async def test_the_registry_of_the_host_is_found(identity: Identity, ada: Member, mallory: Member) -> None:
    await registry(identity, mallory)
    mine = await registry(identity, ada)
    await registry(identity, ada, "quay.io")

    await trigger(identity.database, ada.principal)

    [scan] = await rows(identity.database, Scan)
    assert (scan.source_kind, scan.source) == (SourceKind.REGISTRY, mine)
    [image] = await rows(identity.database, Image)
    assert image.registry_id == mine


async def test_t02_the_registry_of_another_organization_is_not_used(
    identity: Identity, ada: Member, mallory: Member
) -> None:
    await registry(identity, mallory)

    await trigger(identity.database, ada.principal)

    [scan] = await rows(identity.database, Scan)
    assert scan.source is None


@pytest.mark.parametrize("thing", ["upload", "registry"])
async def test_t02_a_foreign_source_is_not_found_like_one_that_is_not_there(
    identity: Identity, ada: Member, mallory: Member, thing: str
) -> None:
    make = upload if thing == "upload" else registry
    theirs = await make(identity, mallory)
    answers = []
    for source in (theirs, f"{theirs[:3]}-nothing"):
        with pytest.raises(HarborGuardError) as refused:
            await trigger(
                identity.database,
                ada.principal,
                upload_id=source if thing == "upload" else None,
                registry_id=source if thing == "registry" else None,
            )
        answers.append((refused.value.code, refused.value.message))

    assert answers[0] == answers[1]
    assert answers[0][0] is ErrorCode.NOT_FOUND
    assert await rows(identity.database, Scan) == []


async def test_a_registry_of_another_host_gets_no_credentials(identity: Identity, ada: Member) -> None:
    elsewhere = await registry(identity, ada, "quay.io")

    with pytest.raises(HarborGuardError) as refused:
        await trigger(identity.database, ada.principal, registry_id=elsewhere)

    assert refused.value.code is ErrorCode.NOT_FOUND


async def test_a_reference_that_is_none_is_refused(identity: Identity, ada: Member) -> None:
    with pytest.raises(HarborGuardError):
        await trigger(identity.database, ada.principal, image="UPPER/case:x y")

    assert await rows(identity.database, Scan) == []


async def cancel(identity: Identity, member: Member, scan_id: str) -> None:
    async with identity.database.write() as session:
        await cancel_scan(session, scan_id, member.principal, now=NOW)


async def test_a_queued_scan_is_cancelled_at_once(identity: Identity, ada: Member) -> None:
    scan_id = await trigger(identity.database, ada.principal)

    await cancel(identity, ada, scan_id)

    [scan] = await rows(identity.database, Scan)
    assert (scan.status, scan.phase, scan.scanned_at) == (ScanStatus.CANCELLED, ScanPhase.DONE, NOW)
    [job] = await rows(identity.database, Job)
    assert job.state is JobState.CANCELLED
    assert {run.status for run in await rows(identity.database, EngineRun)} == {EngineRunStatus.SKIPPED}
    assert len(await identity.audit("scan.cancelled")) == 1


async def test_a_running_scan_is_asked_to_stop(identity: Identity, ada: Member) -> None:
    scan_id = await trigger(identity.database, ada.principal)
    lease = await lease_of(identity.database, scan_id)
    async with identity.database.write() as session:
        await lifecycle.begin(session, ada.organization_id, scan_id, attempt=1, now=NOW)

    await cancel(identity, ada, scan_id)

    [scan] = await rows(identity.database, Scan)
    assert scan.status is ScanStatus.IN_PROGRESS
    [job] = await rows(identity.database, Job)
    assert job.cancel_requested
    async with identity.database.read() as session:
        lines = await log_lines(session, ada.organization_id, scan_id, after=0)
    assert [line.message for line in lines][1:] == ["Scan started", "Cancellation requested"]
    async with identity.database.write() as session:
        assert await finish(session, lease, JobState.CANCELLED, now=NOW)


async def test_a_scan_handed_back_is_cancelled_at_once(identity: Identity, ada: Member) -> None:
    """It looks as if it ran, but nobody works on it."""
    scan_id = await trigger(identity.database, ada.principal)
    async with identity.database.write() as session:
        await lifecycle.begin(session, ada.organization_id, scan_id, attempt=1, now=NOW)

    await cancel(identity, ada, scan_id)

    [scan] = await rows(identity.database, Scan)
    assert scan.status is ScanStatus.CANCELLED


async def test_an_ended_scan_cannot_be_cancelled(identity: Identity, ada: Member) -> None:
    scan = await scanned(identity.database, ada.principal, results(finding()))

    with pytest.raises(HarborGuardError, match="COMPLETE") as refused:
        await cancel(identity, ada, scan.id)

    assert refused.value.code is ErrorCode.CONFLICT


async def test_a_deleted_scan_takes_its_findings_and_leaves_the_vulnerabilities(
    identity: Identity, ada: Member
) -> None:
    scan = await scanned(identity.database, ada.principal, results(finding()))

    async with identity.database.write() as session:
        await delete_scan(session, scan.id, ada.principal, now=NOW)

    for table in (Scan, EngineRun, ScanLog, ScanFinding):
        assert await rows(identity.database, table) == [], table
    assert len(await rows(identity.database, Vulnerability)) == 1
    assert len(await identity.audit("scan.deleted")) == 1


async def test_a_tag_steps_back_to_the_scan_before_the_deleted_one(identity: Identity, ada: Member) -> None:
    first = await scanned(identity.database, ada.principal, results(finding()))
    second = await scanned(identity.database, ada.principal, results(), now=NOW + timedelta(hours=1))
    [tag] = await rows(identity.database, Tag)
    assert (tag.last_scan_id, tag.grade) == (second.id, "A")

    async with identity.database.write() as session:
        await delete_scan(session, second.id, ada.principal, now=NOW)
    [tag], [image] = await rows(identity.database, Tag), await rows(identity.database, Image)
    assert (tag.last_scan_id, tag.last_scanned_at) == (first.id, first.scanned_at)
    assert tag.grade == image.grade == first.grade != "A"

    async with identity.database.write() as session:
        await delete_scan(session, first.id, ada.principal, now=NOW)
    [tag], [image] = await rows(identity.database, Tag), await rows(identity.database, Image)
    assert (tag.last_scan_id, tag.digest, tag.last_scanned_at) == (None, None, None)
    for row in (tag, image):
        assert (row.grade, row.risk_score, row.high) == (None, None, 0)


async def test_a_running_scan_is_not_deleted(identity: Identity, ada: Member) -> None:
    scan_id = await trigger(identity.database, ada.principal)

    with pytest.raises(HarborGuardError) as refused:
        async with identity.database.write() as session:
            await delete_scan(session, scan_id, ada.principal, now=NOW)

    assert refused.value.code is ErrorCode.CONFLICT
    assert len(await rows(identity.database, Scan)) == 1


@pytest.mark.parametrize("action", [cancel_scan, delete_scan])
async def test_t02_the_scan_of_another_organization_is_not_found(
    identity: Identity, ada: Member, mallory: Member, action: object
) -> None:
    scan_id = await trigger(identity.database, ada.principal)

    with pytest.raises(HarborGuardError) as refused:
        async with identity.database.write() as session:
            await action(session, scan_id, mallory.principal, now=NOW)  # type: ignore[operator]

    assert refused.value.code is ErrorCode.NOT_FOUND
    [scan] = await rows(identity.database, Scan)
    assert scan.status is ScanStatus.QUEUED
