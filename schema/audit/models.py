"""Who did what. Written in the transaction of the change: no change without its row, no row without its change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from schema.kernel.columns import TenantTable, id_field, json_field, time_field


class AuditEvent(TenantTable, table=True):
    """One action. Append-only; `target` is `kind:id`; `details` never holds a secret."""

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "organization_id", "created_at", "id"),)

    id: str = id_field()
    actor: str = Field(max_length=100)  # a user's id, an API key's id, "operator", or "anonymous"
    action: str = Field(max_length=60)  # "scan.triggered"
    target: str = Field(max_length=200)  # "scan:scn-…"
    ip: str | None = Field(default=None, max_length=64)
    details: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    created_at: datetime = time_field()
