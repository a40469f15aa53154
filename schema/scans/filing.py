"""Filing what a scan found: each finding under its vulnerability, new or known, and what has changed since the scan before.

Only news are written. A vulnerability that is found again as it was costs nothing but the scan's own row that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Executable, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Tag
from schema.images.repository import hold_image
from schema.kernel.columns import metadata
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.rows import as_text
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches, insert_rows
from schema.organizations.policy.repository import load_sla
from schema.posture.flows import count_fixed, count_opened
from schema.scans.merging import MergedFinding
from schema.scans.models import EngineRun, EngineRunStatus, Scan
from schema.scans.rules import VULNERABILITY_ENGINES
from schema.triage.applying import apply_rules
from schema.triage.models import TriageOrigin
from schema.triage.recording import BY_SCAN, Change, record_changes
from schema.vulnerabilities.deadlines import SlaPolicy
from schema.vulnerabilities.models import OPEN_SINCE, OPEN_STATUSES, ScanFinding, TriageStatus, Vulnerability
from schema.vulnerabilities.records import FindingRecord, Severity
from schema.vulnerabilities.severity import severity_rank
from schema.vulnerabilities.texts import keep_texts

# An enum equals its text, which is how rows have it.
_Key: TypeAlias = tuple[str, str, str, str]  # flaw, package, version, type of package
_Flaw: TypeAlias = tuple[str, str, str]  # the same, whatever the version


def key(finding: FindingRecord) -> _Key:
    """What makes it the same finding within one image."""
    return (finding.vulnerability_id, finding.package.name, finding.package.version, finding.package.type)


def _flaw(key: _Key) -> _Flaw:
    return (key[0], key[1], key[3])


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """How a scan differs from the one of the same tag before it. None: there is nothing to compare with."""

    compared_with: str | None = None
    new: int | None = None
    fixed: int | None = None
    fix_available: int | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    """A vulnerability of the image as it is filed."""

    id: str
    status: str  # of TriageStatus
    statement_hash: str
    fixable: bool
    is_present: bool
    severity: str  # of Severity
    since: datetime  # open since then
    due_by_hand: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """The scan of the same tag before this one, and what it found: (key, sources) by vulnerability."""

    scan_id: str
    scanned_at: datetime
    found: Mapping[str, tuple[_Key, Sequence[str]]]


async def file_findings(
    session: AsyncSession,
    scan: Scan,
    findings: Sequence[MergedFinding],
    *,
    answered: Collection[str],
    judged: bool,
    now: datetime,
) -> Changes:
    """`answered` are the providers that looked for vulnerabilities, `judged` whether they could judge the whole image:
    only then is what they no longer see gone.
    """
    # One scan of an image at a time, so that each knows what the one before it has filed.
    await hold_image(session, scan.organization_id, scan.image_id)
    known = await _known(session, scan)
    sla = await load_sla(session, scan.organization_id)
    before = await _before(session, scan) if answered else None
    found = {key(each.record): each for each in findings}
    statements = {which: _statement(each) for which, each in found.items()}
    hashes = {which: _hash(statement) for which, statement in statements.items()}
    fresh = {which: new_id(IdPrefix.VULNERABILITY) for which in found if which not in known}
    await insert_rows(
        session,
        Vulnerability,
        (
            _vulnerability_row(scan, which, fresh[which], now=now)
            | {"due_at": sla.due(found[which].record.severity, now)}
            | statements[which]
            | {"statement_hash": hashes[which]}
            for which in fresh
        ),
    )
    changed = [which for which in found if which in known and known[which].statement_hash != hashes[which]]
    await _change(
        session,
        scan,
        ({"id": known[which].id} | statements[which] | {"statement_hash": hashes[which]} for which in changed),
    )
    await _change(
        session,
        scan,
        (
            {
                "id": known[which].id,
                "due_at": sla.due(severity, known[which].since),
                "warned_at": None,
                "breached_at": None,
            }
            for which in changed
            if (severity := found[which].record.severity) != known[which].severity and not known[which].due_by_hand
        ),
    )
    await keep_texts(
        session,
        scan.organization_id,
        {(which[0], which[1]): statements[which]["title"] for which in (*fresh, *changed)},
    )
    await count_opened(session, scan.organization_id, (found[which].record.severity for which in fresh), now=now)
    await _bring_back(session, scan, [known[which] for which in found if which in known], sla, now=now)
    ids = {which: fresh[which] if which in fresh else known[which].id for which in found}
    flaws_before = {_flaw(which) for which, _sources in before.found.values()} if before else set()
    await insert_rows(
        session,
        ScanFinding,
        (
            _finding_row(scan, ids[which], each, is_new=_flaw(which) not in flaws_before)
            for which, each in found.items()
        ),
    )
    await apply_rules(session, scan, now=now)
    if before is None:
        return Changes()
    gone = _gone(before, ids.values(), answered) if judged else {}
    await _put_away(session, scan, gone, before, now=now)
    flaws = {_flaw(which) for which in found}
    return Changes(
        compared_with=before.scan_id,
        new=sum(_flaw(which) not in flaws_before for which in found),
        fixed=sum(_flaw(which) not in flaws for which in gone.values()) if judged else None,
        fix_available=sum(not known[which].fixable and bool(found[which].record.fixed_versions) for which in changed),
    )


async def _known(session: AsyncSession, scan: Scan) -> dict[_Key, _Known]:
    table = Vulnerability
    statement = select(
        col(table.cve_id),
        col(table.package_name),
        col(table.package_version),
        as_text(table.package_type),
        col(table.id),
        as_text(table.status),
        col(table.statement_hash),
        col(table.fixable),
        col(table.is_present),
        as_text(table.severity),
        OPEN_SINCE.label("since"),
        col(table.due_by_hand),
    ).where(tenant(table, scan.organization_id), col(table.image_id) == scan.image_id)
    return {
        (row.cve_id, row.package_name, row.package_version, row.package_type): _Known(
            row.id,
            row.status,
            row.statement_hash,
            row.fixable,
            row.is_present,
            row.severity,
            row.since,
            row.due_by_hand,
        )
        for row in await _light_rows(session, statement)
    }


async def _light_rows(session: AsyncSession, statement: Executable) -> Any:
    """Past the ORM, for there are many."""
    return await (await session.connection()).execute(statement)


async def differs(session: AsyncSession, scan: Scan, findings: Sequence[MergedFinding]) -> bool:
    """Whether these are other findings than the scan's, or say anything else of them than what is filed."""
    filed = {which: known.statement_hash for which, known in (await _known(session, scan)).items()}
    stored = {which for which, _sources in (await _found(session, scan, scan.findings_of or scan.id)).values()}
    said = {key(each.record): _hash(_statement(each)) for each in findings}
    return said.keys() != stored or any(filed[which] != said[which] for which in said)


