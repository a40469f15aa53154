"""What a caller proves itself with. Tokens are kept as keyed hashes and found by them; none can be read back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, optional_time_field, time_field
from schema.kernel.principal import Role


class ApiKey(TenantTable, table=True):
    """A machine's credential with a role of its own; bound to a registry it is a sensor's key."""

    __tablename__ = "api_keys"
    __table_args__ = (Index(None, "organization_id", "created_at", "id"),)

    id: str = id_field()
    name: str = Field(max_length=200)
    role: Role = enum_field(Role, nullable=False)
    prefix: str = Field(max_length=10)  # the first characters, to tell keys apart in a list
    token_hash: str = Field(max_length=64, unique=True)
    registry_id: str | None = Field(default=None, foreign_key="registries.id")
    created_by: str  # a user's id, another API key's, or "operator"
    created_at: datetime = time_field()
    expires_at: datetime | None = optional_time_field()
    last_used_at: datetime | None = optional_time_field()
    revoked_at: datetime | None = optional_time_field()


class PersonalAccessToken(TenantTable, table=True):
    """A person's token: the person's current role, or the subset of its permissions named here."""

    __tablename__ = "personal_access_tokens"
    __table_args__ = (Index(None, "organization_id", "user_id", "created_at", "id"),)

    id: str = id_field()
    user_id: str = Field(foreign_key="users.id", index=True)
    name: str = Field(max_length=200)
    permissions: list[str] | None = json_field(default=None, nullable=True)
    prefix: str = Field(max_length=10)
    token_hash: str = Field(max_length=64, unique=True)
    created_at: datetime = time_field()
    expires_at: datetime | None = optional_time_field()
    last_used_at: datetime | None = optional_time_field()
    revoked_at: datetime | None = optional_time_field()


class Session(TenantTable, table=True):
    """A signed-in browser. The cookie's JWT only names this row; revoking the row ends the session."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "organization_id", "user_id", "created_at", "id"),)

    id: str = id_field()
    user_id: str = Field(foreign_key="users.id", index=True)
    created_at: datetime = time_field()
    last_seen_at: datetime = time_field()
    expires_at: datetime = time_field()  # absolute; the idle time-out is counted from last_seen_at
    revoked_at: datetime | None = optional_time_field()
    ip: str = Field(max_length=64)
    user_agent: str = Field(max_length=300)
