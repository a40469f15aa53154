"""Durable work. A job row holds the truth; the queue's messages only wake workers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, optional_time_field, time_field


class JobKind(StrEnum):
    SCAN = "scan"  # its subject is the scan
    REMATCH = "rematch"  # of all tags of an organization; its subject is the state of the advisories


class JobState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Job(TenantTable, table=True):
    """One piece of work on one subject.

    A worker owns a job while `lease_owner` is its name and `lease_expires_at` lies ahead; it renews the lease as long as
    it lives. An expired lease means the worker is gone: the reconciler queues the job again until `attempt` is used up.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id"),
        Index(None, "state", "priority", "created_at", "id"),
        Index(None, "organization_id", "state"),
        Index(None, "state", "lease_expires_at"),
    )

    id: str = id_field()
    kind: JobKind = enum_field(JobKind, nullable=False)
    subject_id: str = Field(max_length=40)
    state: JobState = enum_field(JobState, nullable=False)
    priority: int = 0
    attempt: int = 0
    max_attempts: int = 3
    lease_owner: str | None = Field(default=None, max_length=100)
    lease_expires_at: datetime | None = optional_time_field()
    cancel_requested: bool = False
    created_at: datetime = time_field()
    finished_at: datetime | None = optional_time_field()
