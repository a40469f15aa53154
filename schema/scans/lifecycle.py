"""The states a scan goes through while a worker has it, each in the caller's transaction.

Whoever commits then signals the scan's id, so that listeners look again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.scans import repository
from schema.scans.failures import ScanFailure
from schema.scans.models import EngineRunStatus, ScanPhase, ScanStatus


async def begin(session: AsyncSession, organization_id: str, scan_id: str, *, attempt: int, now: datetime) -> None:
    """A worker starts, for the first time or again: an earlier attempt left nothing but its log."""
    await repository.change_scan(
        session,
        organization_id,
        scan_id,
        status=ScanStatus.IN_PROGRESS,
        phase=ScanPhase.FETCHING,
        progress=0,
        started_at=now,
    )
    await repository.change_open_runs(session, organization_id, scan_id, status=EngineRunStatus.RUNNING, started_at=now)
    message = "Scan started" if attempt == 1 else f"Scan started again (attempt {attempt})"
    await repository.write_log(session, organization_id, scan_id, message, now=now)


async def advance(
    session: AsyncSession,
    organization_id: str,
    scan_id: str,
    phase: ScanPhase,
    message: str,
    *,
    progress: int,
    now: datetime,
) -> None:
    await repository.change_scan(session, organization_id, scan_id, phase=phase, progress=progress)
    await repository.write_log(session, organization_id, scan_id, message, now=now)


async def end_failed(
    session: AsyncSession, organization_id: str, scan_id: str, failure: ScanFailure, *, now: datetime
) -> None:
    scan = await repository.load_scan(session, organization_id, scan_id)
    started = scan.started_at or now
    await repository.change_scan(
        session,
        organization_id,
        scan_id,
        status=ScanStatus.FAILED,
        phase=ScanPhase.DONE,
        failure_code=failure.code,
        failure_reason=failure.message[:2000],
        duration_ms=int((now - started).total_seconds() * 1000),
        scanned_at=now,
        ordered_at=now,
    )
    await repository.change_open_runs(
        session, organization_id, scan_id, status=EngineRunStatus.SKIPPED, message="The scan failed before it could run"
    )
    await record(
        session,
        organization_id=organization_id,
        actor="system",
        action="scan.failed",
        target=f"scan:{scan_id}",
        details={"code": failure.code.value},
        now=now,
    )
    await repository.write_log(
        session, organization_id, scan_id, f"Scan failed: {failure.message}", level="error", now=now
    )


async def end_cancelled(session: AsyncSession, organization_id: str, scan_id: str, *, now: datetime) -> None:
    await repository.change_scan(
        session,
        organization_id,
        scan_id,
        status=ScanStatus.CANCELLED,
        phase=ScanPhase.DONE,
        scanned_at=now,
        ordered_at=now,
    )
    await repository.change_open_runs(
        session, organization_id, scan_id, status=EngineRunStatus.SKIPPED, message="The scan was cancelled"
    )
    await repository.write_log(session, organization_id, scan_id, "Scan cancelled", now=now)
