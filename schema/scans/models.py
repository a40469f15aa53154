"""Scans, the engine runs they consist of, and what each printed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, LargeBinary, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import (
    TenantTable,
    enum_field,
    id_field,
    json_field,
    optional_time_field,
    time_field,
)
from schema.scans.evidence import CheckLevel
from schema.scans.failures import FailureCode
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.verdict import VerdictColumns


class ScanStatus(StrEnum):
    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


ACTIVE = (ScanStatus.QUEUED, ScanStatus.IN_PROGRESS)


class ScanPhase(StrEnum):
    """Where a running scan is; `progress` (0-100) moves on within a phase. Published, so append-only."""

    QUEUED = "QUEUED"
    FETCHING = "FETCHING"  # the image is copied into one verified layout
    INVENTORY = "INVENTORY"  # packages and layers are read
    MATCHING = "MATCHING"  # packages meet advisories
    INGESTING = "INGESTING"  # results are stored, in one transaction
    DONE = "DONE"


class Engine(StrEnum):
    """The six documented engines. An engine is a capability; who answered is the run's `provider`."""

    TRIVY = "trivy"
    GRYPE = "grype"
    SYFT = "syft"
    DOCKLE = "dockle"
    OSV = "osv"
    DIVE = "dive"


class EngineRunStatus(StrEnum):
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class SourceKind(StrEnum):
    """Where the image's bytes come from. PATH is made by the command line only, never through the API."""

    REGISTRY = "REGISTRY"
    UPLOAD = "UPLOAD"
    PATH = "PATH"
    REPORT = "REPORT"  # there are none: an uploaded report tells what somebody else found in them


class ScanOrigin(StrEnum):
    CLOUD = "cloud"
    SENSOR = "sensor"


class Scan(VerdictColumns, table=True):
    """One run of engines over one image. The row is the truth; the queue only wakes whoever works on it."""

    __tablename__ = "scans"
    __table_args__ = (
        Index(None, "organization_id", "ordered_at", "id"),
        Index(None, "organization_id", "status", "ordered_at", "id"),
        Index(None, "organization_id", "grade_key", "id"),
        Index(None, "organization_id", "risk_key", "id"),
        Index(None, "organization_id", "image_id", "ordered_at"),
        Index(None, "organization_id", "digest"),
        Index(None, "inventory_of"),
        Index(None, "findings_of"),
        Index(None, "organization_id", "batch_id"),
        Index(None, "organization_id", "external_id", unique=True),
    )

    id: str = id_field()
    image_id: str = Field(foreign_key="images.id", ondelete="CASCADE")
    tag_id: str | None = Field(default=None, foreign_key="tags.id", ondelete="SET NULL")
    reference: str = Field(max_length=400)  # canonical, as it is pulled
    digest: str | None = Field(default=None, max_length=140)  # captured when fetched
    platform: str | None = Field(default=None, max_length=60)  # wanted, then found
    scanners: list[str] = json_field(nullable=False)  # requested engines, in request order
    origin: ScanOrigin = enum_field(ScanOrigin, nullable=False)
    source_kind: SourceKind = enum_field(SourceKind, nullable=False)
    source: str | None = Field(default=None, max_length=1000)  # registry id, upload id, or a path of the operator
    status: ScanStatus = enum_field(ScanStatus, nullable=False)
    phase: ScanPhase = enum_field(ScanPhase, nullable=False)
    progress: int = 0  # 0-100 over the whole scan
    partial: bool = False  # complete, though some engine failed
    priority: int = 0  # -10..10, higher runs first
    force: bool = False
    failure_code: FailureCode | None = enum_field(FailureCode, default=None, nullable=True)
    failure_reason: str | None = Field(default=None, max_length=2000)
    grade_reason: str | None = Field(default=None, max_length=2000)  # why there is no grade
    package_count: int = 0
    misconfiguration_count: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    secret_count: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    compared_with: str | None = Field(default=None, max_length=40)  # the scan of the same tag before this one
    new_count: int | None = None  # findings that one did not have; None without it
    fixed_count: int | None = None  # findings it had, and this one has not
    fix_available_count: int | None = None  # findings of both that have got a fixed version meanwhile
    # The scan whose rows hold what was read from the image, and what was found in it; None: this one's own. When that
    # scan is deleted, its rows go to one that shares them.
    inventory_of: str | None = Field(default=None, max_length=40)
    findings_of: str | None = Field(default=None, max_length=40)
    evidence_key: str | None = Field(
        default=None, max_length=64
    )  # who was asked what, as a hash; see `schema.scans.reuse`
    advisory_key: str | None = Field(default=None, max_length=64)  # the advisory data of the native provider, as a hash
    duration_ms: int | None = None
    requested_by: str  # actor kind and id, "api-key:key-…"
    batch_id: str | None = Field(default=None, max_length=40)  # the ScanBatch it is part of
    external_id: str | None = Field(default=None, max_length=100)  # what the sensor that sent its results calls it
    sensor_id: str | None = Field(default=None, max_length=40)  # who did it
    created_at: datetime = time_field()
    started_at: datetime | None = optional_time_field()
    scanned_at: datetime | None = optional_time_field()  # when it ended
    ordered_at: datetime = time_field()  # scanned_at, or created_at while it runs: the sort key of lists


