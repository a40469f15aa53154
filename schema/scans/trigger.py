"""Starting, stopping and removing scans: the rules around the rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.images.reference import ImageReference
from schema.images.repository import file_image, file_tag, get_upload
from schema.jobs.models import JobKind, JobState
from schema.jobs.repository import queue_job, request_cancel
from schema.kernel.errors import conflict
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import Principal
from schema.registries.repository import find_registry
from schema.scans import lifecycle, repository
from schema.scans.formats import ReportSource
from schema.scans.inputs import TriggerScanInput
from schema.scans.models import ACTIVE, Engine, EngineRunStatus, ScanOrigin, ScanPhase, ScanStatus, SourceKind
from schema.scans.reuse import hand_over
from schema.sensors.models import SensorJobState
from schema.sensors.repository import change_job, end_job, hold_job, is_scanned_by_sensors, queue_sensor_job
from schema.vulnerabilities.verdicts import settle


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """A scan somebody wants. `path` is a file or directory on this machine and only the command line sets it.

    Of a `report` there is nothing to scan: its engines are those that have spoken in it, which its reader will tell.
    `digest` is then the image's, where the sender knows it. One that a sensor sends by itself has the `external_id` it
    gave it.
    """

    image: str
    scanners: tuple[Engine, ...]
    registry_id: str | None = None
    upload_id: str | None = None
    path: str | None = None
    report: ReportSource | None = None
    digest: str | None = None
    platform: str | None = None
    priority: int = 0
    force: bool = False
    batch_id: str | None = None
    external_id: str | None = None


def request_of(given: TriggerScanInput) -> ScanRequest:
    return ScanRequest(
        image=given.image,
        scanners=tuple(given.scanners),
        registry_id=given.registry_id,
        upload_id=given.upload_id,
        platform=given.platform,
        priority=given.priority or 0,
        force=bool(given.force),
    )


async def queue_scan(
    session: AsyncSession, request: ScanRequest, principal: Principal, *, now: datetime, ip: str | None = None
) -> str:
    """Stores the scan, its engine runs, its job, its audit row and its wake-up in one transaction. Returns its id."""
    organization_id = principal.organization_id
    reference = ImageReference.parse(request.image).with_defaults()
    kind, source, registry_id = await _source(session, organization_id, request, reference)
    by_sensor = (
        kind is SourceKind.REGISTRY
        and registry_id is not None
        and await is_scanned_by_sensors(session, organization_id, registry_id)
    )
    image_id = await file_image(session, organization_id, reference.name, registry_id=registry_id, now=now)
    scanners = tuple(dict.fromkeys(request.scanners))  # each engine runs once, however often it was named
    tag_id = None
    if reference.tag is not None:
        tag_id = await file_tag(session, organization_id, image_id, reference.tag, now=now)
    scan_id = new_id(IdPrefix.SCAN)
    await repository.insert_scan(
        session,
        {
            "id": scan_id,
            "organization_id": organization_id,
            "image_id": image_id,
            "tag_id": tag_id,
            "reference": str(reference),
            "digest": reference.digest or request.digest,
            "platform": request.platform,
            "scanners": [engine.value for engine in scanners],
            "origin": ScanOrigin.SENSOR if by_sensor or request.external_id is not None else ScanOrigin.CLOUD,
            "source_kind": kind,
            "source": source,
            "status": ScanStatus.QUEUED,
            "phase": ScanPhase.QUEUED,
            "priority": request.priority,
            "force": request.force,
            "batch_id": request.batch_id,
            "external_id": request.external_id,
            "requested_by": f"{principal.actor_kind}:{principal.actor_id}",
            "created_at": now,
            "ordered_at": now,
        },
        [
            {
                "id": new_id(IdPrefix.ENGINE_RUN),
                "organization_id": organization_id,
                "scan_id": scan_id,
                "engine": engine,
                "status": EngineRunStatus.QUEUED,
            }
            for engine in scanners
        ],
    )
    queued = f"Report on {reference} queued" if request.report else f"Scan of {reference} queued"
    await repository.write_log(
        session, organization_id, scan_id, f"{queued} for a sensor" if by_sensor else queued, now=now
    )
    if by_sensor:
        assert registry_id is not None
        await queue_sensor_job(
            session, organization_id, scan_id=scan_id, registry_id=registry_id, priority=request.priority, now=now
        )
    else:
        await queue_job(
            session, organization_id, kind=JobKind.SCAN, subject_id=scan_id, priority=request.priority, now=now
        )
    await record(
        session,
        organization_id=organization_id,
        actor=principal.actor_id,
        action="scan.triggered",
        target=f"scan:{scan_id}",
        ip=ip,
        details={"image": str(reference), "scanners": [engine.value for engine in scanners]},
        now=now,
    )
    return scan_id


async def _source(
    session: AsyncSession, organization_id: str, request: ScanRequest, reference: ImageReference
) -> tuple[SourceKind, str | None, str | None]:
    """(kind, source, registry id) of the image's bytes. NOT_FOUND for a registry or upload that is not the caller's."""
    if request.path is not None:
        return SourceKind.PATH, request.path, None
    if request.report is not None:
        return SourceKind.REPORT, str(request.report), request.registry_id
    if request.upload_id is not None:
        upload = await get_upload(session, organization_id, request.upload_id)
        return SourceKind.UPLOAD, upload.id, None
    registry_id = await find_registry(
        session, organization_id, registry_id=request.registry_id, host=reference.registry
    )
    return SourceKind.REGISTRY, registry_id, registry_id


async def cancel_scan(
    session: AsyncSession, scan_id: str, principal: Principal, *, now: datetime, ip: str | None = None
) -> None:
    """A queued scan ends now; a running one ends when its worker has stopped the engines. CONFLICT when it has ended."""
    organization_id = principal.organization_id
    scan = await repository.get_scan(session, organization_id, scan_id)
    if scan.status not in ACTIVE:
        raise conflict(f"The scan is {scan.status}; only a queued or running scan can be cancelled")
    state = await _cancel_with_sensor(session, organization_id, scan_id, now=now) if _is_sensors(scan) else None
    if state is None:
        state = await request_cancel(session, organization_id, scan_id, now=now)
    if state is JobState.CANCELLED:
        await lifecycle.end_cancelled(session, organization_id, scan_id, now=now)
    elif state is JobState.RUNNING:
        await repository.write_log(session, organization_id, scan_id, "Cancellation requested", now=now)
    else:
        raise conflict("The scan has just ended; only a queued or running scan can be cancelled")
    await record(
        session,
        organization_id=organization_id,
        actor=principal.actor_id,
        action="scan.cancelled",
        target=f"scan:{scan_id}",
        ip=ip,
        now=now,
    )


def _is_sensors(scan: Any) -> bool:
    return bool(scan.origin == ScanOrigin.SENSOR)


async def _cancel_with_sensor(
    session: AsyncSession, organization_id: str, scan_id: str, *, now: datetime
) -> JobState | None:
    """CANCELLED for a scan that waits for a sensor or is with one; None when its results have come.

    A sensor that scans does not listen, so nobody waits for it: it is told when it asks for work, and what it sends until
    then is not taken.
    """
    job = await hold_job(session, organization_id, scan_id)
    if job is None or job.state not in {SensorJobState.WAITING, SensorJobState.CLAIMED}:
        return None
    if job.state is SensorJobState.WAITING:
        await end_job(session, job, SensorJobState.CANCELLED, now=now)
    else:
        await change_job(session, job, cancel_requested=True)
    return JobState.CANCELLED


async def delete_scan(
    session: AsyncSession, scan_id: str, principal: Principal, *, now: datetime, ip: str | None = None
) -> None:
    """CONFLICT while the scan is queued or running: cancel it first."""
    organization_id = principal.organization_id
    scan = await repository.get_scan(session, organization_id, scan_id)
    if scan.status in ACTIVE:
        raise conflict(f"The scan is {scan.status}; cancel it before deleting it")
    await hand_over(session, organization_id, scan_id)
    await repository.step_back(session, organization_id, scan_id)
    await repository.delete_scan_row(session, organization_id, scan_id)
    await settle(session, organization_id, [scan.image_id])
    await record(
        session,
        organization_id=organization_id,
        actor=principal.actor_id,
        action="scan.deleted",
        target=f"scan:{scan_id}",
        ip=ip,
        details={"image": scan.reference},
        now=now,
    )
