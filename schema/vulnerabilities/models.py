"""The life of a flaw in an image repository, and where each scan saw it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import Index, String, UniqueConstraint, false, func, true
from sqlmodel import Field, col, text

from schema.dependencies.records import PackageType
from schema.kernel.columns import (
    TenantTable,
    UtcDateTime,
    enum_field,
    id_field,
    json_field,
    optional_time_field,
    time_field,
)
from schema.vulnerabilities.records import Severity


class TriageStatus(StrEnum):
    OPEN = "OPEN"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    IN_PROGRESS = "IN_PROGRESS"
    FIXED = "FIXED"
    WONT_FIX = "WONT_FIX"


# Neither fixed nor dismissed: these count, and their deadlines run.
OPEN_STATUSES = (TriageStatus.OPEN, TriageStatus.ACKNOWLEDGED, TriageStatus.IN_PROGRESS)


# What the partial indexes below hold. Written out, not bound: only then do both databases know that an index has all the
# rows a query asks for.
_IS_RUNNING = "due_at IS NOT NULL AND exception_id IS NULL AND status IN ('OPEN', 'ACKNOWLEDGED', 'IN_PROGRESS')"
IS_BREACHING = text(f"{_IS_RUNNING} AND breached_at IS NULL")
IS_WARNING = text(f"{_IS_RUNNING} AND breached_at IS NULL AND warned_at IS NULL")
IS_ASSIGNED = text("assignee_id IS NOT NULL")
IS_EXCEPTED = text("exception_id IS NOT NULL")
IS_DECIDED = text("rule_id IS NOT NULL")


class Vulnerability(TenantTable, table=True):
    """One flaw in one version of one package of one image: what is triaged, whatever number of scans saw it.

    `severity_key` and `cvss_key` are stored sort keys, never null.
    """

    __tablename__ = "vulnerabilities"
    __table_args__ = (
        UniqueConstraint("organization_id", "image_id", "cve_id", "package_name", "package_version", "package_type"),
        Index(None, "organization_id", "severity_key", "id"),
        Index(None, "organization_id", "cvss_key", "id"),
        Index(None, "organization_id", "detected_at", "id"),
        Index(None, "organization_id", "cve_id", "id"),
        Index(None, "organization_id", "status", "id"),
        Index(None, "organization_id", "package_name", "id"),
        *(
            Index(f"ix_vulnerabilities_{name}", *columns, sqlite_where=condition, postgresql_where=condition)
            for name, columns, condition in (
                ("breaching", ("organization_id", "due_at"), IS_BREACHING),
                ("warning", ("organization_id", "due_at"), IS_WARNING),
                ("assigned", ("organization_id", "assignee_id", "id"), IS_ASSIGNED),
                ("excepted", ("exception_id", "id"), IS_EXCEPTED),
                ("decided", ("rule_id", "id"), IS_DECIDED),
            )
        ),
    )

    id: str = id_field()
    image_id: str = Field(foreign_key="images.id", ondelete="CASCADE", index=True)
    cve_id: str = Field(max_length=60)  # the flaw's chosen id: a CVE where it has one
    aliases: list[str] = json_field(nullable=False)
    advisory_ids: list[str] = json_field(nullable=False)
    title: str = Field(max_length=500)
    severity: Severity = enum_field(Severity, nullable=False)
    severity_key: int
    cvss: float | None = None  # 0.0-10.0
    cvss_key: float = -1.0
    cvss_vectors: list[str] = json_field(nullable=False)
    package_name: str = Field(max_length=300)
    package_version: str = Field(max_length=300)
    package_type: PackageType = enum_field(PackageType, nullable=False)
    fixed_versions: list[str] = json_field(nullable=False)
    fixable: bool
    sources: list[str] = json_field(nullable=False)  # providers that reported it, each once
    agreement: int = Field(default=1, sa_column_kwargs={"server_default": "1"})  # how many those are
    severities: dict[str, str] = json_field(  # each provider's own rating
        default_factory=dict, nullable=False, sa_column_kwargs={"server_default": "{}"}
    )
    # Of what the latest scan says of it, so that only news are written.
    statement_hash: str = Field(default="", max_length=32, sa_column_kwargs={"server_default": ""})
    status: TriageStatus = enum_field(TriageStatus, default=TriageStatus.OPEN, nullable=False)
    detected_at: datetime = time_field()
    # Written when it is found and when it is gone; while it is there, it was last seen when its image was last scanned.
    last_seen_at: datetime = time_field()
    is_present: bool = Field(default=True, sa_column_kwargs={"server_default": true()})
    remediated_at: datetime | None = optional_time_field()
    reopened_at: datetime | None = optional_time_field()  # when it was last found again after it had been fixed
    assignee_id: str | None = Field(default=None, max_length=40)  # a user's
    triage_reason: str | None = Field(default=None, max_length=500)
    triaged_by: str | None = Field(default=None, max_length=100)
    triaged_at: datetime | None = optional_time_field()
    rule_id: str | None = Field(default=None, max_length=40)  # the triage rule that decided
    due_at: datetime | None = optional_time_field()  # the SLA deadline
    due_by_hand: bool = Field(default=False, sa_column_kwargs={"server_default": false()})  # a person set it
    warned_at: datetime | None = optional_time_field()  # when it was announced that the deadline is near
    breached_at: datetime | None = optional_time_field()  # when it was announced that the deadline has passed
    exception_id: str | None = Field(default=None, max_length=40)  # the active attestation that covers it


# Since when a vulnerability is open: from here its deadline and the time it took to fix it are counted.
OPEN_SINCE = func.coalesce(col(Vulnerability.reopened_at), col(Vulnerability.detected_at), type_=UtcDateTime())


class ScanFinding(TenantTable, table=True):
    """A vulnerability as one scan saw it: who said so, in which file and layer."""

    __tablename__ = "scan_findings"
    __table_args__ = (
        UniqueConstraint("scan_id", "vulnerability_id"),
        Index(None, "scan_id", "severity_key", "id"),
        Index(None, "vulnerability_id", "scan_id"),
    )

    id: str = id_field()
    scan_id: str = Field(foreign_key="scans.id", ondelete="CASCADE")
    vulnerability_id: str = Field(foreign_key="vulnerabilities.id", ondelete="CASCADE")
    severity: Severity = enum_field(Severity, nullable=False)
    severity_key: int
    sources: list[str] = json_field(nullable=False)
    agreement: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    severities: dict[str, str] = json_field(  # each provider's own rating
        default_factory=dict, nullable=False, sa_column_kwargs={"server_default": "{}"}
    )
    engines: list[str] = json_field(nullable=False)  # requested engines those providers answered for
    # The scan of the same tag before this one did not have it.
    is_new: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    path: str = Field(max_length=4096)
    layer_digest: str = Field(max_length=140)
    layer_index: int


class VulnerabilityCount(TenantTable, table=True):
    """How many vulnerabilities of an image, or of all images, are alike in what lists and dashboards ask for.

    Kept by `counts.refresh` in the transaction that changes them, so nobody ever counts a million rows. `image_id` is
    EVERY_IMAGE for the sum over the organization, which is why it is no foreign key.
    """

    __tablename__ = "vulnerability_counts"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id", sa_type=String)
    image_id: str = Field(primary_key=True, sa_type=String)
    severity: Severity = enum_field(Severity, primary_key=True)
    status: TriageStatus = enum_field(TriageStatus, primary_key=True)
    fixable: bool = Field(primary_key=True)
    excepted: bool = Field(primary_key=True)
    has_deadline: bool = Field(primary_key=True)
    breached: bool = Field(primary_key=True)
    count: int


class FlawText(TenantTable, table=True):
    """What a search for a vulnerability's own words looks through: as many rows as there are flaws of packages, of which
    there are a few for every hundred vulnerabilities.
    """

    __tablename__ = "flaw_texts"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id", sa_type=String)
    cve_id: str = Field(primary_key=True, max_length=60)
    package_name: str = Field(primary_key=True, max_length=300)
    title: str = Field(max_length=500)
