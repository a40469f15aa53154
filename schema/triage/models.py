"""What people decide about vulnerabilities: each decision, operations of many at once, and rules for those to come."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, text

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, optional_time_field, time_field
from schema.vulnerabilities.models import TriageStatus


class TriageOrigin(StrEnum):
    """What made a decision. Published, so append-only."""

    PERSON = "person"
    RULE = "rule"
    SCAN = "scan"  # it is gone, or found again
    ATTESTATION = "attestation"  # which ended
    UNDO = "undo"


class TriageEvent(TenantTable, table=True):
    """One change of one vulnerability's triage: what was before, and what came after."""

    __tablename__ = "triage_events"
    __table_args__ = (
        Index(None, "vulnerability_id", "id"),
        Index(None, "operation_id", "id"),
    )

    id: str = id_field()
    vulnerability_id: str = Field(foreign_key="vulnerabilities.id", ondelete="CASCADE")
    operation_id: str | None = Field(default=None, max_length=40)  # also a rule's or an attestation's id
    origin: TriageOrigin = enum_field(TriageOrigin, nullable=False)
    actor: str = Field(max_length=100)
    from_status: TriageStatus = enum_field(TriageStatus, nullable=False)
    to_status: TriageStatus = enum_field(TriageStatus, nullable=False)
    before: dict[str, Any] = json_field(
        default_factory=dict, nullable=False
    )  # assigneeId, reason, slaDeadline, if changed
    after: dict[str, Any] = json_field(default_factory=dict, nullable=False)
    comment: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = time_field()


class TriageOperation(TenantTable, table=True):
    """A decision about one or many vulnerabilities, which can be undone as a whole."""

    __tablename__ = "triage_operations"
    __table_args__ = (Index(None, "organization_id", "created_at", "id"),)

    id: str = id_field()
    actor: str = Field(max_length=100)
    changed: int
    comment: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = time_field()
    undoes: str | None = Field(default=None, max_length=40)  # the operation that this one takes back
    undone_at: datetime | None = optional_time_field()


class RuleStatus(StrEnum):
    """Published, so append-only."""

    PENDING = "PENDING"  # waits for a second person
    ACTIVE = "ACTIVE"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


IS_LIMITED = text("status = 'ACTIVE' AND expires_at IS NOT NULL")


class TriageRule(TenantTable, table=True):
    """A decision about all vulnerabilities alike, those there are and those to come. At least a flaw or a package is named."""

    __tablename__ = "triage_rules"
    __table_args__ = (
        Index(None, "organization_id", "created_at", "id"),
        Index("ix_triage_rules_limited", "expires_at", sqlite_where=IS_LIMITED, postgresql_where=IS_LIMITED),
    )

    id: str = id_field()
    cve_id: str | None = Field(default=None, max_length=60)
    package_name: str | None = Field(default=None, max_length=300)
    image_id: str | None = Field(default=None, foreign_key="images.id", ondelete="CASCADE")  # None: every image
    tag_pattern: str | None = Field(default=None, max_length=1000)  # globs by commas; None: whatever the tag
    decision: TriageStatus = enum_field(TriageStatus, nullable=False)
    assignee_id: str | None = Field(default=None, foreign_key="users.id")
    reason: str | None = Field(default=None, max_length=500)
    comment: str | None = Field(default=None, sa_type=Text)
    status: RuleStatus = enum_field(RuleStatus, nullable=False)
    expires_at: datetime | None = optional_time_field()
    created_by: str = Field(max_length=100)
    created_at: datetime = time_field()
    decided_by: str | None = Field(default=None, max_length=100)  # who approved, rejected or revoked it
    decided_at: datetime | None = optional_time_field()


class SavedFilter(TenantTable, table=True):
    """A filter of the list of vulnerabilities under a name: its owner's, or everybody's."""

    __tablename__ = "saved_filters"
    __table_args__ = (Index(None, "organization_id", "name", "id"),)

    id: str = id_field()
    owner: str = Field(max_length=100)  # a user's or an API key's id
    name: str = Field(max_length=100)
    shared: bool
    query: str = Field(max_length=4000)  # a query string of GET /api/vulnerabilities
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
