"""The watch on CVEs: what an organization wants to be told, and what it has been told."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, id_field, json_field, optional_time_field, time_field
from schema.vulnerabilities.records import Severity


class WatchSource(StrEnum):
    """Who knows of a flaw. Published, so append-only."""

    NVD = "nvd"
    GHSA = "ghsa"
    CISA_KEV = "cisa_kev"
    OSV = "osv"  # any other advisory: a distribution's, an ecosystem's


class AlertStatus(StrEnum):
    """Published, so append-only."""

    PENDING = "pending"  # announced as an event, and not yet delivered to a channel
    NOTIFIED = "notified"
    DIGESTED = "digested"  # not announced by itself: it was there, or came with a scan
    SUPPRESSED = "suppressed"


class CveWatch(TenantTable, table=True):
    """What an organization wants to be told. Without a row the defaults hold."""

    __tablename__ = "cve_watches"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id", sa_type=String)
    enabled: bool = True
    min_severity: Severity = enum_field(Severity, default=Severity.MEDIUM, nullable=False)
    sources: list[str] = json_field(default_factory=lambda: [source.value for source in WatchSource], nullable=False)
    polled_at: datetime | None = optional_time_field()  # when what is known was last compared with what is there
    updated_by: str | None = Field(default=None, max_length=100)
    updated_at: datetime | None = optional_time_field()


class CveAlert(TenantTable, table=True):
    """One flaw an organization has, and the worst that was known of it.

    Severity, exploitation and fix are only ever raised, so each rise is told once. `changes` has an entry for each:
    `change` (detected, kev_added, fix_appeared, severity_rose), `at` (ISO 8601) and `severity`.
    """

    __tablename__ = "cve_alerts"
    __table_args__ = (
        UniqueConstraint("organization_id", "cve_id"),
        Index(None, "organization_id", "detected_at", "id"),
        Index(None, "organization_id", "severity_key", "id"),
    )

    id: str = id_field()
    cve_id: str = Field(max_length=60)
    package_name: str = Field(max_length=300)
    title: str = Field(max_length=500)
    severity: Severity = enum_field(Severity, nullable=False)
    severity_key: int
    cvss: float | None = None  # 0.0-10.0
    source: WatchSource = enum_field(WatchSource, nullable=False)
    kev: bool
    fixed_version: str | None = Field(default=None, max_length=300)
    status: AlertStatus = enum_field(AlertStatus, nullable=False)
    published_at: datetime | None = optional_time_field()
    detected_at: datetime = time_field()
    updated_at: datetime = time_field()
    changes: list[dict[str, Any]] = json_field(default_factory=list, nullable=False)
