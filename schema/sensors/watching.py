"""What the reconciler does about sensors that fall silent. Each in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.scans import lifecycle
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import ACTIVE, ScanPhase, ScanStatus
from schema.scans.repository import change_scan, load_scan, write_log
from schema.sensors import repository
from schema.sensors.models import SensorJob, SensorJobState

log = structlog.get_logger(__name__)


async def watch_sensors(session: AsyncSession, *, now: datetime) -> list[str]:
    """Jobs of silent sensors go to others, sensors that are offline are lost. Returns the scans that stand otherwise now."""
    changed = []
    for job in await repository.expired_jobs(session, now=now):
        await _take_back(session, job, now=now)
        changed.append(job.scan_id)
    for sensor in await repository.lose_silent(session, now=now):
        await record(
            session,
            organization_id=sensor.organization_id,
            actor="system",
            action="sensor.lost",
            target=f"sensor:{sensor.id}",
            details={"name": sensor.name},
            now=now,
        )
        if sensor.registry_id is not None:
            await repository.disconnect_registry(session, sensor.organization_id, sensor.registry_id)
        log.warning("sensor.lost", sensor=sensor.id, organization=sensor.organization_id)
    return changed


async def _take_back(session: AsyncSession, job: SensorJob, *, now: datetime) -> None:
    organization_id, scan_id = job.organization_id, job.scan_id
    is_active = (await load_scan(session, organization_id, scan_id)).status in ACTIVE
    if job.cancel_requested or not is_active:
        await repository.end_job(session, job, SensorJobState.CANCELLED, now=now)
    elif job.attempt >= job.max_attempts:
        await repository.end_job(session, job, SensorJobState.FAILED, now=now)
        reason = "The sensor fell silent on every attempt, most likely killed or cut off; see its own log"
        await lifecycle.end_failed(
            session, organization_id, scan_id, ScanFailure(FailureCode.INTERRUPTED, reason), now=now
        )
    else:
        await repository.change_job(session, job, state=SensorJobState.WAITING, sensor_id=None, lease_expires_at=None)
        await change_scan(
            session, organization_id, scan_id, status=ScanStatus.QUEUED, phase=ScanPhase.QUEUED, progress=0
        )
        message = "The sensor fell silent; the scan waits for one again"
        await write_log(session, organization_id, scan_id, message, level="warning", now=now)
