"""The states a scan goes through while a worker has it, each in the caller's transaction.

Whoever commits then signals the scan's id, so that listeners look again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.scans import repository
from schema.scans.failures import ScanFailure
from schema.scans.models import Engine, EngineRunStatus, Scan, ScanPhase, ScanStatus

# Their results come with the scan's, so without those nothing of them is there.
_UNSTORED = (EngineRunStatus.QUEUED, EngineRunStatus.RUNNING, EngineRunStatus.COMPLETE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """How one engine of a running scan stands. What it found is stored with the scan's results."""

    engine: Engine
    status: EngineRunStatus
    provider: str | None = None
    message: str | None = None
    started_at: datetime | None = None
    duration_ms: int | None = None


async def begin(session: AsyncSession, organization_id: str, scan_id: str, *, attempt: int, now: datetime) -> Scan:
    """A worker starts, for the first time or again: an earlier attempt left nothing but its log."""
    scan = await repository.start_scan(
        session,
        organization_id,
        scan_id,
        status=ScanStatus.IN_PROGRESS,
        phase=ScanPhase.FETCHING,
        progress=0,
        started_at=now,
    )
    await repository.change_engine_runs(
        session,
        organization_id,
        scan_id,
        status=EngineRunStatus.QUEUED,
        provider=None,
        message=None,
        started_at=None,
        duration_ms=None,
    )
    message = "Scan started" if attempt == 1 else f"Scan started again (attempt {attempt})"
    await repository.write_log(session, organization_id, scan_id, message, now=now)
    return scan


async def advance(
    session: AsyncSession,
    organization_id: str,
    scan_id: str,
    phase: ScanPhase,
    *messages: str,
    progress: int,
    runs: Sequence[RunState] = (),
    now: datetime,
) -> None:
    """Goes on to a phase, or on within it. `messages` are lines of the log, `runs` the engines that stand otherwise now."""
    await repository.change_scan(session, organization_id, scan_id, phase=phase, progress=progress)
    for run in runs:
        await repository.change_engine_run(
            session,
            organization_id,
            scan_id,
            run.engine,
            status=run.status,
            provider=run.provider,
            message=run.message,
            started_at=run.started_at,
            duration_ms=run.duration_ms,
        )
    for message in messages:
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
    await repository.change_engine_runs(
        session,
        organization_id,
        scan_id,
        _UNSTORED,
        status=EngineRunStatus.SKIPPED,
        message="The scan failed before its results were stored",
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
    await repository.change_engine_runs(
        session,
        organization_id,
        scan_id,
        _UNSTORED,
        status=EngineRunStatus.SKIPPED,
        message="The scan was cancelled",
    )
    await repository.write_log(session, organization_id, scan_id, "Scan cancelled", now=now)
