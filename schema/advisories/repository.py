"""All SQL of the advisory store. Nothing here belongs to a tenant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.advisories.models import Advisory, AdvisoryEcosystem, AdvisoryImport, AdvisoryPackage
from schema.advisories.records import AdvisoryRecord, AffectedPackage, VersionRange
from schema.kernel.ids import IdPrefix, new_id

NAMES_PER_QUERY = 500
RECORDS_PER_BATCH = 500
SAMPLE_SOURCE = "harborguard-sample"  # the source an import of the demonstration's advisories bears


async def start_import(session: AsyncSession, source: str, *, now: datetime) -> str:
    import_id = new_id(IdPrefix.ADVISORY_IMPORT)
    await session.execute(insert(AdvisoryImport).values(id=import_id, source=source, started_at=now))
    return import_id


async def store_batch(session: AsyncSession, import_id: str, records: Sequence[AdvisoryRecord]) -> None:
    """Stores records, replacing what the store held under their ids. A batch's last record of an id wins."""
    latest = {record.id: record for record in records}
    if not latest:
        return
    await session.execute(delete(AdvisoryPackage).where(col(AdvisoryPackage.advisory_id).in_(latest)))
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    rows = [_advisory_row(record, import_id) for record in latest.values()]
    statement = dialect.insert(Advisory).values(rows)
    changed = {name: statement.excluded[name] for name in rows[0] if name != "id"}
    await session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=changed))
    packages = [
        _package_row(record.id, position, affected)
        for record in latest.values()
        for position, affected in enumerate(record.affected)
    ]
    for start in range(0, len(packages), RECORDS_PER_BATCH):
        await session.execute(insert(AdvisoryPackage), packages[start : start + RECORDS_PER_BATCH])


def _advisory_row(record: AdvisoryRecord, import_id: str) -> dict[str, Any]:
    return {
        "id": record.id,
        "aliases": list(record.aliases),
        "summary": record.summary[:500],
        "details": record.details,
        "severity": record.severity,
        "cvss_score": record.cvss_score,
        "cvss_vectors": list(record.cvss_vectors),
        "references": list(record.references),
        "published_at": record.published,
        "modified_at": record.modified,
        "withdrawn_at": record.withdrawn,
        "import_id": import_id,
    }


def _package_row(advisory_id: str, position: int, affected: AffectedPackage) -> dict[str, Any]:
    return {
        "advisory_id": advisory_id,
        "position": position,
        "ecosystem": affected.ecosystem,
        "name": affected.name,
        "ranges": [asdict(entry) for entry in affected.ranges],
        "versions": list(affected.versions),
        "severity": affected.severity,
        "cvss_vectors": list(affected.cvss_vectors),
    }


async def finish_import(
    session: AsyncSession,
    import_id: str,
    *,
    records: int,
    rejected: int,
    database_date: datetime | None,
    now: datetime,
) -> None:
    """Ends the import and counts the store again, by ecosystem."""
    await session.execute(
        update(AdvisoryImport)
        .where(col(AdvisoryImport.id) == import_id)
        .values(records=records, rejected=rejected, database_date=database_date, finished_at=now)
    )
    counted = (
        select(
            col(AdvisoryPackage.ecosystem),
            func.count(col(AdvisoryPackage.advisory_id).distinct()).label("advisories"),
            func.max(col(Advisory.modified_at)).label("database_date"),
            (func.sum(case((col(AdvisoryImport.source) == SAMPLE_SOURCE, 0), else_=1)) == 0).label("sample"),
        )
        .join(Advisory, col(Advisory.id) == col(AdvisoryPackage.advisory_id))
        .join(AdvisoryImport, col(AdvisoryImport.id) == col(Advisory.import_id))
        .where(col(Advisory.withdrawn_at).is_(None))
        .group_by(col(AdvisoryPackage.ecosystem))
    )
    rows = (await session.execute(counted)).all()
    await session.execute(delete(AdvisoryEcosystem))
    if rows:
        await session.execute(insert(AdvisoryEcosystem), [{**row._asdict(), "updated_at": now} for row in rows])


