"""The advisory store: shared by every organization, in the form OSV publishes.

One row per record, one row per package it is about. A match reads `advisory_packages` by (ecosystem, name).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlmodel import Field

from schema.kernel.columns import Table, enum_field, id_field, json_field, optional_time_field, time_field
from schema.vulnerabilities.records import Severity


class AdvisoryImport(Table, table=True):
    """One import. Records are stored in batches, so one that was cut off shows here as unfinished and is run again."""

    __tablename__ = "advisory_imports"

    id: str = id_field()
    source: str = Field(max_length=300)  # the file's name or the URL without credentials
    records: int = 0
    rejected: int = 0
    database_date: datetime | None = optional_time_field()  # the newest `modified` it carried
    started_at: datetime = time_field()
    finished_at: datetime | None = optional_time_field()


class AdvisoryEcosystem(Table, table=True):
    """What the store holds for one ecosystem, counted when an import ends: a scan must not count a million rows."""

    __tablename__ = "advisory_ecosystems"

    ecosystem: str = Field(primary_key=True, max_length=100)
    advisories: int
    database_date: datetime = time_field()  # the newest `modified` among them
    sample: bool  # nothing but the demonstration's sample: too little to trust a good grade
    updated_at: datetime = time_field()


class Advisory(Table, table=True):
    """One OSV record; its `affected` packages are rows of their own."""

    __tablename__ = "advisories"

    id: str = Field(primary_key=True, max_length=100)
    aliases: list[str] = json_field(nullable=False)
    summary: str = Field(max_length=500)
    details: str = Field(sa_type=Text)
    severity: Severity = enum_field(Severity, nullable=False)
    cvss_score: float | None = None
    cvss_vectors: list[str] = json_field(nullable=False)
    references: list[str] = json_field(nullable=False)
    published_at: datetime | None = optional_time_field()
    modified_at: datetime = time_field()
    withdrawn_at: datetime | None = optional_time_field()
    import_id: str = Field(foreign_key="advisory_imports.id", index=True)


class AdvisoryPackage(Table, table=True):
    """The part of an advisory about one package: ranges and versions exactly as OSV evaluates them."""

    __tablename__ = "advisory_packages"
    __table_args__ = (Index(None, "ecosystem", "name"),)

    advisory_id: str = Field(primary_key=True, foreign_key="advisories.id", ondelete="CASCADE")
    position: int = Field(primary_key=True)
    ecosystem: str = Field(max_length=100)
    name: str = Field(max_length=300)
    ranges: list[Any] = json_field(nullable=False)
    versions: list[str] = json_field(nullable=False)
    severity: Severity | None = enum_field(Severity, default=None, nullable=True)
    cvss_vectors: list[str] = json_field(nullable=False)
