"""What has happened that somebody may want to be told: each once, in the transaction in which it happened."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, time_field


class EventType(StrEnum):
    """Published, so append-only."""

    SLA_WARNING = "sla_warning"
    SLA_BREACH = "sla_breach"
    EXCEPTION_EXPIRING = "exception_expiring"
    CVE_WATCH_NEW = "cve_watch_new"
    CVE_WATCH_KEV = "cve_watch_kev"
    FIX_AVAILABLE = "fix_available"


class Event(TenantTable, table=True):
    """One thing that happened. Whoever makes it happen twice finds its `key` taken."""

    __tablename__ = "events"
    __table_args__ = (
        UniqueConstraint("organization_id", "type", "key"),
        Index(None, "organization_id", "created_at", "id"),
    )

    id: str = id_field()
    type: EventType = enum_field(EventType, nullable=False)
    subject: str = Field(max_length=100)  # the id of what it is about
    key: str = Field(max_length=200)
    details: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    created_at: datetime = time_field()
