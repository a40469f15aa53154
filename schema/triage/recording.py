"""The history of triage: a row for every change of every vulnerability, and one in the audit log beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.models import AuditEvent
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.upsert import insert_rows
from schema.triage.models import TriageEvent, TriageOrigin

BY_SCAN = "system:scan"


@dataclass(frozen=True, slots=True)
class Change:
    """One vulnerability's. `before` and `after` have what else has changed, by the names that answers use."""

    vulnerability_id: str
    from_status: str
    to_status: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


async def record_changes(
    session: AsyncSession,
    organization_id: str,
    changes: Sequence[Change],
    *,
    origin: TriageOrigin,
    actor: str,
    now: datetime,
    operation_id: str | None = None,
    comment: str | None = None,
    ip: str | None = None,
) -> None:
    """Writes what has changed, in the transaction that changed it."""
    by_itself = origin in {TriageOrigin.SCAN, TriageOrigin.ATTESTATION}
    action = "vulnerability.status_changed" if by_itself else "vulnerability.triaged"
    await insert_rows(
        session,
        TriageEvent,
        (
            {
                "id": new_id(IdPrefix.TRIAGE_EVENT),
                "organization_id": organization_id,
                "vulnerability_id": change.vulnerability_id,
                "operation_id": operation_id,
                "origin": origin,
                "actor": actor,
                "from_status": change.from_status,
                "to_status": change.to_status,
                "before": dict(change.before),
                "after": dict(change.after),
                "comment": comment,
                "created_at": now,
            }
            for change in changes
        ),
    )
    await insert_rows(
        session,
        AuditEvent,
        (
            {
                "id": new_id(IdPrefix.AUDIT_EVENT),
                "organization_id": organization_id,
                "actor": actor,
                "action": action,
                "target": f"vuln:{change.vulnerability_id}",
                "ip": ip,
                "details": {
                    "from": {"status": change.from_status} | dict(change.before),
                    "to": {"status": change.to_status} | dict(change.after),
                },
                "created_at": now,
            }
            for change in changes
        ),
    )
