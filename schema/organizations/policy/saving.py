"""Changing a compliance policy, and the deadlines with it if that is asked for."""

from __future__ import annotations

from typing import Any

import strawberry
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.audit.repository import record
from schema.images.repository import hold_images
from schema.kernel.context import RequestContext
from schema.kernel.errors import Issue, invalid
from schema.kernel.rows import as_text
from schema.kernel.tenancy import tenant, tenant_rows
from schema.kernel.upsert import batches
from schema.organizations.models import CompliancePolicy
from schema.organizations.policy.inputs import FRAMEWORKS, CompliancePolicyInput
from schema.organizations.policy.repository import load_policy, save_policy, sla_of
from schema.vulnerabilities import counts
from schema.vulnerabilities.deadlines import SlaPolicy, policy_issues
from schema.vulnerabilities.models import OPEN_SINCE, OPEN_STATUSES, Vulnerability
from schema.vulnerabilities.records import Severity

_NAMES = {
    "auto_sla_deadline": "autoSlaDeadline",
    "report_retention_days": "reportRetentionDays",
    "freshness_threshold_days": "freshnessThresholdDays",
    "rules_need_approval": "rulesNeedApproval",
    "active_framework": "activeFramework",
}


async def change_policy(context: RequestContext, given: CompliancePolicyInput) -> int | None:
    """How many deadlines were set anew, None where that was not asked for. VALIDATION_ERROR."""
    organization_id, now = context.organization_id, context.now()
    values = _values(given)
    async with context.write() as session:
        before = await load_policy(session, organization_id)
        old = {name: getattr(before, name) for name in values}
        who: dict[str, Any] = {"updated_by": context.principal.actor_id, "updated_at": now}
        await save_policy(session, organization_id, values | who)
        session.expunge_all()
        policy = await load_policy(session, organization_id)
        backfilled = await _backfill(session, organization_id, sla_of(policy)) if given.backfill_on_save else None
        await record(
            session,
            organization_id=organization_id,
            actor=context.principal.actor_id,
            action="organization.policy_updated",
            target=f"organization:{organization_id}",
            ip=context.client_ip,
            details={
                "from": {name: value for name, value in old.items() if value != values[name]},
                "to": {name: value for name, value in values.items() if value != old[name]},
                "backfilled": backfilled,
            },
            now=now,
        )
    return backfilled


def _values(given: CompliancePolicyInput) -> dict[str, Any]:
    defaults = CompliancePolicy(organization_id="")
    values: dict[str, Any] = {}
    issues: list[Issue] = []
    for name in _NAMES:
        value = getattr(given, name)
        if value is not strawberry.UNSET:
            values[name] = getattr(defaults, name) if value is None else value
    for position, framework in enumerate(values.get("active_framework", ())):
        if framework not in FRAMEWORKS:
            issues.append(Issue(f"activeFramework.{position}", f"must be one of {', '.join(sorted(FRAMEWORKS))}"))
    if given.sla_policy is not strawberry.UNSET:
        sla = sla_of(defaults).days if given.sla_policy is None else _days(given.sla_policy)
        issues += policy_issues(sla, "slaPolicy")
        values |= {f"{severity.value.lower()}_days": days for severity, days in sla.items()}
    if given.notifications is not strawberry.UNSET:
        values |= _notifications(given.notifications, defaults)
    if issues:
        raise invalid(*issues)
    return values


def _days(given: Any) -> dict[Severity, int | None]:
    return {
        severity: getattr(given, severity.value.lower()) for severity in Severity if severity is not Severity.UNKNOWN
    }


def _notifications(given: Any, defaults: CompliancePolicy) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, column in (
        ("sla_breach", "sla_breach_channels"),
        ("sla_warning", "sla_warning_channels"),
        ("sla_breach_lead_time_days", "sla_breach_lead_time_days"),
    ):
        value = None if given is None else getattr(given, name)
        if value is not strawberry.UNSET:
            values[column] = getattr(defaults, column) if value is None else value
    return values


async def _backfill(session: AsyncSession, organization_id: str, sla: SlaPolicy) -> int:
    """Sets the deadlines of what is open anew, but those a person set; how many have changed."""
    table = Vulnerability
    own = (
        tenant(table, organization_id),
        col(table.status).in_(OPEN_STATUSES),
        col(table.due_by_hand).is_(False),
    )
    images = list((await session.execute(select(col(table.image_id)).where(*own).distinct())).scalars())
    await hold_images(session, organization_id, images)
    changed = 0
    connection = await session.connection()
    for image_batch in batches(sorted(images)):
        statement = select(
            col(table.id), as_text(table.severity).label("severity"), OPEN_SINCE.label("since"), col(table.due_at)
        ).where(*own, col(table.image_id).in_(image_batch))
        new: dict[Any, list[str]] = {}
        for row in await connection.execute(statement):
            due = sla.due(Severity(row.severity), row.since)
            if due != row.due_at:
                new.setdefault(due, []).append(row.id)
        for due, ids in new.items():
            for batch in batches(ids):
                await session.execute(
                    update(table)
                    .where(tenant_rows(table, organization_id, batch))
                    .values(due_at=due, warned_at=None, breached_at=None)
                )
            changed += len(ids)
    if changed:
        await counts.refresh(session, organization_id, images)
    return changed
