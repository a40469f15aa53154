"""Figures by day, kept as they happen, so that a trend is read and never computed."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, String
from sqlmodel import Field

from schema.kernel.columns import TenantTable, enum_field, time_field
from schema.vulnerabilities.records import Severity


class Flow(StrEnum):
    """What happens to vulnerabilities."""

    OPENED = "opened"  # found for the first time, or found again
    FIXED = "fixed"
    FIXED_SECONDS = "fixed_seconds"  # the time from opened to fixed, summed over those


class DailyFlow(TenantTable, table=True):
    """How much of it there was on a day (UTC)."""

    __tablename__ = "daily_flows"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id", sa_type=String)
    day: str = Field(primary_key=True, max_length=10)  # 2026-11-26
    severity: Severity = enum_field(Severity, primary_key=True)
    flow: Flow = enum_field(Flow, primary_key=True)
    count: int = Field(sa_type=BigInteger)


class PostureDay(TenantTable, table=True):
    """How an organization stood at the end of a day (UTC); today's row is as of `taken_at`."""

    __tablename__ = "posture_days"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id", sa_type=String)
    day: str = Field(primary_key=True, max_length=10)
    taken_at: datetime = time_field()
    critical: int  # open and not excepted, as all by severity
    high: int
    medium: int
    low: int
    unknown: int
    overdue: int
    with_deadline: int  # of severity critical and high, as the next
    breached: int
    exceptions: int
    total_tags: int
    fresh_tags: int  # scanned within the policy's threshold
    risk_score: int  # 0-100
