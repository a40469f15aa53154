"""Deciding as a caller does: one vulnerability, many at once, and taking a decision back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.context import RequestContext
from schema.kernel.errors import Issue, conflict, invalid, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.validation import check_future
from schema.triage import repository
from schema.triage.deciding import KEEP, Decision, Outcome, changed_images, decide
from schema.triage.inputs import MAX_ROWS, BulkTriageInput
from schema.triage.models import TriageEvent, TriageOrigin
from schema.vulnerabilities.repository import matching_ids
from schema.vulnerabilities.verdicts import settle


@dataclass(frozen=True, slots=True)
class Operated:
    """What became of the vulnerabilities, in the order they were named; without an operation nothing has changed."""

    operation_id: str | None
    ids: Sequence[str]
    outcomes: Sequence[Outcome]


async def triage_one(context: RequestContext, named: str, decision: Decision) -> str:
    """Decides about the vulnerability of that id, or the only one of that CVE; returns its id.

    NOT_FOUND, VALIDATION_ERROR, or CONFLICT for a transition that is not allowed and for a CVE that is not the only one.
    """
    async with context.write() as session:
        await _check(context, session, decision)
        found = await repository.find_vulnerability(session, context.organization_id, named)
        if not found:
            raise not_found("Vulnerability")
        if len(found) > 1:
            raise conflict(
                f"{named} is in more than one place; name the vulnerability by its id, or triage many at once"
            )
        operated = await _operate(context, session, found, decision)
        refusal = operated.outcomes[0].refusal
        if refusal is not None:
            raise conflict(refusal)
        return found[0]


async def triage_many(context: RequestContext, given: BulkTriageInput) -> Operated:
    """VALIDATION_ERROR, and CONFLICT if it is all or nothing and something cannot be done."""
    if (given.ids is None) == (given.filter is None):
        raise invalid(Issue("ids", "give either ids or a filter"))
    decision = given.decision()
    async with context.write() as session:
        await _check(context, session, decision)
        if given.ids is not None:
            ids: Sequence[str] = list(dict.fromkeys(given.ids))
        else:
            assert given.filter is not None
            chosen = given.filter.chosen()
            if chosen.is_empty:
                raise invalid(Issue("filter", "must not be empty: it would mean every vulnerability there is"))
            ids = await matching_ids(session, context.organization_id, chosen, limit=MAX_ROWS + 1)
            if len(ids) > MAX_ROWS:
                raise invalid(Issue("filter", f"matches more than {MAX_ROWS:,} vulnerabilities; narrow it"))
        operated = await _operate(context, session, ids, decision)
        if given.atomic:
            refused = [outcome for outcome in operated.outcomes if outcome.refusal]
            if refused or len(operated.outcomes) < len(ids):
                missing = len(ids) - len(operated.outcomes)
                first = refused[0].refusal if refused else "Vulnerability not found"
                raise conflict(f"Nothing was changed, for {len(refused) + missing} of {len(ids)} cannot be: {first}")
        return operated


async def undo(context: RequestContext, operation_id: str) -> Operated:
    """Takes an operation back. What somebody or something has changed since stays as it is and is no outcome."""
    async with context.write() as session:
        operation = await repository.load_operation(session, context.organization_id, operation_id)
        if operation.undone_at is not None:
            raise conflict("This operation has been undone already")
        events = await repository.events_of_operation(session, context.organization_id, operation_id)
        alike: dict[tuple[Any, ...], tuple[Decision, list[str]]] = {}
        for event in events:
            decision = _back(event)
            key = (decision.status, decision.assignee_id, decision.reason, decision.due_at)
            alike.setdefault(key, (decision, []))[1].append(event.vulnerability_id)
        undoing, now = new_id(IdPrefix.TRIAGE_OPERATION), context.now()
        outcomes: list[Outcome] = []
        for decision, ids in alike.values():
            outcomes += await decide(
                session,
                context.organization_id,
                ids,
                decision,
                origin=TriageOrigin.UNDO,
                actor=context.principal.actor_id,
                operation_id=undoing,
                ip=context.client_ip,
                now=now,
            )
        await settle(session, context.organization_id, changed_images(outcomes))
        await repository.mark_undone(session, context.organization_id, operation_id, now=now)
        await _keep(context, session, undoing, outcomes, comment=None, undoes=operation_id)
        return Operated(undoing, [outcome.id for outcome in outcomes], outcomes)


def _back(event: TriageEvent) -> Decision:
    """What makes it as it was before."""
    before = event.before
    due = before.get("slaDeadline")
    return Decision(
        status=event.from_status,
        assignee_id=before.get("assigneeId") if "assigneeId" in before else KEEP,
        reason=before.get("reason") if "reason" in before else KEEP,
        due_at=(None if due is None else datetime.fromisoformat(due).astimezone(UTC))
        if "slaDeadline" in before
        else KEEP,
    )


async def _check(context: RequestContext, session: AsyncSession, decision: Decision) -> None:
    if decision == Decision():
        raise invalid(Issue("", "Give at least one of status, assigneeId, reason, slaDeadline and comment"))
    if isinstance(decision.due_at, datetime):
        check_future(decision.due_at, context.now(), path="slaDeadline")
    await check_assignee(session, context.organization_id, decision.assignee_id)


async def check_assignee(session: AsyncSession, organization_id: str, assignee_id: object) -> None:
    """VALIDATION_ERROR for whoever is no active member."""
    if isinstance(assignee_id, str) and not await repository.is_member(session, organization_id, assignee_id):
        raise invalid(Issue("assigneeId", "is no active member of the organization"))


async def _operate(context: RequestContext, session: AsyncSession, ids: Sequence[str], decision: Decision) -> Operated:
    operation_id = new_id(IdPrefix.TRIAGE_OPERATION)
    outcomes = await decide(
        session,
        context.organization_id,
        ids,
        decision,
        origin=TriageOrigin.PERSON,
        actor=context.principal.actor_id,
        operation_id=operation_id,
        ip=context.client_ip,
        now=context.now(),
    )
    images = changed_images(outcomes)
    if not images:
        return Operated(None, ids, outcomes)
    await settle(session, context.organization_id, images)
    await _keep(context, session, operation_id, outcomes, comment=decision.comment)
    return Operated(operation_id, ids, outcomes)


async def _keep(
    context: RequestContext,
    session: AsyncSession,
    operation_id: str,
    outcomes: Sequence[Outcome],
    *,
    comment: str | None,
    undoes: str | None = None,
) -> None:
    values = {
        "id": operation_id,
        "organization_id": context.organization_id,
        "actor": context.principal.actor_id,
        "changed": sum(outcome.changed for outcome in outcomes),
        "comment": comment,
        "created_at": context.now(),
        "undoes": undoes,
    }
    await repository.insert_operation(session, values)
