"""Organizations, the people in them, and the one-time token that creates the first."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import String, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import Table, TenantTable, enum_field, id_field, json_field, optional_time_field, time_field
from schema.kernel.principal import Role


class Plan(StrEnum):
    FREE = "FREE"
    TEAM = "TEAM"
    BUSINESS = "BUSINESS"
    ENTERPRISE = "ENTERPRISE"


class MembershipStatus(StrEnum):
    """`invited` uses a seat but cannot sign in; `suspended` can neither sign in nor uses a seat."""

    INVITED = "invited"
    ACTIVE = "active"
    SUSPENDED = "suspended"


class Organization(Table, table=True):
    """A tenant. Everything a member sees hangs off its id."""

    __tablename__ = "organizations"

    id: str = id_field()
    name: str = Field(max_length=200)
    plan: Plan = enum_field(Plan, nullable=False)
    created_at: datetime = time_field()


class User(Table, table=True):
    """A person. Belongs to organizations through memberships; kept for history when removed from one."""

    __tablename__ = "users"

    id: str = id_field()
    email: str = Field(max_length=320, unique=True)  # lower case
    name: str = Field(max_length=200)
    password_hash: str | None = Field(default=None, max_length=200)  # argon2id; None: no local password
    created_at: datetime = time_field()


class Membership(TenantTable, table=True):
    """One person's role in one organization."""

    __tablename__ = "memberships"
    __table_args__ = (UniqueConstraint("organization_id", "user_id"),)

    id: str = id_field()
    user_id: str = Field(foreign_key="users.id", index=True)
    role: Role = enum_field(Role, nullable=False)
    status: MembershipStatus = enum_field(MembershipStatus, nullable=False)
    created_at: datetime = time_field()


FRESHNESS_DAYS = 30  # how long a tag counts as scanned lately, unless the organization says otherwise


class CompliancePolicy(TenantTable, table=True):
    """What an organization demands of itself. Without a row the defaults hold. Deadlines in days after detection."""

    __tablename__ = "compliance_policies"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id", sa_type=String)
    critical_days: int = 1
    high_days: int = 3
    medium_days: int = 7
    low_days: int | None = 14
    auto_sla_deadline: bool = True
    sla_breach_lead_time_days: int = 3
    freshness_threshold_days: int = FRESHNESS_DAYS
    report_retention_days: int = 365
    active_framework: list[str] = json_field(default_factory=list, nullable=False)
    sla_breach_channels: list[str] = json_field(default_factory=list, nullable=False)
    sla_warning_channels: list[str] = json_field(default_factory=list, nullable=False)
    rules_need_approval: bool = False  # of a second person
    updated_by: str | None = Field(default=None, max_length=100)
    updated_at: datetime | None = optional_time_field()


class SetupToken(Table, table=True):
    """The token printed once at first start. Only its hash is kept; used once, then setup is closed for good."""

    __tablename__ = "setup_tokens"

    id: int = Field(default=1, primary_key=True)
    token_hash: str = Field(max_length=64)
    created_at: datetime = time_field()
    used_at: datetime | None = optional_time_field()
