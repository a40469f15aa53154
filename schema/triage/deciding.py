"""Deciding about vulnerabilities, one or ten thousand: checked row by row, written in batches, each with its history.

Whoever calls this settles the images of the rows that have changed, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.images.repository import hold_images
from schema.kernel.clock import iso_utc
from schema.kernel.rows import as_text
from schema.kernel.tenancy import tenant_rows
from schema.kernel.upsert import batches
from schema.organizations.policy.repository import load_sla
from schema.posture.flows import count_fixed, uncount_fixed
from schema.triage.models import TriageOrigin
from schema.triage.recording import Change, record_changes
from schema.triage.rules import is_allowed, refusal
from schema.vulnerabilities.models import OPEN_SINCE, TriageStatus, Vulnerability
from schema.vulnerabilities.records import Severity


class Keep(Enum):
    """Says that something stays as it is, where None says that it is taken away."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP
Wish: TypeAlias = "str | Keep | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to become of vulnerabilities. `due_at` None: as the policy has it."""

    status: TriageStatus | None = None  # None: as it is
    assignee_id: Wish = KEEP
    reason: Wish = KEEP
    due_at: datetime | Keep | None = KEEP
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one of them. With a refusal nothing did."""

    id: str
    image_id: str
    status: TriageStatus
    changed: bool
    refusal: str | None = None


async def decide(
    session: AsyncSession,
    organization_id: str,
    ids: Sequence[str],
    decision: Decision,
    *,
    origin: TriageOrigin,
    actor: str,
    now: datetime,
    operation_id: str | None = None,
    ip: str | None = None,
    forget: bool = False,
) -> list[Outcome]:
    """One outcome for each id that is the organization's. A person's decision has to be a transition that is allowed.

    `forget` makes it as if nobody had decided, so that a rule may.
    """
    rows = await _rows(session, organization_id, ids)
    sla = await load_sla(session, organization_id)
    outcomes: list[Outcome] = []
    changes: list[Change] = []
    fixed: list[tuple[Severity, datetime]] = []
    unfixed: list[tuple[Severity, datetime, datetime]] = []
    # Rows with the same new values are written together.
    written: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for row in rows:
        before, after = TriageStatus(row.status), decision.status or TriageStatus(row.status)
        if origin is TriageOrigin.PERSON and not is_allowed(before, after):
            outcomes.append(Outcome(row.id, row.image_id, before, changed=False, refusal=refusal(before, after)))
            continue
        new = _new_values(row, decision, after, sla.due(Severity(row.severity), row.since), now=now)
        changed = {name: value for name, value in new.items() if value != getattr(row, name)}
        outcomes.append(Outcome(row.id, row.image_id, after, changed=bool(changed) or decision.comment is not None))
        if not outcomes[-1].changed:
            continue
        if after is TriageStatus.FIXED and before is not TriageStatus.FIXED:
            fixed.append((Severity(row.severity), row.since))
        if before is TriageStatus.FIXED and after is not TriageStatus.FIXED and row.remediated_at is not None:
            unfixed.append((Severity(row.severity), row.since, row.remediated_at))
        written.setdefault(tuple(sorted(changed.items(), key=lambda item: item[0])), []).append(row.id)
        changes.append(Change(row.id, before, after, _told(row, changed), _told(new, changed)))
    who: dict[str, Any] = {
        "triaged_by": None if forget else actor,
        "triaged_at": None if forget else now,
        "rule_id": operation_id if origin is TriageOrigin.RULE and not forget else None,
    }
    for values, which in written.items():
        for batch in batches(which):
            await session.execute(
                update(Vulnerability)
                .where(tenant_rows(Vulnerability, organization_id, batch))
                .values(**dict(values), **who)
            )
    await count_fixed(session, organization_id, fixed, now=now)
    await uncount_fixed(session, organization_id, unfixed)
    await record_changes(
        session,
        organization_id,
        changes,
        origin=origin,
        actor=actor,
        operation_id=operation_id,
        comment=decision.comment,
        ip=ip,
        now=now,
    )
    return outcomes


def changed_images(outcomes: Iterable[Outcome]) -> list[str]:
    return sorted({outcome.image_id for outcome in outcomes if outcome.changed})


async def _rows(session: AsyncSession, organization_id: str, ids: Sequence[str]) -> list[Any]:
    """The vulnerabilities as they are once nobody else changes them, in the order of the ids."""
    images: set[str] = set()
    for batch in batches(ids):
        which = tenant_rows(Vulnerability, organization_id, batch)
        images.update((await session.execute(select(col(Vulnerability.image_id)).where(which))).scalars())
    await hold_images(session, organization_id, sorted(images))
    found: dict[str, Any] = {}
    connection = await session.connection()  # past the ORM, for there may be many
    for batch in batches(ids):
        statement = select(
            col(Vulnerability.id),
            col(Vulnerability.image_id),
            as_text(Vulnerability.status).label("status"),
            as_text(Vulnerability.severity).label("severity"),
            OPEN_SINCE.label("since"),
            col(Vulnerability.assignee_id),
            col(Vulnerability.triage_reason),
            col(Vulnerability.due_at),
            col(Vulnerability.due_by_hand),
            col(Vulnerability.remediated_at),
            col(Vulnerability.warned_at),
            col(Vulnerability.breached_at),
        ).where(tenant_rows(Vulnerability, organization_id, batch))
        found |= {row.id: row for row in await connection.execute(statement)}
    return [found[each] for each in dict.fromkeys(ids) if each in found]


def _new_values(
    row: Any, decision: Decision, after: TriageStatus, by_policy: datetime | None, *, now: datetime
) -> dict[str, Any]:
    new: dict[str, Any] = {"status": after.value}
    if decision.assignee_id is not KEEP:
        new["assignee_id"] = decision.assignee_id
    if decision.reason is not KEEP:
        new["triage_reason"] = decision.reason
    if decision.due_at is not KEEP:
        due = decision.due_at or by_policy
        new |= {"due_at": due, "due_by_hand": due != by_policy}
        if due != row.due_at:  # another deadline is announced anew
            new |= {"warned_at": None, "breached_at": None}
    if after is TriageStatus.FIXED and row.status != TriageStatus.FIXED:
        new["remediated_at"] = now
    if after is not TriageStatus.FIXED and row.status == TriageStatus.FIXED:
        new["remediated_at"] = None
    return new


_NAMES = {"assignee_id": "assigneeId", "triage_reason": "reason", "due_at": "slaDeadline"}


def _told(values: Any, changed: Any) -> dict[str, Any]:
    """Of what changed, what the history tells, by the names that answers use."""
    told: dict[str, Any] = {}
    for name, answer in _NAMES.items():
        if name in changed:
            value = values[name] if isinstance(values, dict) else getattr(values, name)
            told[answer] = iso_utc(value) if isinstance(value, datetime) else value
    return told
