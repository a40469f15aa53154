"""What a sensor asks of us beside sending results: to be known, to be heard of, work, and to tell how a job ended.

Whoever calls has a sensor's key. An id of a sensor counts only together with the key it was given to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError, not_found
from schema.kernel.principal import Principal
from schema.registries.repository import RegistryAccess, open_registry
from schema.scans import lifecycle
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import ACTIVE, Scan, ScanStatus
from schema.scans.repository import change_scan, load_scan, write_log
from schema.sensors import repository
from schema.sensors.handover import seal_access
from schema.sensors.messages import Heartbeat, JobOutcome, JobReport, Registration
from schema.sensors.models import Sensor, SensorJob, SensorJobState
from schema.sensors.repository import ENDED, Claim
from schema.sensors.rules import SEEN_EVERY, can_scan, is_current, takes_credentials

log = structlog.get_logger(__name__)


def registry_of(principal: Principal) -> str:
    """The registry the caller is a sensor of. Raises FORBIDDEN for a key that is bound to none."""
    if principal.registry_id is None:
        raise HarborGuardError(ErrorCode.FORBIDDEN, "The key is bound to no registry; make one with registryId")
    return principal.registry_id


def _unknown() -> HarborGuardError:
    """One answer for no such sensor and for another key's."""
    return HarborGuardError(ErrorCode.FORBIDDEN, "The agentId is not one that was given to this key; register again")


async def own_sensor(session: AsyncSession, principal: Principal, agent_id: str) -> Sensor:
    """Raises FORBIDDEN for an id that this key has not been given."""
    sensor = await repository.find_own(session, principal.organization_id, principal.credential_id, agent_id)
    if sensor is None:
        raise _unknown()
    return sensor


async def register(context: RequestContext, session: AsyncSession, message: Mapping[str, Any]) -> str:
    """The id of the sensor: the same for the same key and identity, however often it registers."""
    principal, now = context.principal, context.now()
    organization_id, registry_id = principal.organization_id, registry_of(principal)
    given = Registration.read(message)
    sensor_id, is_new = await repository.file_sensor(
        session, organization_id, principal.credential_id, registry_id, given, now=now
    )
    if given.identity:
        # It has started anew, and nobody else goes by its identity: what it had in hand is lost.
        await repository.return_jobs(session, organization_id, sensor_id, now=now)
    await repository.connect_registry(session, organization_id, registry_id)
    if is_new:
        await record(
            session,
            organization_id=organization_id,
            actor=principal.actor_id,
            action="sensor.registered",
            target=f"sensor:{sensor_id}",
            ip=context.client_ip,
            details={"name": given.name, "registryId": registry_id},
            now=now,
        )
    return sensor_id


async def hear(session: AsyncSession, sensor: Sensor, *, now: datetime, heartbeat: Heartbeat | None = None) -> None:
    """Takes down that a sensor is there; one that was lost is back, and with it its registry."""
    await repository.mark_seen(
        session,
        sensor,
        now=now,
        active_scans=None if heartbeat is None else heartbeat.active_scans,
        uptime=None if heartbeat is None else heartbeat.uptime_seconds,
    )
    if sensor.lost_at is None:
        return
    if sensor.registry_id is not None:
        await repository.connect_registry(session, sensor.organization_id, sensor.registry_id)
    await record(
        session,
        organization_id=sensor.organization_id,
        actor="system",
        action="sensor.recovered",
        target=f"sensor:{sensor.id}",
        details={"name": sensor.name},
        now=now,
    )
    log.info("sensor.recovered", sensor=sensor.id)


