"""Making, approving and ending triage rules, as a caller does and as time does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.images.repository import get_image
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError, Issue, conflict, invalid
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.validation import check_future
from schema.organizations.policy.repository import load_policy
from schema.triage import repository
from schema.triage.applying import begin, end
from schema.triage.inputs import TriageRuleInput
from schema.triage.models import RuleStatus, TriageRule
from schema.triage.operating import check_assignee
from schema.triage.rules import RULE_DECISIONS
from schema.vulnerabilities.verdicts import settle

BY_TIME = "system:expiry"


async def add_rule(context: RequestContext, given: TriageRuleInput) -> str:
    """Its id. VALIDATION_ERROR; NOT_FOUND for the image. It decides at once, unless the policy wants a second person."""
    organization_id, now = context.organization_id, context.now()
    issues = []
    if given.cve_id is None and given.package is None:
        issues.append(Issue("cveId", "Required, or package"))
    if given.status not in RULE_DECISIONS:
        issues.append(Issue("status", f"must be {' or '.join(RULE_DECISIONS)}"))
    if issues:
        raise invalid(*issues)
    check_future(given.expires_at, now, path="expiresAt")
    async with context.write() as session:
        await check_assignee(session, organization_id, given.assignee_id)
        if given.image_id is not None:
            await get_image(session, organization_id, given.image_id)
        policy = await load_policy(session, organization_id)
        rule_id = new_id(IdPrefix.TRIAGE_RULE)
        await repository.insert_rule(
            session,
            {
                "id": rule_id,
                "organization_id": organization_id,
                "cve_id": given.cve_id,
                "package_name": given.package,
                "image_id": given.image_id,
                "tag_pattern": given.tag_pattern,
                "decision": given.status,
                "assignee_id": given.assignee_id,
                "reason": given.reason,
                "comment": given.comment,
                "status": RuleStatus.PENDING if policy.rules_need_approval else RuleStatus.ACTIVE,
                "expires_at": given.expires_at,
                "created_by": context.principal.actor_id,
                "created_at": now,
            },
        )
        details = {"cveId": given.cve_id, "package": given.package, "decidesOn": given.status.value}
        await _record(context, session, "triage_rule.created", rule_id, details)
        if not policy.rules_need_approval:
            rule = await repository.load_rule(session, organization_id, rule_id)
            await settle(session, organization_id, await begin(session, rule, now=now))
    return rule_id


async def decide_rule(context: RequestContext, rule_id: str, *, approve: bool) -> None:
    """NOT_FOUND; CONFLICT for one that does not wait; FORBIDDEN for whoever made it: it takes a second person."""
    organization_id, now = context.organization_id, context.now()
    async with context.write() as session:
        rule = await repository.load_rule(session, organization_id, rule_id)
        if rule.status is not RuleStatus.PENDING:
            raise conflict(f"The rule is {rule.status}; only one that is PENDING can be approved or rejected")
        if approve and rule.created_by == context.principal.actor_id:
            raise HarborGuardError(ErrorCode.FORBIDDEN, "Somebody else than whoever made the rule has to approve it")
        status = RuleStatus.ACTIVE if approve else RuleStatus.REJECTED
        if approve and rule.expires_at is not None and rule.expires_at <= now:
            raise conflict("The rule has expired before it was approved")
        who = {"decided_by": context.principal.actor_id, "decided_at": now}
        await repository.change_rule(session, organization_id, rule_id, status=status, **who)
        await _record(context, session, f"triage_rule.{status.lower()}", rule_id, {})
        if approve:
            await session.refresh(rule)
            await settle(session, organization_id, await begin(session, rule, now=now))


async def revoke_rule(context: RequestContext, rule_id: str) -> None:
    """What it decided, and nobody after it, is open again. NOT_FOUND; CONFLICT for one that has ended."""
    organization_id, now = context.organization_id, context.now()
    async with context.write() as session:
        rule = await repository.load_rule(session, organization_id, rule_id)
        if rule.status not in {RuleStatus.PENDING, RuleStatus.ACTIVE}:
            raise conflict(f"The rule is {rule.status} already")
        actor = context.principal.actor_id
        await _end(session, rule, RuleStatus.REVOKED, actor=actor, now=now)
        await _record(context, session, "triage_rule.revoked", rule_id, {})


async def expire_rules(session: AsyncSession, *, now: datetime) -> int:
    """Ends the rules whose time has come; returns how many."""
    ended = await repository.ended_rules(session, now=now)
    for rule in ended:
        await _end(session, rule, RuleStatus.EXPIRED, actor=BY_TIME, now=now)
        await record(
            session,
            organization_id=rule.organization_id,
            actor=BY_TIME,
            action="triage_rule.expired",
            target=f"triage-rule:{rule.id}",
            now=now,
        )
    return len(ended)


async def _end(session: AsyncSession, rule: TriageRule, status: RuleStatus, *, actor: str, now: datetime) -> None:
    organization_id, rule_id = rule.organization_id, rule.id
    images = await end(session, rule, actor=actor, now=now)
    await repository.change_rule(session, organization_id, rule_id, status=status, decided_by=actor, decided_at=now)
    await settle(session, organization_id, images)


async def _record(
    context: RequestContext, session: AsyncSession, action: str, rule_id: str, details: dict[str, Any]
) -> None:
    await record(
        session,
        organization_id=context.organization_id,
        actor=context.principal.actor_id,
        action=action,
        target=f"triage-rule:{rule_id}",
        ip=context.client_ip,
        details=details,
        now=context.now(),
    )
