"""All SQL of scans, their engine runs, logs and inventories."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.dependencies.models import Layer, Package
from schema.dependencies.records import PackageType
from schema.images.models import Tag
from schema.kernel.columns import all_columns
from schema.kernel.errors import not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_text, as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import tenant
from schema.scans.models import (
    Engine,
    EngineOutput,
    EngineRun,
    EngineRunStatus,
    Misconfiguration,
    Scan,
    ScanEvidence,
    ScanLog,
    ScanStatus,
    Secret,
)
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.verdict import verdict_columns

MAX_LOG_LINES = 1_000
SCANS = Listing(
    Scan,
    columns={column.key: column for column in all_columns(Scan)}
    | verdict_columns(Scan)
    | {
        "image": col(Scan.reference),
        "origin": as_text(Scan.origin),
        "status": as_text(Scan.status),
        "phase": as_text(Scan.phase),
        "failure_code": as_text(Scan.failure_code),
        "created_at": as_time(Scan.created_at),
        "started_at": as_time(Scan.started_at),
        "scanned_at": as_time(Scan.scanned_at),
        # Whose rows hold what was read from the image, and what was found in it.
        "read_by": func.coalesce(col(Scan.inventory_of), col(Scan.id)),
        "found_by": func.coalesce(col(Scan.findings_of), col(Scan.id)),
    },
    filters={
        "statuses": col(Scan.status).in_(any_of("statuses")),
        "batch_id": col(Scan.batch_id) == parameter("batch_id"),
        "search": or_(contains(col(Scan.reference), "search"), contains(func.coalesce(col(Scan.digest), ""), "search")),
    },
    sorts={
        "scannedAt": col(Scan.ordered_at),
        "status": col(Scan.status),
        "compliance": col(Scan.grade_key),
        "riskScore": col(Scan.risk_key),
    },
    default=SortOrder(column="scannedAt", descending=True),
)
PACKAGES = Listing(
    Package,
    columns={column.key: column for column in all_columns(Package)} | {"type": as_text(Package.type)},
    scope=[col(Package.scan_id) == parameter("scan_id")],
    filters={
        "types": col(Package.type).in_(any_of("types")),
        "search": or_(contains(col(Package.name), "search"), contains(col(Package.purl), "search")),
    },
    sorts={"name": col(Package.name)},
    default=SortOrder(column="name", descending=False),
)


def _sighted(table: type[Misconfiguration | Secret], *searched: Any) -> Listing:
    return Listing(
        table,
        columns={column.key: column for column in all_columns(table)} | {"severity": as_text(table.severity)},
        scope=[col(table.scan_id) == parameter("scan_id")],
        filters={
            "severities": col(table.severity).in_(any_of("severities")),
            "search": or_(*(contains(col(each), "search") for each in (table.title, table.path, *searched))),
        },
        sorts={"severity": col(table.severity_key)},
        default=SortOrder(column="severity", descending=True),
    )


MISCONFIGURATIONS = _sighted(Misconfiguration, Misconfiguration.check_id)
SECRETS = _sighted(Secret, Secret.rule, Secret.place)


async def list_scans(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    statuses: Sequence[ScanStatus] | None = None,
    search: str | None = None,
    batch_id: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """`search` looks in the reference and the digest."""
    given = {"statuses": statuses, "search": pattern(search), "batch_id": batch_id}
    return await fetch_page(session, SCANS, organization_id, request, filters=given, wanted=wanted)


async def get_scan(session: AsyncSession, organization_id: str, scan_id: str) -> Any:
    """The scan as it is shown: times and states are text."""
    row = (await session.execute(SCANS.one(col(Scan.id) == scan_id), {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Scan")
    return row


async def load_scan(session: AsyncSession, organization_id: str, scan_id: str) -> Scan:
    """The scan as its worker needs it: with the source, which no answer ever shows."""
    statement = select(Scan).where(tenant(Scan, organization_id), col(Scan.id) == scan_id)
    scan = (await session.execute(statement)).scalar_one_or_none()
    if scan is None:
        raise not_found("Scan")
    return scan


async def start_scan(session: AsyncSession, organization_id: str, scan_id: str, **values: Any) -> Scan:
    """Changes the scan and returns it as its worker needs it."""
    statement = update(Scan).where(tenant(Scan, organization_id), col(Scan.id) == scan_id).values(**values)
    scan = (await session.execute(statement.returning(Scan))).scalar_one_or_none()
    if scan is None:
        raise not_found("Scan")
    return scan


async def change_scan(session: AsyncSession, organization_id: str, scan_id: str, **values: Any) -> None:
    await session.execute(update(Scan).where(tenant(Scan, organization_id), col(Scan.id) == scan_id).values(**values))


async def engine_runs(session: AsyncSession, organization_id: str, scan_id: str) -> Sequence[Any]:
    statement = select(*all_columns(EngineRun)).where(
        tenant(EngineRun, organization_id), col(EngineRun.scan_id) == scan_id
    )
    return (await session.execute(statement.order_by(col(EngineRun.id)))).all()


async def change_engine_run(
    session: AsyncSession, organization_id: str, scan_id: str, engine: Engine, **values: Any
) -> None:
    await session.execute(
        update(EngineRun)
        .where(tenant(EngineRun, organization_id), col(EngineRun.scan_id) == scan_id, col(EngineRun.engine) == engine)
        .values(**values)
    )


async def change_engine_runs(
    session: AsyncSession,
    organization_id: str,
    scan_id: str,
    statuses: Collection[EngineRunStatus] = tuple(EngineRunStatus),
    **values: Any,
) -> None:
    """Changes every engine run of the scan, or those that stand so."""
    await session.execute(
        update(EngineRun)
        .where(
            tenant(EngineRun, organization_id), col(EngineRun.scan_id) == scan_id, col(EngineRun.status).in_(statuses)
        )
        .values(**values)
    )


async def engine_run_id(session: AsyncSession, organization_id: str, scan_id: str, engine: Engine) -> str:
    statement = select(col(EngineRun.id)).where(
        tenant(EngineRun, organization_id), col(EngineRun.scan_id) == scan_id, col(EngineRun.engine) == engine
    )
    return (await session.execute(statement)).scalar_one()


async def list_packages(
    session: AsyncSession,
    organization_id: str,
    scan_id: str,
    request: PageRequest,
    *,
    types: Sequence[PackageType] | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    given = {"types": types, "search": pattern(search)}
    return await fetch_page(
        session, PACKAGES, organization_id, request, scope={"scan_id": scan_id}, filters=given, wanted=wanted
    )


async def list_sighted(
    session: AsyncSession,
    listing: Listing,
    organization_id: str,
    scan_id: str,
    request: PageRequest,
    *,
    severities: Sequence[Severity] | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """MISCONFIGURATIONS or SECRETS of a scan, worst first."""
    given = {"severities": severities, "search": pattern(search)}
    return await fetch_page(
        session, listing, organization_id, request, scope={"scan_id": scan_id}, filters=given, wanted=wanted
    )


async def evidence(session: AsyncSession, organization_id: str, scan_id: str) -> Any:
    """None of a scan that has not ended well, or that was made before there was any."""
    statement = select(*all_columns(ScanEvidence)).where(
        tenant(ScanEvidence, organization_id), col(ScanEvidence.scan_id) == scan_id
    )
    return (await session.execute(statement)).one_or_none()


async def layers(session: AsyncSession, organization_id: str, scan_id: str) -> Sequence[Any]:
    statement = select(*all_columns(Layer)).where(tenant(Layer, organization_id), col(Layer.scan_id) == scan_id)
    return (await session.execute(statement.order_by(col(Layer.index)))).all()


@dataclass(frozen=True, slots=True)
class Output:
    media_type: str
    content: str


async def engine_output(session: AsyncSession, organization_id: str, scan_ids: Sequence[str], engine: Engine) -> Output:
    """That of the first of the scans that has one."""
    statement = (
        select(col(EngineOutput.media_type), col(EngineOutput.content))
        .join(EngineRun, col(EngineRun.id) == col(EngineOutput.engine_run_id))
        .where(
            tenant(EngineOutput, organization_id), col(EngineRun.scan_id).in_(scan_ids), col(EngineRun.engine) == engine
        )
        .order_by(case({scan_id: place for place, scan_id in enumerate(scan_ids)}, value=col(EngineRun.scan_id)))
        .limit(1)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise not_found("Engine output")
    return Output(row.media_type, zlib.decompress(row.content).decode(errors="replace"))


async def keep_engine_output(
    session: AsyncSession, organization_id: str, engine_run_id: str, content: bytes, *, media_type: str
) -> None:
    """`content` is compressed (zlib)."""
    await session.execute(
        insert(EngineOutput).values(
            organization_id=organization_id,
            engine_run_id=engine_run_id,
            media_type=media_type,
            content=content,
        )
    )


async def log_lines(session: AsyncSession, organization_id: str, scan_id: str, *, after: int) -> Sequence[Any]:
    statement = (
        select(*all_columns(ScanLog))
        .where(tenant(ScanLog, organization_id), col(ScanLog.scan_id) == scan_id, col(ScanLog.sequence) > after)
        .order_by(col(ScanLog.sequence))
        .limit(MAX_LOG_LINES)
    )
    return (await session.execute(statement)).all()


async def log_tail(session: AsyncSession, organization_id: str, scan_id: str, *, lines: int) -> Sequence[Any]:
    """The last lines, oldest first."""
    statement = (
        select(*all_columns(ScanLog))
        .where(tenant(ScanLog, organization_id), col(ScanLog.scan_id) == scan_id)
        .order_by(col(ScanLog.sequence).desc())
        .limit(lines)
    )
    return (await session.execute(statement)).all()[::-1]


async def write_log(
    session: AsyncSession, organization_id: str, scan_id: str, message: str, *, now: datetime, level: str = "info"
) -> None:
    """Adds a line. Its number is free, because whoever writes holds the scan's job: it has changed that row before."""
    last = select(func.max(col(ScanLog.sequence))).where(
        tenant(ScanLog, organization_id), col(ScanLog.scan_id) == scan_id
    )
    await session.execute(
        insert(ScanLog).values(
            organization_id=organization_id,
            scan_id=scan_id,
            sequence=func.coalesce(last.scalar_subquery(), 0) + 1,
            at=now,
            level=level,
            message=message[:2000],
        )
    )


