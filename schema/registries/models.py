"""Where images come from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, optional_time_field, time_field


class RegistryProvider(StrEnum):
    DOCKER_HUB = "DOCKER_HUB"
    GHCR = "GHCR"
    AWS_ECR = "AWS_ECR"
    AZURE_ACR = "AZURE_ACR"
    GOOGLE_GAR = "GOOGLE_GAR"
    GITLAB = "GITLAB"
    HARBOR = "HARBOR"
    JFROG = "JFROG"
    QUAY = "QUAY"
    NEXUS = "NEXUS"
    DOCKER_REGISTRY = "DOCKER_REGISTRY"
    CUSTOM = "CUSTOM"


class ScanMethod(StrEnum):
    """Who fetches and scans a registry's images."""

    CLOUD = "cloud"  # our workers
    SENSOR = "sensor"  # a sensor inside the network the registry is in


class Schedule(StrEnum):
    """When a registry is synchronized and its tags are scanned by themselves."""

    MANUAL = "manual"
    DAILY = "daily"  # tags that were not scanned for 24 hours
    WEEKLY = "weekly"  # for seven days
    ON_PUSH = "on_push"  # a tag, when it is seen for the first time or points to something else
    CRON = "cron"  # every eligible tag, at the times of `cron`


class RegistryStatus(StrEnum):
    CONNECTED = "CONNECTED"
    SYNCING = "SYNCING"
    DISCONNECTED = "DISCONNECTED"  # never reached yet
    ERROR = "ERROR"


class Registry(TenantTable, table=True):
    """A registry, the credentials to pull from it, sealed (see schema/kernel/secrets.py), and when it is looked at."""

    __tablename__ = "registries"
    __table_args__ = (
        UniqueConstraint("organization_id", "name"),
        Index(None, "organization_id", "created_at", "id"),
        Index(None, "next_run_at"),
    )

    id: str = id_field()
    name: str = Field(max_length=200)
    provider: RegistryProvider = enum_field(RegistryProvider, nullable=False)
    url: str = Field(default="", max_length=500, sa_column_kwargs={"server_default": ""})  # as it was given
    host: str = Field(max_length=300)  # "ghcr.io", "127.0.0.1:5000": what references of its images begin with
    insecure: bool = False  # plain HTTP
    username: str | None = Field(default=None, max_length=300)
    sealed_password: dict[str, str] | None = json_field(default=None, nullable=True)
    # What only its provider knows, none of it secret: "region", "namespace", "project".
    options: dict[str, str] = json_field(
        default_factory=dict, nullable=False, sa_column_kwargs={"server_default": "{}"}
    )
    scan_method: ScanMethod = enum_field(
        ScanMethod, default=ScanMethod.CLOUD, nullable=False, sa_column_kwargs={"server_default": "cloud"}
    )
    scanners: list[str] = json_field(
        default_factory=list, nullable=False, sa_column_kwargs={"server_default": "[]"}
    )  # engines of scans that nobody asks for; none: all
    tag_include: str = Field(default="*", max_length=1000, sa_column_kwargs={"server_default": "*"})  # globs, by commas
    tag_exclude: str = Field(default="", max_length=1000, sa_column_kwargs={"server_default": ""})
    schedule: Schedule = enum_field(
        Schedule, default=Schedule.MANUAL, nullable=False, sa_column_kwargs={"server_default": "manual"}
    )
    cron: str | None = Field(default=None, max_length=200)
    time_zone: str = Field(default="UTC", max_length=60, sa_column_kwargs={"server_default": "UTC"})  # IANA name
    next_run_at: datetime | None = optional_time_field()  # of the schedule
    sealed_webhook_secret: dict[str, str] | None = json_field(default=None, nullable=True)
    status: RegistryStatus = enum_field(
        RegistryStatus,
        default=RegistryStatus.DISCONNECTED,
        nullable=False,
        sa_column_kwargs={"server_default": "DISCONNECTED"},
    )
    status_message: str | None = Field(default=None, max_length=2000)  # why it is as it is
    health: int | None = None  # 0-100, how many of its recent syncs succeeded; None: there was none
    last_sync_at: datetime | None = optional_time_field()  # the last one that succeeded
    created_at: datetime = time_field()
    updated_at: datetime = time_field()


class SyncStatus(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class RegistrySync(TenantTable, table=True):
    """One pass over a registry's catalogue; its job is found by its id. A pass that was interrupted goes on at `position`."""

    __tablename__ = "registry_syncs"
    __table_args__ = (Index(None, "organization_id", "registry_id", "created_at", "id"),)

    id: str = id_field()
    registry_id: str = Field(foreign_key="registries.id", ondelete="CASCADE", index=True)
    status: SyncStatus = enum_field(SyncStatus, nullable=False)
    position: str | None = Field(default=None, max_length=400)  # the last repository that is done
    repositories_found: int = 0
    repositories_done: int = 0
    tags_found: int = 0
    tags_new: int = 0
    tags_moved: int = 0  # point to another digest than before
    tags_gone: int = 0
    message: str | None = Field(default=None, max_length=2000)  # why it failed, or what it left out
    requested_by: str  # actor kind and id, "system:schedule"
    created_at: datetime = time_field()
    started_at: datetime | None = optional_time_field()
    ended_at: datetime | None = optional_time_field()


class RegistryEvent(TenantTable, table=True):
    """A push that a registry told us of, kept so that the same telling has no second effect."""

    __tablename__ = "registry_events"
    __table_args__ = (
        UniqueConstraint("registry_id", "fingerprint"),
        Index(None, "organization_id", "registry_id", "received_at", "id"),
    )

    id: str = id_field()
    registry_id: str = Field(foreign_key="registries.id", ondelete="CASCADE")
    fingerprint: str = Field(max_length=64)  # of the event's own id, or of the body that has none
    images: list[str] = json_field(nullable=False)  # references that were pushed
    outcome: str = Field(max_length=300)
    received_at: datetime = time_field(index=True)
