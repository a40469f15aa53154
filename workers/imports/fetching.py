"""Getting at an uploaded report, and at what it is about."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from schema.images.repository import get_upload
from schema.scans.formats import ReportSource
from schema.scans.ingest import FetchedImage
from schema.scans.models import Scan
from schema.sensors.repository import said_of
from workers.engines.running import KEPT_OUTPUT
from workers.imports.report import ImportedReport, Subject
from workers.imports.results import Reading
from workers.reading import read_imported
from workers.runtime import WorkerRuntime


async def import_report(scan: Scan, runtime: WorkerRuntime, scratch: Path) -> tuple[ImportedReport, Reading]:
    """Reads the report a scan is of. Raises ScanFailure."""
    assert scan.source is not None, "a scan of a report names its upload"
    source, services = ReportSource.parse(scan.source), runtime.services
    async with services.database.read() as session:
        upload = await get_upload(session, scan.organization_id, source.upload_id)
    started_at, clock, evidence = services.clock(), time.monotonic(), scratch / "evidence.json"
    imported = await read_imported(
        services.blobs.path(upload.blob), source.format, evidence=evidence, sandbox=runtime.limits.analysis
    )
    kept = evidence.stat().st_size <= KEPT_OUTPUT
    return imported, Reading(
        started_at=started_at,
        duration_ms=int((time.monotonic() - clock) * 1000),
        evidence=await asyncio.to_thread(evidence.read_bytes) if kept else None,
    )


async def reason_of(scan: Scan, runtime: WorkerRuntime) -> str:
    """Why a sensor's engines have all failed. Its results do not say; what it reported after them may."""
    async with runtime.services.database.read() as session:
        said = await said_of(session, scan.organization_id, scan.id)
    return f"The sensor failed: {said or 'all its engines failed, and it did not say why'}"


def told_image(scan: Scan, subject: Subject, *, size_bytes: int = 0) -> FetchedImage:
    """What is known of an image nobody fetched: what its sender said, else what the report says, and often neither."""
    digest, platform = scan.digest or subject.digest, scan.platform or subject.platform
    system = subject.system
    return FetchedImage(
        digest=digest,
        platform=platform,
        size_bytes=size_bytes if digest and platform else 0,
        operating_system=system.name if system else None,
        config={},
    )