async def insert_scan(session: AsyncSession, values: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
    await session.execute(insert(Scan).values(**values))
    if runs:
        await session.execute(insert(EngineRun), list(runs))


async def name_engines(session: AsyncSession, organization_id: str, scan_id: str, engines: Sequence[Engine]) -> None:
    """Gives a scan those of its engine runs that nobody asked for: of engines that have spoken in a report."""
    known = {run.engine for run in await engine_runs(session, organization_id, scan_id)}
    await change_scan(session, organization_id, scan_id, scanners=[engine.value for engine in engines])
    runs = [
        {
            "id": new_id(IdPrefix.ENGINE_RUN),
            "organization_id": organization_id,
            "scan_id": scan_id,
            "engine": engine,
            "status": EngineRunStatus.RUNNING,
        }
        for engine in engines
        if engine not in known
    ]
    if runs:
        await session.execute(insert(EngineRun), runs)


async def step_back(session: AsyncSession, organization_id: str, scan_id: str) -> None:
    """Before a scan is deleted: a tag whose latest it is is as the one before it says, or as if never scanned."""

    def before(column: Any) -> Any:
        return (
            select(column)
            .where(
                tenant(Scan, organization_id),
                col(Scan.tag_id) == col(Tag.id),
                col(Scan.status) == ScanStatus.COMPLETE,
                col(Scan.id) != scan_id,
            )
            .order_by(col(Scan.ordered_at).desc(), col(Scan.id).desc())
            .limit(1)
            .scalar_subquery()
        )

    await session.execute(
        update(Tag)
        .where(tenant(Tag, organization_id), col(Tag.last_scan_id) == scan_id)
        .values(
            last_scan_id=before(col(Scan.id)),
            digest=before(col(Scan.digest)),
            last_scanned_at=before(col(Scan.scanned_at)),
        )
        .execution_options(synchronize_session=False)
    )


async def delete_scan_row(session: AsyncSession, organization_id: str, scan_id: str) -> None:
    """With everything that hangs off the scan; vulnerabilities stay, for other scans saw them too."""
    await session.execute(delete(Scan).where(tenant(Scan, organization_id), col(Scan.id) == scan_id))
