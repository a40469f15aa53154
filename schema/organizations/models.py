"""Organizations, the people in them, and the one-time token that creates the first."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import Table, TenantTable, enum_field, id_field, optional_time_field, time_field
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


class SetupToken(Table, table=True):
    """The token printed once at first start. Only its hash is kept; used once, then setup is closed for good."""

    __tablename__ = "setup_tokens"

    id: int = Field(default=1, primary_key=True)
    token_hash: str = Field(max_length=64)
    created_at: datetime = time_field()
    used_at: datetime | None = optional_time_field()
