"""Sensors: scanners inside somebody else's network, which ask us for work and send what they found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, optional_time_field, time_field


class Sensor(TenantTable, table=True):
    """One installation: the API key it speaks with, and of several that share a key the identity it gives itself."""

    __tablename__ = "sensors"
    __table_args__ = (
        UniqueConstraint("api_key_id", "identity"),
        Index(None, "organization_id", "created_at", "id"),
        Index(None, "last_seen_at"),
    )

    id: str = id_field()
    api_key_id: str = Field(foreign_key="api_keys.id", ondelete="CASCADE")
    registry_id: str | None = Field(default=None, foreign_key="registries.id", ondelete="SET NULL")
    identity: str = Field(default="", max_length=200)  # `sensorId` of its registration; older ones have none
    name: str = Field(max_length=200)
    hostname: str = Field(max_length=300)
    os: str = Field(max_length=50)
    arch: str = Field(max_length=50)
    version: str = Field(max_length=100)
    capabilities: list[str] = json_field(nullable=False)
    scanner_versions: dict[str, str] = json_field(nullable=False)  # raw, as it told them
    registry_url: str | None = Field(default=None, max_length=500)
    public_key: str | None = Field(default=None, max_length=60)  # X25519, base64: credentials are sealed to it
    active_scans: int = 0
    uptime_seconds: int = Field(default=0, sa_type=BigInteger)
    registered_at: datetime = time_field()
    last_seen_at: datetime = time_field()  # its last request of any kind
    lost_at: datetime | None = optional_time_field()  # when it was noticed that it is offline; None: it is not
    created_at: datetime = time_field()


class SensorJobState(StrEnum):
    WAITING = "WAITING"
    CLAIMED = "CLAIMED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class SensorJob(TenantTable, table=True):
    """A scan that waits for a sensor of its registry, or is in one's hands until `lease_expires_at`."""

    __tablename__ = "sensor_jobs"
    __table_args__ = (
        Index(None, "organization_id", "registry_id", "state", "priority", "created_at"),
        Index(None, "state", "lease_expires_at"),
    )

    scan_id: str = Field(primary_key=True, foreign_key="scans.id", ondelete="CASCADE")
    registry_id: str | None = Field(default=None, foreign_key="registries.id", ondelete="CASCADE")
    state: SensorJobState = enum_field(SensorJobState, nullable=False)
    priority: int = 0
    attempt: int = 0
    max_attempts: int = 3
    sensor_id: str | None = Field(default=None, foreign_key="sensors.id", ondelete="SET NULL")
    lease_expires_at: datetime | None = optional_time_field()
    cancel_requested: bool = False
    message: str | None = Field(default=None, max_length=2000)  # what its sensor said of how it ended
    created_at: datetime = time_field()
    ended_at: datetime | None = optional_time_field()