class ScanBatch(TenantTable, table=True):
    """Tags that are scanned at once, to be followed and cancelled together. Its job looks for them (workers/batches.py)."""

    __tablename__ = "scan_batches"
    __table_args__ = (Index(None, "organization_id", "created_at", "id"),)

    id: str = id_field()
    images: str = Field(max_length=1000)  # globs of image names, by commas
    tag_include: str = Field(max_length=1000)
    tag_exclude: str = Field(max_length=1000)
    registry_id: str | None = Field(default=None, max_length=40)  # only its images; that one may be gone by now
    scanners: list[str] = json_field(nullable=False)  # none: those of each image's registry
    force: bool = False
    unscanned_since: datetime | None = optional_time_field()  # only tags that nobody wanted scanned since then
    position: str = Field(default="", max_length=40)  # the last tag that was looked at
    message: str | None = Field(default=None, max_length=2000)  # why looking for tags failed
    requested_by: str  # actor kind and id, "system:schedule"
    created_at: datetime = time_field()
    selected_at: datetime | None = optional_time_field()  # when every tag had been looked at
    cancelled_at: datetime | None = optional_time_field()


class EngineRun(TenantTable, table=True):
    """One requested engine of one scan: who answered, with what data, and how it ended."""

    __tablename__ = "engine_runs"
    __table_args__ = (UniqueConstraint("scan_id", "engine"),)

    id: str = id_field()
    scan_id: str = Field(foreign_key="scans.id", ondelete="CASCADE")
    engine: Engine = enum_field(Engine, nullable=False)
    status: EngineRunStatus = enum_field(EngineRunStatus, nullable=False)
    provider: str | None = Field(default=None, max_length=100)  # "native 0.1.0", "syft 1.18.1"; None: nobody answered
    message: str | None = Field(default=None, max_length=2000)  # why it was skipped, failed, or stood in for
    database_date: datetime | None = optional_time_field()
    coverage: list[dict[str, Any]] = json_field(default_factory=list, nullable=False)  # per ecosystem, see matching
    finding_count: int = 0
    package_count: int = 0
    started_at: datetime | None = optional_time_field()
    duration_ms: int | None = None


class EngineOutput(TenantTable, table=True):
    """What a provider printed, compressed (zlib), kept so that a result can be checked against its evidence."""

    __tablename__ = "engine_outputs"

    engine_run_id: str = Field(primary_key=True, foreign_key="engine_runs.id", ondelete="CASCADE")
    media_type: str = Field(max_length=100)
    content: bytes = Field(sa_type=LargeBinary)


class ScanEvidence(TenantTable, table=True):
    """What was learned of an image as a whole, read in one piece and never searched."""

    __tablename__ = "scan_evidence"

    scan_id: str = Field(primary_key=True, foreign_key="scans.id", ondelete="CASCADE")
    unread: list[str] = json_field(nullable=False)  # package databases that could not be read
    checks: list[dict[str, Any]] = json_field(nullable=False)  # CheckOutcome
    efficiency: dict[str, Any] | None = json_field(default=None, nullable=True)  # ImageEfficiency


class _SightedColumns(TenantTable):
    """What all findings of one scan have, beside what they are."""

    id: str = id_field()
    scan_id: str = Field(foreign_key="scans.id", ondelete="CASCADE")
    title: str = Field(max_length=500)
    severity: Severity = enum_field(Severity, nullable=False)
    severity_key: int
    path: str = Field(max_length=4096)  # the file in the image, "" for what its config says
    layer_digest: str = Field(max_length=140)
    layer_index: int
    sources: list[str] = json_field(nullable=False)  # providers that reported it, each once


class Misconfiguration(_SightedColumns, table=True):
    """A failed check of the image's config, history or files, as one scan saw it."""

    __tablename__ = "misconfigurations"
    __table_args__ = (Index(None, "scan_id", "severity_key", "id"),)

    check_id: str = Field(max_length=100)  # "CIS-DI-0001"
    level: CheckLevel = enum_field(CheckLevel, nullable=False)
    evidence: list[str] = json_field(nullable=False)
    remediation: str = Field(max_length=2000)


class Secret(_SightedColumns, table=True):
    """A secret in a layer or in the config, as one scan saw it. Nothing but its mask is kept."""

    __tablename__ = "secrets"
    __table_args__ = (Index(None, "scan_id", "severity_key", "id"),)

    rule: str = Field(max_length=100)
    line: int | None = None
    masked: str = Field(max_length=300)
    deleted: bool  # a later layer removes or replaces the file
    place: str = Field(max_length=300)  # where the config holds it, "" for a file


class ScanLog(TenantTable, table=True):
    """One line of a scan's log, for people: no path of the server, no credential."""

    __tablename__ = "scan_logs"

    scan_id: str = Field(primary_key=True, foreign_key="scans.id", ondelete="CASCADE")
    sequence: int = Field(primary_key=True)
    at: datetime = time_field()
    level: str = Field(max_length=10)
    message: str = Field(max_length=2000)
