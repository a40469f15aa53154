"""The stored verdict of an image, a tag or a scan, and how it is derived from counts. One implementation each."""

from __future__ import annotations

from typing import Any

from sqlmodel import Field, col

from schema.kernel.columns import TenantTable, enum_field
from schema.kernel.rows import as_text
from schema.vulnerabilities.scores import Grade


class VerdictColumns(TenantTable):
    """Counters written when a scan is ingested or a triage changes, in that transaction, so no list ever counts.

    `grade` and `risk_score` are None while no vulnerability engine has produced a result. `*_key` are their sort keys:
    never null, so that a page can continue after any row.
    """

    grade: Grade | None = enum_field(Grade, default=None, nullable=True)
    risk_score: int | None = None  # 0-100
    grade_key: str = Field(default="-", max_length=1)
    risk_key: int = -1
    critical: int = 0
    high: int = 0
    medium: int = 0
    low: int = 0
    unknown: int = 0
    fixable: int = 0
    kev: int = 0
    excepted: int = Field(
        default=0, sa_column_kwargs={"server_default": "0"}
    )  # covered by an attestation: in no other count


def verdict_columns(table: type[VerdictColumns]) -> dict[str, Any]:
    """What the schema reads of a stored verdict, by attribute."""
    critical, high, medium = col(table.critical), col(table.high), col(table.medium)
    low, unknown = col(table.low), col(table.unknown)
    return {
        "critical": critical,
        "high": high,
        "medium": medium,
        "low": low,
        "unknown": unknown,
        "total": critical + high + medium + low + unknown,
        "fixable": col(table.fixable),
        "kev": col(table.kev),
        "excepted": col(table.excepted),
        "grade": as_text(table.grade),
        "risk_score": col(table.risk_score),
    }
