"""Triage rules at work: on what a scan sees, and on everything there is when a rule begins or ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.models import Tag
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches
from schema.scans.models import Scan
from schema.triage.deciding import Decision, decide
from schema.triage.models import RuleStatus, TriageOrigin, TriageRule
from schema.triage.rules import is_of_tag
from schema.vulnerabilities.models import ScanFinding, TriageStatus, Vulnerability

# What nobody has decided about yet: a rule never takes back a person's decision.
_UNDECIDED = and_(col(Vulnerability.status) == TriageStatus.OPEN, col(Vulnerability.triaged_by).is_(None))


async def active_rules(session: AsyncSession, organization_id: str) -> Sequence[TriageRule]:
    statement = select(TriageRule).where(
        tenant(TriageRule, organization_id), col(TriageRule.status) == RuleStatus.ACTIVE
    )
    return (await session.execute(statement.order_by(col(TriageRule.id)))).scalars().all()


async def apply_rules(session: AsyncSession, scan: Scan, *, now: datetime) -> None:
    """To what the scan has filed. Of several rules the oldest decides. Whoever calls it settles the image."""
    rules = await active_rules(session, scan.organization_id)
    if not rules:
        return
    tag = None
    if scan.tag_id is not None:
        name = select(col(Tag.name)).where(tenant(Tag, scan.organization_id), col(Tag.id) == scan.tag_id)
        tag = (await session.execute(name)).scalar_one()
    for rule in rules:
        if rule.image_id in {None, scan.image_id} and is_of_tag(rule.tag_pattern, tag):
            seen = (
                select(col(Vulnerability.id))
                .join(ScanFinding, col(ScanFinding.vulnerability_id) == col(Vulnerability.id))
                .where(
                    tenant(ScanFinding, scan.organization_id),
                    col(ScanFinding.scan_id) == scan.id,
                    *_undecided_of(rule),
                )
            )
            ids = list((await session.execute(seen)).scalars())
            await _decide(session, rule, ids, now=now)


async def begin(session: AsyncSession, rule: TriageRule, *, now: datetime) -> list[str]:
    """Applies a rule to everything there is; returns the images it has changed, for whoever settles them."""
    statement = select(col(Vulnerability.id), col(Vulnerability.image_id)).where(*_undecided_of(rule))
    found = {row[0]: row[1] for row in await session.execute(statement.order_by(col(Vulnerability.id)))}
    if rule.tag_pattern is not None:
        seen = await _seen_in(session, rule)
        found = {each: image for each, image in found.items() if each in seen}
    await _decide(session, rule, list(found), now=now)
    return sorted(set(found.values()))


async def end(session: AsyncSession, rule: TriageRule, *, actor: str, now: datetime) -> list[str]:
    """What the rule has decided, and nobody after it, is open again; returns the images with such, to be settled."""
    statement = select(col(Vulnerability.id), col(Vulnerability.image_id)).where(
        tenant(Vulnerability, rule.organization_id),
        col(Vulnerability.rule_id) == rule.id,
        col(Vulnerability.status) == rule.decision,
    )
    found = {row[0]: row[1] for row in await session.execute(statement.order_by(col(Vulnerability.id)))}
    await decide(
        session,
        rule.organization_id,
        list(found),
        Decision(status=TriageStatus.OPEN),
        origin=TriageOrigin.RULE,
        actor=actor,
        operation_id=rule.id,
        now=now,
        forget=True,
    )
    return sorted(set(found.values()))


def _undecided_of(rule: TriageRule) -> list[Any]:
    return [
        tenant(Vulnerability, rule.organization_id),
        _UNDECIDED,
        true() if rule.cve_id is None else col(Vulnerability.cve_id) == rule.cve_id,
        true() if rule.package_name is None else col(Vulnerability.package_name) == rule.package_name,
        true() if rule.image_id is None else col(Vulnerability.image_id) == rule.image_id,
    ]


async def _seen_in(session: AsyncSession, rule: TriageRule) -> set[str]:
    """What the latest scans of the tags see that the rule is about."""
    tags = select(col(Tag.name), col(Tag.last_scan_id)).where(
        tenant(Tag, rule.organization_id),
        col(Tag.last_scan_id).is_not(None),
        true() if rule.image_id is None else col(Tag.image_id) == rule.image_id,
    )
    scans = [scan for name, scan in await session.execute(tags) if scan and is_of_tag(rule.tag_pattern, name)]
    seen: set[str] = set()
    for batch in batches(scans):
        statement = (
            select(col(ScanFinding.vulnerability_id))
            .join(Scan, col(ScanFinding.scan_id) == func.coalesce(col(Scan.findings_of), col(Scan.id)))
            .join(Vulnerability, col(Vulnerability.id) == col(ScanFinding.vulnerability_id))
            .where(tenant_rows(Scan, rule.organization_id, batch), *_undecided_of(rule))
        )
        seen.update((await session.execute(statement)).scalars())
    return seen


async def _decide(session: AsyncSession, rule: TriageRule, ids: Sequence[str], *, now: datetime) -> None:
    await decide(
        session,
        rule.organization_id,
        ids,
        Decision(status=rule.decision, assignee_id=rule.assignee_id, reason=rule.reason, comment=rule.comment),
        origin=TriageOrigin.RULE,
        actor=rule.decided_by or rule.created_by,
        operation_id=rule.id,
        now=now,
    )
