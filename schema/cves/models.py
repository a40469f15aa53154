"""What is known of a CVE beyond any advisory's word: whether it is exploited, and how likely that is.

Shared by every organization. A vulnerability meets its row by `cve_id`, so that a daily refresh of 300,000 rows touches no
vulnerability.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, false
from sqlmodel import Field, text

from schema.kernel.columns import Table, optional_time_field

IS_KEV = text("kev")


class Cve(Table, table=True):
    """A CVE of which a feed tells something: FIRST's EPSS, or CISA's catalogue of known exploited vulnerabilities."""

    __tablename__ = "cves"
    __table_args__ = (
        Index("ix_cves_kev", "id", sqlite_where=IS_KEV, postgresql_where=IS_KEV),
        Index(None, "epss"),
    )

    id: str = Field(primary_key=True, max_length=60)
    epss: float | None = None  # 0.0-1.0: the probability that it is exploited within 30 days
    epss_percentile: float | None = None  # 0.0-1.0
    kev: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    kev_added_at: datetime | None = optional_time_field()
    kev_due_at: datetime | None = optional_time_field()  # by when CISA wants it remedied
    ransomware: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