async def take_heartbeat(context: RequestContext, session: AsyncSession, message: Mapping[str, Any]) -> list[str]:
    """Returns the jobs the sensor has in hand that nobody wants any more."""
    heartbeat, now = Heartbeat.read(message), context.now()
    sensor = await own_sensor(session, context.principal, heartbeat.agent_id)
    await hear(session, sensor, now=now, heartbeat=heartbeat)
    if not heartbeat.is_scanning:
        return []
    # One that does nothing does not renew: a job whose way to it was lost must not be kept for ever.
    await repository.renew_jobs(session, sensor, now=now)
    return list(await repository.unwanted_jobs(session, sensor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A job for a sensor. The image's reference is spelled as that sensor understands it.

    Of credentials it has at most one form: sealed for a sensor of ours, and as they are for those in the field.
    """

    id: str
    created_at: datetime
    image_ref: str
    scanners: tuple[str, ...]
    platform: str | None
    credentials: RegistryAccess | None
    sealed_credentials: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignments:
    jobs: tuple[Assignment, ...] = ()
    cancel_jobs: tuple[str, ...] = ()


async def claim(context: RequestContext, agent_id: str) -> Assignments:
    """What the sensor is to do next, taken by asking. Where there is nothing, and it was heard of lately, this only reads."""
    principal, now = context.principal, context.now()
    organization_id, registry_id = principal.organization_id, registry_of(principal)
    async with context.read() as session:
        sensor = await own_sensor(session, principal, agent_id)
        waits = can_scan(sensor.capabilities) and await repository.has_waiting(session, organization_id, registry_id)
        unwanted = await repository.unwanted_jobs(session, sensor)
    if not (waits or unwanted):
        await _note_seen(context, sensor, now=now)
        return Assignments()
    async with context.write() as session:
        await hear(session, sensor, now=now)
        for scan_id in unwanted:
            await _drop(session, sensor, scan_id, now=now)
        taken = await repository.claim_next(session, sensor, registry_id, now=now) if waits else None
        if taken is None:
            return Assignments(cancel_jobs=tuple(unwanted))
        scan = await lifecycle.begin(session, organization_id, taken.scan_id, attempt=taken.attempt, now=now)
        await change_scan(session, organization_id, scan.id, sensor_id=sensor.id)
        await write_log(session, organization_id, scan.id, f"Sensor {sensor.name} has it", now=now)
        access = await open_registry(session, organization_id, registry_id, context.services.keys)
        context.signal_after_commit(scan.id)
    return Assignments(jobs=(_assignment(taken, scan, sensor, access),), cancel_jobs=tuple(unwanted))


async def _note_seen(context: RequestContext, sensor: Sensor, *, now: datetime) -> None:
    if sensor.last_seen_at > now - SEEN_EVERY:
        return

    async def write() -> None:
        async with context.services.database.write() as session:
            await hear(session, sensor, now=now)

    context.services.background.start(f"sensor:{sensor.id}", write)


async def _drop(session: AsyncSession, sensor: Sensor, scan_id: str, *, now: datetime) -> None:
    """A sensor that asks for work has none in hand, so what it is told to stop it does not do any more."""
    job = await repository.hold_job(session, sensor.organization_id, scan_id)
    if job is not None and job.state is SensorJobState.CLAIMED:
        await repository.end_job(session, job, SensorJobState.CANCELLED, now=now)


def _assignment(taken: Claim, scan: Scan, sensor: Sensor, access: RegistryAccess) -> Assignment:
    has_credentials = access.username is not None and access.password is not None
    is_told = has_credentials and takes_credentials(sensor.identity, sensor.capabilities)
    # The scheme tells a sensor of the second generation what the registry speaks; the first takes it for the image's name.
    scheme = "http://" if access.insecure and is_current(sensor.identity, sensor.capabilities) else ""
    return Assignment(
        id=scan.id,
        created_at=taken.created_at,
        image_ref=f"{scheme}{scan.reference}",
        scanners=tuple(scan.scanners),
        platform=scan.platform,
        credentials=access if is_told and sensor.public_key is None else None,
        sealed_credentials=seal_access(access, sensor.public_key, scan_id=scan.id)
        if is_told and sensor.public_key is not None
        else None,
    )


async def take_report(context: RequestContext, session: AsyncSession, scan_id: str, message: Mapping[str, Any]) -> None:
    """How a job ended. Said again, or after the results came, it changes nothing.

    Raises NOT_FOUND for a job of nobody in this organization, FORBIDDEN for one of another registry or another key's sensor.
    """
    report, now = JobReport.read(message), context.now()
    job = await own_job(session, context.principal, scan_id)
    if job.sensor_id is not None:
        sensor = await repository.find_own(session, job.organization_id, context.principal.credential_id, job.sensor_id)
        if sensor is None and job.state is SensorJobState.CLAIMED:
            raise HarborGuardError(ErrorCode.FORBIDDEN, "The job is another sensor's")
        if sensor is not None:
            await hear(session, sensor, now=now)
    if job.state in ENDED:
        await _explain(session, job, report)
        return
    await _end(session, job, report, now=now)
    context.signal_after_commit(scan_id)


async def own_job(session: AsyncSession, principal: Principal, scan_id: str) -> SensorJob:
    """Raises NOT_FOUND, or FORBIDDEN for a job of another registry."""
    job = await repository.hold_job(session, principal.organization_id, scan_id)
    if job is None:
        raise not_found("Job")
    if job.registry_id != registry_of(principal):
        raise HarborGuardError(ErrorCode.FORBIDDEN, "The job is of another registry than this key")
    return job


async def _end(session: AsyncSession, job: SensorJob, report: JobReport, *, now: datetime) -> None:
    organization_id, scan_id = job.organization_id, job.scan_id
    if report.outcome is JobOutcome.CANCELLED or job.cancel_requested:
        await repository.end_job(session, job, SensorJobState.CANCELLED, now=now, message=report.error or None)
        if await _is_active(session, job):
            await lifecycle.end_cancelled(session, organization_id, scan_id, now=now)
        return
    if report.outcome is JobOutcome.COMPLETED:
        reason = "The sensor said it was done, but sent no results"
    else:
        reason = f"The sensor failed: {report.error or 'it did not say why'}"
    await repository.end_job(session, job, SensorJobState.FAILED, now=now, message=report.error or None)
    if await _is_active(session, job):
        failure = ScanFailure(FailureCode.SENSOR_FAILED, reason)
        await lifecycle.end_failed(session, organization_id, scan_id, failure, now=now)


async def _is_active(session: AsyncSession, job: SensorJob) -> bool:
    return (await load_scan(session, job.organization_id, job.scan_id)).status in ACTIVE


async def _explain(session: AsyncSession, job: SensorJob, report: JobReport) -> None:
    """Results that say all engines failed do not say why; what the sensor reports after them does."""
    if report.outcome is not JobOutcome.FAILED or not report.error or job.message is not None:
        return
    await repository.change_job(session, job, message=report.error)
    scan = await load_scan(session, job.organization_id, job.scan_id)
    if scan.status is ScanStatus.FAILED:
        reason = f"The sensor failed: {report.error}"
        await change_scan(session, job.organization_id, job.scan_id, failure_reason=reason)
