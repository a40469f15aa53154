"""Statements that a flaw need not be fixed. An active one is an exception: what it covers counts no more."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field, text

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, optional_time_field, time_field


class AttestationCategory(StrEnum):
    """Why it need not be fixed. Published, so append-only."""

    FALSE_POSITIVE = "false_positive"
    NOT_APPLICABLE = "not_applicable"
    RISK_ACCEPTED = "risk_accepted"
    COMPENSATING_CONTROL = "compensating_control"


class AttestationStatus(StrEnum):
    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


class ScopeType(StrEnum):
    """What an attestation is about: one tag, what was found up to a date, or everything now and later."""

    TAG = "tag"
    HISTORICAL = "historical"
    BLANKET = "blanket"


IS_EXPIRING = text("status = 'ACTIVE' AND expires_at IS NOT NULL")


class Attestation(TenantTable, table=True):
    """One statement about one flaw in one package.

    `history` has an entry for each thing that happened to it, oldest first: `action` (created, renewed, revoked, expired),
    `actor`, `at` (ISO 8601), `reason` and `expiresAt`. `statement` is the VEX statement it was imported from, whole, so that
    it can be exported as it came.
    """

    __tablename__ = "attestations"
    __table_args__ = (
        Index(None, "organization_id", "created_at", "id"),
        Index(None, "organization_id", "cve_id", "package_name"),
        Index("ix_attestations_expiring", "expires_at", sqlite_where=IS_EXPIRING, postgresql_where=IS_EXPIRING),
    )

    id: str = id_field()
    cve_id: str = Field(max_length=60)
    package_name: str = Field(max_length=300)
    category: AttestationCategory = enum_field(AttestationCategory, nullable=False)
    reason: str = Field(max_length=4000)
    evidence: str | None = Field(default=None, sa_type=Text)
    scope_type: ScopeType = enum_field(ScopeType, nullable=False)
    tag_id: str | None = Field(default=None, foreign_key="tags.id", ondelete="CASCADE")  # of the scope `tag`
    as_of: datetime | None = optional_time_field()  # of the scope `historical`
    expires_at: datetime | None = optional_time_field()
    expiry_notice_at: datetime | None = optional_time_field()  # when it was announced that it expires soon
    status: AttestationStatus = enum_field(AttestationStatus, nullable=False)
    attested_by: str = Field(max_length=100)  # a user's or an API key's id
    created_at: datetime = time_field()
    updated_at: datetime = time_field()
    history: list[dict[str, Any]] = json_field(default_factory=list, nullable=False)
    statement: dict[str, Any] | None = json_field(default=None, nullable=True)
