"""Taking what sensors found. It is kept as it comes and answered at once; a worker reads it like any other report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.audit.repository import record
from schema.images.models import Upload
from schema.images.repository import insert_upload
from schema.jobs.models import JobKind
from schema.jobs.repository import queue_job
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.ports import StoredBlob
from schema.kernel.tenancy import tenant
from schema.registries.repository import find_registry
from schema.scans.formats import ReportFormat, ReportSource
from schema.scans.models import ACTIVE, Scan, ScanStatus, SourceKind
from schema.scans.repository import change_scan, load_scan, write_log
from schema.scans.trigger import ScanRequest, queue_scan
from schema.sensors import repository
from schema.sensors.connecting import hear, own_job, registry_of
from schema.sensors.envelopes import EnvelopeHead, check_version, read_members
from schema.sensors.messages import line
from schema.sensors.models import SensorJob, SensorJobState
from schema.sensors.repository import ENDED

_HEAD = ("version", "image", "scan")
_JOB_ID = f"{IdPrefix.SCAN}-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """`is_kept`: the blob is somebody's now."""

    scan_id: str
    image_id: str
    is_kept: bool


async def receive_scan(context: RequestContext, chunks: AsyncIterator[bytes]) -> Received:
    """Keeps an envelope and queues reading it; one that has come before changes nothing and is answered the same.

    Raises BAD_REQUEST, VALIDATION_ERROR and PAYLOAD_TOO_LARGE, NOT_FOUND for the id of a job that is not there, FORBIDDEN
    for one of another registry. Then nothing is kept.
    """
    services = context.services
    blob = await services.blobs.receive(context.organization_id, chunks, max_bytes=services.limits.max_report_bytes)
    is_kept = False
    try:
        members = await asyncio.to_thread(read_members, services.blobs.path(blob.key), _HEAD)
        head = EnvelopeHead.of(members)
        try:
            received = await _file(context, head, blob)
        except IntegrityError:
            # The same envelope came twice in one moment, and the other one was first.
            received = await _file(context, head, blob)
        is_kept = received.is_kept
    finally:
        if not is_kept:
            await services.blobs.delete(blob.key)
    return received


async def _file(context: RequestContext, head: EnvelopeHead, blob: StoredBlob) -> Received:
    async with context.write() as session:
        if head.scan_id.startswith(_JOB_ID):
            return await _file_for_job(context, session, head, blob)
        return await _file_alone(context, session, head, blob)


async def _file_for_job(
    context: RequestContext, session: AsyncSession, head: EnvelopeHead, blob: StoredBlob
) -> Received:
    organization_id, now = context.organization_id, context.now()
    try:
        job = await own_job(session, context.principal, head.scan_id)
    except HarborGuardError as error:
        raise not_found("Scan") if error.code is ErrorCode.NOT_FOUND else error from None
    scan = await load_scan(session, organization_id, head.scan_id)
    await _hear_of(context, session, job, now=now)
    if job.state in ENDED or job.cancel_requested or scan.status not in ACTIVE:
        if job.state not in ENDED:
            await repository.end_job(session, job, SensorJobState.CANCELLED, now=now)
        return Received(scan_id=scan.id, image_id=scan.image_id, is_kept=False)
    upload = await _keep(context, session, blob, image=scan.reference, action="scan.uploaded", target=f"scan:{scan.id}")
    await repository.end_job(session, job, SensorJobState.COMPLETED, now=now)
    await change_scan(
        session,
        organization_id,
        scan.id,
        source_kind=SourceKind.REPORT,
        source=str(ReportSource(upload_id=upload.id, format=ReportFormat.SENSOR)),
        digest=scan.digest or head.digest,
        status=ScanStatus.IN_PROGRESS,
    )
    await write_log(session, organization_id, scan.id, "The sensor has sent its results", now=now)
    await queue_job(session, organization_id, kind=JobKind.SCAN, subject_id=scan.id, priority=scan.priority, now=now)
    context.signal_after_commit(scan.id)
    return Received(scan_id=scan.id, image_id=scan.image_id, is_kept=True)


async def _hear_of(context: RequestContext, session: AsyncSession, job: SensorJob, *, now: datetime) -> None:
    if job.sensor_id is None:
        return
    sensor = await repository.find_own(session, job.organization_id, context.principal.credential_id, job.sensor_id)
    if sensor is not None:
        await hear(session, sensor, now=now)


async def _file_alone(context: RequestContext, session: AsyncSession, head: EnvelopeHead, blob: StoredBlob) -> Received:
    """Nobody asked for this scan: a sensor was told on its command line."""
    organization_id, now = context.organization_id, context.now()
    known = select(col(Scan.id), col(Scan.image_id)).where(
        tenant(Scan, organization_id), col(Scan.external_id) == head.scan_id
    )
    row = (await session.execute(known)).one_or_none()
    if row is not None:
        return Received(scan_id=row.id, image_id=row.image_id, is_kept=False)
    image = head.image
    assert head.reference is not None
    registry_id = await find_registry(session, organization_id, registry_id=None, host=head.reference.registry)
    upload = await _keep(context, session, blob, image=image, action="report.uploaded")
    request = ScanRequest(
        image=image,
        scanners=(),
        registry_id=registry_id,
        report=ReportSource(upload_id=upload.id, format=ReportFormat.SENSOR),
        digest=head.digest,
        external_id=head.scan_id,
    )
    scan_id = await queue_scan(session, request, context.principal, now=now, ip=context.client_ip)
    context.signal_after_commit(scan_id)
    return Received(
        scan_id=scan_id, image_id=(await load_scan(session, organization_id, scan_id)).image_id, is_kept=True
    )


async def _keep(
    context: RequestContext,
    session: AsyncSession,
    blob: StoredBlob,
    *,
    image: str,
    action: str,
    target: str | None = None,
) -> Upload:
    upload = Upload(
        id=new_id(IdPrefix.UPLOAD),
        organization_id=context.organization_id,
        image=image[:400],
        blob=blob.key,
        sha256=blob.sha256,
        size_bytes=blob.size_bytes,
        created_by=context.principal.actor_id,
        created_at=context.now(),
    )
    await insert_upload(session, upload.model_dump())
    await record(
        session,
        organization_id=context.organization_id,
        actor=context.principal.actor_id,
        action=action,
        target=target or f"upload:{upload.id}",
        ip=context.client_ip,
        details={"image": upload.image, "sha256": upload.sha256, "sizeBytes": upload.size_bytes},
        now=upload.created_at,
    )
    return upload


async def receive_other(context: RequestContext, chunks: AsyncIterator[bytes], kind: str) -> str:
    """Keeps what a sensor says of a `patch` or an `export`, which nobody asks of one yet. Returns the id of the upload.

    Raises as `receive_scan` does.
    """
    registry_of(context.principal)
    services = context.services
    blob = await services.blobs.receive(context.organization_id, chunks, max_bytes=services.limits.max_report_bytes)
    try:
        wanted = ("version", "source", kind)
        members: dict[str, Any] = await asyncio.to_thread(read_members, services.blobs.path(blob.key), wanted)
        check_version(members)
        source = members.get("source")
        image = line(source.get("ref"), 400) if isinstance(source, dict) else ""
        async with context.write() as session:
            return (await _keep(context, session, blob, image=image, action=f"{kind}.uploaded")).id
    except BaseException:
        await services.blobs.delete(blob.key)
        raise
