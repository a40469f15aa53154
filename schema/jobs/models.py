"""Durable work. A job row holds the truth; the queue's messages only wake workers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, UniqueConstraint, text
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, optional_time_field, time_field


class JobKind(StrEnum):
    SCAN = "scan"  # its subject is the scan
    SYNC = "sync"  # of a registry's catalogue; its subject is the RegistrySync
    BATCH = "batch"  # looks for the tags of a ScanBatch, its subject, and queues their scans
    REMATCH = "rematch"  # of all tags of an organization; its subject is the state of the advisories
    WATCH = "watch"  # compares what is known of flaws with what an organization was told
    REVIEW = "review"  # of an organization's verdicts; its subject is the state of what is known of CVEs


class JobState(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


# What the partial indexes below hold, each as small as what it is about. Written out, not bound: only then do both
# databases know that an index has all the rows a query asks for.
IS_DUE = text(f"state = '{JobState.QUEUED}'")
IS_RUNNING = text(f"state = '{JobState.RUNNING}'")
HAS_ENDED = text("finished_at IS NOT NULL")
WAS_LEASED = text("leased_at IS NOT NULL")


class Job(TenantTable, table=True):
    """One piece of work on one subject.

    A worker owns a job while `lease_owner` is its name and `lease_expires_at` lies ahead; it renews the lease as long as
    it lives. An expired lease means the worker is gone: the reconciler queues the job again until `attempt` is used up.
    `leased_at`, when a worker last took it, tells how long its organization has waited since.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id"),
        Index(
            "ix_jobs_due",
            "organization_id",
            "priority",
            "created_at",
            "id",
            sqlite_where=IS_DUE,
            postgresql_where=IS_DUE,
        ),
        Index("ix_jobs_running", "organization_id", sqlite_where=IS_RUNNING, postgresql_where=IS_RUNNING),
        Index("ix_jobs_ended", "state", sqlite_where=HAS_ENDED, postgresql_where=HAS_ENDED),
        Index("ix_jobs_leased", "organization_id", "leased_at", sqlite_where=WAS_LEASED, postgresql_where=WAS_LEASED),
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
    leased_at: datetime | None = optional_time_field()
    cancel_requested: bool = False
    created_at: datetime = time_field()
    finished_at: datetime | None = optional_time_field()
