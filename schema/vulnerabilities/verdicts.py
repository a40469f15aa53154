"""The verdict of a scan from what is filed of it, and the stored verdicts of its tag and image with it.

One statement adds up the findings; everything else is derived from its sums. An attested finding is in no count but
`excepted`. The grade looks at what is there, whatever was decided about it; the risk score at what is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.attestations.coverage import cover, covers_tag
from schema.cves.models import Cve
from schema.images.models import Image, Tag
from schema.images.repository import hold_images
from schema.kernel.columns import TenantTable, metadata
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches
from schema.scans.models import Scan, ScanStatus
from schema.vulnerabilities import counts
from schema.vulnerabilities.models import OPEN_STATUSES, ScanFinding, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import WEIGHTS, SeverityCounts, grade, risk_score
from schema.vulnerabilities.verdict import VerdictColumns

_VERDICT = tuple(name for name in VerdictColumns.model_fields if name != "organization_id")


async def settle(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> None:
    """Ends every change of vulnerabilities of images, in its transaction: what is covered, the counts, the verdicts."""
    if not image_ids:
        return
    await hold_images(session, organization_id, image_ids)
    await cover(session, organization_id, image_ids)
    await counts.refresh(session, organization_id, image_ids)
    await refresh(session, organization_id, image_ids)


async def refresh(session: AsyncSession, organization_id: str, image_ids: Sequence[str]) -> None:
    """Stores the verdicts of images, of their tags, and of the scans those are as of, where they have changed."""
    for batch in batches(sorted(set(image_ids))):
        latest = (
            select(col(Scan.id))
            .where(
                tenant(Scan, organization_id),
                col(Scan.image_id) == col(Image.id),
                col(Scan.status) == ScanStatus.COMPLETE,
            )
            .order_by(col(Scan.ordered_at).desc(), col(Scan.id).desc())
            .limit(1)
        )
        images = select(col(Image.id), latest.scalar_subquery()).where(tenant_rows(Image, organization_id, batch))
        tags = select(col(Tag.id), col(Tag.last_scan_id)).where(
            tenant(Tag, organization_id), col(Tag.image_id).in_(batch)
        )
        of_image = {row[0]: row[1] for row in await session.execute(images)}
        of_tag = {row[0]: row[1] for row in await session.execute(tags)}
        scans = sorted({scan for scan in (*of_image.values(), *of_tag.values()) if scan is not None})
        verdicts = await _verdicts(session, organization_id, scans)
        await _store(session, organization_id, Scan, verdicts)
        for table, judged in ((Tag, of_tag), (Image, of_image)):
            # What no scan speaks of any more, because its last one was deleted, is as if it had never been scanned.
            unscanned = _verdict({}, graded=False)
            await _store(
                session,
                organization_id,
                table,
                {row: verdicts.get(scan or "", unscanned) for row, scan in judged.items()},
            )


async def _verdicts(session: AsyncSession, organization_id: str, scans: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The verdict of each scan, from its findings. One without a finding is in no row of the sums."""
    verdicts: dict[str, dict[str, Any]] = {}
    for batch in batches(scans):
        graded = select(col(Scan.id), col(Scan.grade_reason)).where(tenant_rows(Scan, organization_id, batch))
        is_graded = {row[0]: row[1] is None for row in await session.execute(graded)}
        sums = {row.scan_id: row._mapping for row in await session.execute(_sums(organization_id), {"scans": batch})}  # noqa: SLF001 -- documented by SQLAlchemy
        verdicts |= {scan: _verdict(sums.get(scan, {}), graded=is_graded[scan]) for scan in is_graded}
    return verdicts


def _sums(organization_id: str) -> Select[Any]:
    """A scan's findings, added up: how many of each severity, and what they weigh."""
    excepted = or_(
        col(Vulnerability.exception_id).is_not(None), covers_tag(organization_id, Vulnerability, col(Scan.tag_id))
    )
    severity = col(ScanFinding.severity)
    weight = case(WEIGHTS, value=severity)
    exploited: ColumnElement[Any] = case((col(Cve.kev), 2), else_=1 + func.coalesce(col(Cve.epss), 0.0))
    is_open = col(Vulnerability.status).in_(OPEN_STATUSES)
    counted = (
        select(
            col(Scan.id).label("scan_id"),
            severity.label("severity"),
            excepted.label("excepted"),
            col(Vulnerability.fixable).label("fixable"),
            func.coalesce(col(Cve.kev), False).label("kev"),
            case((is_open, weight * exploited), else_=0).label("weight"),
        )
        .join_from(Scan, ScanFinding, col(ScanFinding.scan_id) == func.coalesce(col(Scan.findings_of), col(Scan.id)))
        .join(Vulnerability, col(Vulnerability.id) == col(ScanFinding.vulnerability_id))
        .outerjoin(Cve, col(Cve.id) == col(Vulnerability.cve_id))
        .where(
            tenant(Scan, organization_id),
            tenant(ScanFinding, organization_id),
            tenant(Vulnerability, organization_id),
            col(Scan.id).in_(bindparam("scans", expanding=True)),
        )
        .subquery()
    )
    counts_as = ~counted.c.excepted

    def number(*conditions: ColumnElement[bool]) -> ColumnElement[Any]:
        return func.sum(case((and_(counts_as, *conditions), 1), else_=0))

    return select(
        counted.c.scan_id,
        *(number(counted.c.severity == each).label(each.value.lower()) for each in Severity),
        number(counted.c.fixable).label("fixable"),
        number(counted.c.kev).label("kev"),
        func.sum(case((counted.c.excepted, 1), else_=0)).label("excepted"),
        func.sum(case((counts_as, counted.c.weight), else_=0.0)).label("weight"),
    ).group_by(counted.c.scan_id)


def _verdict(sums: Mapping[str, Any], *, graded: bool) -> dict[str, Any]:
    """The stored columns of a verdict, with their sort keys."""
    by_severity = SeverityCounts(**{each.value.lower(): int(sums.get(each.value.lower(), 0)) for each in Severity})
    given = grade(by_severity) if graded else None
    risk = risk_score(float(sums.get("weight", 0))) if graded else None
    return {
        "critical": by_severity.critical,
        "high": by_severity.high,
        "medium": by_severity.medium,
        "low": by_severity.low,
        "unknown": by_severity.unknown,
        "fixable": int(sums.get("fixable", 0)),
        "kev": int(sums.get("kev", 0)),
        "excepted": int(sums.get("excepted", 0)),
        "grade": given,
        "grade_key": given.value if given else "-",
        "risk_score": risk,
        "risk_key": -1 if risk is None else risk,
    }


async def _store(
    session: AsyncSession,
    organization_id: str,
    table: type[TenantTable],
    verdicts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Writes the verdicts that are not what is stored, a batch with each statement."""
    columns = metadata.tables[str(table.__tablename__)].c
    for batch in batches(sorted(verdicts)):
        stored = select(columns.id, *(columns[name] for name in _VERDICT)).where(
            tenant_rows(table, organization_id, batch)
        )
        changed = [
            row.id
            for row in await session.execute(stored)
            if {name: getattr(row, name) for name in _VERDICT} != verdicts[row.id]
        ]
        if changed:
            await (await session.connection()).execute(
                update(metadata.tables[str(table.__tablename__)])
                .where(tenant(table, organization_id), columns.id == bindparam("row_id"))
                .values({name: bindparam(f"new_{name}", type_=columns[name].type) for name in _VERDICT}),
                [
                    {"row_id": row} | {f"new_{name}": verdicts[row][name] for name in _VERDICT}
                    for row in sorted(changed)
                ],
            )