async def _before(session: AsyncSession, scan: Scan) -> _Before | None:
    if scan.tag_id is None:
        return None
    last = select(col(Tag.last_scan_id)).where(tenant(Tag, scan.organization_id), col(Tag.id) == scan.tag_id)
    judged = select(col(EngineRun.id)).where(
        tenant(EngineRun, scan.organization_id),
        col(EngineRun.scan_id) == col(Scan.id),
        col(EngineRun.engine).in_(VULNERABILITY_ENGINES),
        col(EngineRun.status) == EngineRunStatus.COMPLETE,
    )
    statement = select(col(Scan.id), col(Scan.scanned_at), func.coalesce(col(Scan.findings_of), col(Scan.id))).where(
        tenant(Scan, scan.organization_id), col(Scan.id) == last.scalar_subquery(), judged.exists()
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    scan_id, scanned_at, owner = row
    assert scanned_at is not None, "a tag's latest scan has ended"
    return _Before(scan_id=scan_id, scanned_at=scanned_at, found=await _found(session, scan, owner))


async def _found(session: AsyncSession, scan: Scan, owner: str) -> dict[str, tuple[_Key, Sequence[str]]]:
    """What is filed of a scan: (key, sources) by vulnerability."""
    table = Vulnerability
    statement = (
        select(
            col(table.id),
            col(table.cve_id),
            col(table.package_name),
            col(table.package_version),
            as_text(table.package_type),
            col(ScanFinding.sources),
        )
        .join(table, col(table.id) == col(ScanFinding.vulnerability_id))
        .where(tenant(ScanFinding, scan.organization_id), col(ScanFinding.scan_id) == owner)
    )
    return {
        row.id: ((row.cve_id, row.package_name, row.package_version, row.package_type), row.sources)
        for row in await _light_rows(session, statement)
    }


def _vulnerability_row(scan: Scan, key: _Key, vulnerability_id: str, *, now: datetime) -> dict[str, Any]:
    flaw, name, version, kind = key
    return {
        "id": vulnerability_id,
        "organization_id": scan.organization_id,
        "image_id": scan.image_id,
        "cve_id": flaw,
        "package_name": name,
        "package_version": version,
        "package_type": kind,
        "status": TriageStatus.OPEN,
        "detected_at": now,
        "last_seen_at": now,
        "is_present": True,
    }


def _statement(merged: MergedFinding) -> dict[str, Any]:
    """What the latest scan says of a vulnerability; the triage is not part of it."""
    finding = merged.record
    return {
        "aliases": list(finding.aliases),
        "advisory_ids": list(finding.advisory_ids),
        "title": finding.title[:500],
        "severity": finding.severity,
        "severity_key": severity_rank(finding.severity),
        "cvss": finding.cvss_score,
        "cvss_key": -1.0 if finding.cvss_score is None else finding.cvss_score,
        "cvss_vectors": list(finding.cvss_vectors),
        "fixed_versions": list(finding.fixed_versions),
        "fixable": bool(finding.fixed_versions),
        "sources": list(merged.sources),
        "agreement": len(merged.sources),
        "severities": dict(merged.severities),
    }


def _hash(statement: Mapping[str, Any]) -> str:
    return blake2b(orjson.dumps(statement), digest_size=16).hexdigest()


async def _change(session: AsyncSession, scan: Scan, rows: Iterator[dict[str, Any]]) -> None:
    """Brings rows of vulnerabilities up to date, each by its `id`."""
    table = metadata.tables["vulnerabilities"]
    connection = await session.connection()
    for batch in batches(rows):
        names = [name for name in batch[0] if name != "id"]
        statement = (
            update(table)
            .where(tenant(Vulnerability, scan.organization_id), table.c.id == bindparam("row_id"))
            .values({name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names})
        )
        given = [{"row_id": row["id"]} | {f"new_{name}": row[name] for name in names} for row in batch]
        await connection.execute(statement, given)


async def _bring_back(
    session: AsyncSession, scan: Scan, seen: Sequence[_Known], sla: SlaPolicy, *, now: datetime
) -> None:
    """What was gone is there again, and what was fixed is open again."""
    await _set(session, scan, [each.id for each in seen if not each.is_present], is_present=True)
    await _reopen(
        session, scan, {each.id: each.severity for each in seen if each.status == TriageStatus.FIXED}, sla, now=now
    )


async def reopen_fixed(session: AsyncSession, scan: Scan, *, now: datetime) -> bool:
    """What somebody called fixed and a scan that shares another's findings sees again is open again. Whether there was any."""
    owner = select(func.coalesce(col(Scan.findings_of), col(Scan.id))).where(
        tenant(Scan, scan.organization_id), col(Scan.id) == scan.id
    )
    sees = select(col(ScanFinding.id)).where(
        tenant(ScanFinding, scan.organization_id),
        col(ScanFinding.vulnerability_id) == col(Vulnerability.id),
        col(ScanFinding.scan_id) == owner.scalar_subquery(),
    )
    fixed = select(col(Vulnerability.id), as_text(Vulnerability.severity)).where(
        tenant(Vulnerability, scan.organization_id),
        col(Vulnerability.image_id) == scan.image_id,
        col(Vulnerability.status) == TriageStatus.FIXED,
        col(Vulnerability.is_present),
        sees.exists(),
    )
    found = {row[0]: row[1] for row in await session.execute(fixed)}
    if found:
        await _reopen(session, scan, found, await load_sla(session, scan.organization_id), now=now)
    return bool(found)


async def _reopen(
    session: AsyncSession, scan: Scan, fixed: Mapping[str, str], sla: SlaPolicy, *, now: datetime
) -> None:
    """`fixed` are severities by id. It is a new case: with a new deadline, and nobody has decided about it."""
    for severity in sorted(set(fixed.values())):
        await _set(
            session,
            scan,
            [each for each, its in fixed.items() if its == severity],
            status=TriageStatus.OPEN,
            remediated_at=None,
            reopened_at=now,
            triaged_by=None,
            triaged_at=None,
            triage_reason=None,
            rule_id=None,
            due_at=sla.due(Severity(severity), now),
            due_by_hand=False,
            warned_at=None,
            breached_at=None,
        )
    await count_opened(session, scan.organization_id, map(Severity, fixed.values()), now=now)
    await record_changes(
        session,
        scan.organization_id,
        [Change(each, TriageStatus.FIXED, TriageStatus.OPEN) for each in fixed],
        origin=TriageOrigin.SCAN,
        actor=BY_SCAN,
        operation_id=scan.id,
        now=now,
    )


async def _set(session: AsyncSession, scan: Scan, ids: Sequence[str], **values: Any) -> None:
    for batch in batches(ids):
        which = tenant_rows(Vulnerability, scan.organization_id, batch)
        await session.execute(update(Vulnerability).where(which).values(**values))


def _finding_row(scan: Scan, vulnerability_id: str, merged: MergedFinding, *, is_new: bool) -> dict[str, Any]:
    finding = merged.record
    return {
        "id": new_id(IdPrefix.FINDING),
        "organization_id": scan.organization_id,
        "scan_id": scan.id,
        "vulnerability_id": vulnerability_id,
        "severity": finding.severity,
        "severity_key": severity_rank(finding.severity),
        "sources": list(merged.sources),
        "agreement": len(merged.sources),
        "severities": dict(merged.severities),
        "engines": [engine.value for engine in merged.engines],
        "path": finding.package.path,
        "layer_digest": finding.package.layer_digest,
        "layer_index": finding.package.layer_index,
        "is_new": is_new,
    }


def _gone(before: _Before, seen: Collection[str], answered: Collection[str]) -> dict[str, _Key]:
    """What the scan before found and this one does not, though everybody who reported it has answered again."""
    missing = before.found.keys() - set(seen)
    return {each: before.found[each][0] for each in sorted(missing) if set(before.found[each][1]) <= set(answered)}


async def _put_away(
    session: AsyncSession, scan: Scan, gone: Mapping[str, _Key], before: _Before, *, now: datetime
) -> None:
    """Marks as gone, and as fixed, what no other tag of the image has either. A decision not to fix it stays."""
    elsewhere = await _in_other_tags(session, scan, list(gone))
    ids = [each for each in gone if each not in elsewhere]
    await _set(session, scan, ids, is_present=False, last_seen_at=before.scanned_at)
    fixed: list[Any] = []
    for batch in batches(ids):
        still_open = select(
            col(Vulnerability.id),
            as_text(Vulnerability.status),
            as_text(Vulnerability.severity),
            OPEN_SINCE.label("since"),
        ).where(
            tenant_rows(Vulnerability, scan.organization_id, batch),
            col(Vulnerability.status).in_(OPEN_STATUSES),
        )
        fixed += await _light_rows(session, still_open)
    await _set(session, scan, [each.id for each in fixed], status=TriageStatus.FIXED, remediated_at=now)
    await count_fixed(session, scan.organization_id, ((Severity(each.severity), each.since) for each in fixed), now=now)
    await record_changes(
        session,
        scan.organization_id,
        [Change(each.id, each.status, TriageStatus.FIXED) for each in fixed],
        origin=TriageOrigin.SCAN,
        actor=BY_SCAN,
        operation_id=scan.id,
        now=now,
    )


async def _in_other_tags(session: AsyncSession, scan: Scan, ids: Sequence[str]) -> set[str]:
    latest = (
        select(func.coalesce(col(Scan.findings_of), col(Scan.id)))
        .join(Tag, col(Tag.last_scan_id) == col(Scan.id))
        .where(
            tenant(Scan, scan.organization_id),
            tenant(Tag, scan.organization_id),
            col(Tag.image_id) == scan.image_id,
            col(Tag.id) != scan.tag_id,
        )
    )
    seen: set[str] = set()
    for batch in batches(ids):
        statement = select(col(ScanFinding.vulnerability_id)).where(
            tenant(ScanFinding, scan.organization_id),
            col(ScanFinding.vulnerability_id).in_(batch),
            col(ScanFinding.scan_id).in_(latest),
        )
        seen.update((await session.execute(statement)).scalars())
    return seen
