"""The audit log is only ever added to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.models import AuditEvent
from schema.kernel.ids import IdPrefix, new_id


async def record(
    session: AsyncSession,
    *,
    organization_id: str,
    actor: str,
    action: str,
    target: str,
    now: datetime,
    ip: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Adds one row to the caller's transaction: if it cannot be written, the change is not made either."""
    await session.execute(
        insert(AuditEvent).values(
            id=new_id(IdPrefix.AUDIT_EVENT),
            organization_id=organization_id,
            actor=actor,
            action=action,
            target=target,
            ip=ip,
            details=details or {},
            created_at=now,
        )
    )