async def ecosystems(session: AsyncSession) -> Sequence[AdvisoryEcosystem]:
    """What the store holds, by ecosystem."""
    statement = select(AdvisoryEcosystem).order_by(col(AdvisoryEcosystem.ecosystem))
    return (await session.execute(statement)).scalars().all()


async def imports(session: AsyncSession, *, limit: int = 20) -> Sequence[AdvisoryImport]:
    """The latest imports, newest first."""
    statement = select(AdvisoryImport).order_by(col(AdvisoryImport.id).desc()).limit(limit)
    return (await session.execute(statement)).scalars().all()


Candidates = Mapping[tuple[str, str], Sequence[tuple[AdvisoryRecord, AffectedPackage]]]


async def candidates(session: AsyncSession, keys: Iterable[tuple[str, str]]) -> Candidates:
    """Every advisory about the given (ecosystem, name) pairs, whatever its versions. `details` are left out."""
    names: dict[str, set[str]] = defaultdict(set)
    for ecosystem, name in keys:
        names[ecosystem].add(name)
    found: dict[tuple[str, str], list[tuple[AdvisoryRecord, AffectedPackage]]] = defaultdict(list)
    for ecosystem, wanted in names.items():
        ordered = sorted(wanted)
        for start in range(0, len(ordered), NAMES_PER_QUERY):
            for row in await _rows(session, ecosystem, ordered[start : start + NAMES_PER_QUERY]):
                affected = _affected(row)
                found[ecosystem, affected.name].append((_record(row, affected), affected))
    return found


async def _rows(session: AsyncSession, ecosystem: str, names: Collection[str]) -> Sequence[Any]:
    statement = (
        select(
            col(AdvisoryPackage.ecosystem),
            col(AdvisoryPackage.name),
            col(AdvisoryPackage.ranges),
            col(AdvisoryPackage.versions),
            col(AdvisoryPackage.severity).label("own_severity"),
            col(AdvisoryPackage.cvss_vectors).label("own_vectors"),
            col(Advisory.id),
            col(Advisory.aliases),
            col(Advisory.summary),
            col(Advisory.severity),
            col(Advisory.cvss_score),
            col(Advisory.cvss_vectors),
            col(Advisory.references),
            col(Advisory.published_at),
            col(Advisory.modified_at),
            col(Advisory.withdrawn_at),
        )
        .join(Advisory, col(Advisory.id) == col(AdvisoryPackage.advisory_id))
        .where(
            col(AdvisoryPackage.ecosystem) == ecosystem,
            col(AdvisoryPackage.name).in_(names),
            col(Advisory.withdrawn_at).is_(None),
        )
        .order_by(col(Advisory.id), col(AdvisoryPackage.position))
    )
    return (await session.execute(statement)).all()


def _affected(row: Any) -> AffectedPackage:
    return AffectedPackage(
        ecosystem=row.ecosystem,
        name=row.name,
        ranges=tuple(
            VersionRange(type=entry["type"], events=tuple((kind, version) for kind, version in entry["events"]))
            for entry in row.ranges
        ),
        versions=tuple(row.versions),
        severity=row.own_severity,
        cvss_vectors=tuple(row.own_vectors),
    )


def _record(row: Any, affected: AffectedPackage) -> AdvisoryRecord:
    return AdvisoryRecord(
        id=row.id,
        aliases=tuple(row.aliases),
        summary=row.summary,
        details="",
        published=row.published_at,
        modified=row.modified_at,
        withdrawn=row.withdrawn_at,
        severity=row.severity,
        cvss_score=row.cvss_score,
        cvss_vectors=tuple(row.cvss_vectors),
        references=tuple(row.references),
        affected=(affected,),
    )
