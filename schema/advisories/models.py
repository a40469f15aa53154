"""The advisory store: shared by every organization, in the form OSV publishes.

One row per record of a feed, one row per package it is about. A match reads `advisory_packages` by (ecosystem, name).

A feed is filled beside what readers see, and switched in one statement. Its rows carry the generations they belong to: a
row is seen while `since <= generation < until` of its feed. Filling adds rows of the next generation and closes those that
changed or are gone, in small transactions nobody notices; the switch raises `advisory_feeds.generation`. Killed in
between, the rows of the next generation wait, unseen, for the next attempt, which keeps what is still right.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlmodel import Field

from schema.kernel.columns import Table, enum_field, id_field, json_field, optional_time_field, time_field
from schema.vulnerabilities.records import Severity


class AdvisoryFeed(Table, table=True):
    """A source of advisories, and how far the store has followed it. One process at a time may fill it."""

    __tablename__ = "advisory_feeds"

    name: str = Field(primary_key=True, max_length=120)  # "osv:PyPI", "debian"; "local" for what was brought by hand
    generation: int = 0  # what readers see; 0: nothing yet
    records: int = 0
    rejected: int = 0  # documents of the last switch that could not be read
    database_date: datetime | None = optional_time_field()  # how new the data is: its own date, or its newest change
    validators: dict[str, Any] = json_field(nullable=False)  # by address: the ETag and Last-Modified of what is stored
    checked_at: datetime | None = optional_time_field()  # last found to be current
    changed_at: datetime | None = optional_time_field()  # last switch
    failed_at: datetime | None = optional_time_field()  # last failure; older than `checked_at` once that is over
    error: str | None = Field(default=None, max_length=500)
    lease_owner: str | None = Field(default=None, max_length=100)
    lease_expires_at: datetime | None = optional_time_field()


class AdvisoryImport(Table, table=True):
    """One attempt to fill a feed. Without an end it was cut off or still runs; with an error it was refused."""

    __tablename__ = "advisory_imports"

    id: str = id_field()
    feed: str = Field(foreign_key="advisory_feeds.name", max_length=120)
    source: str = Field(max_length=300)  # the file's name or the URL without credentials
    records: int = 0
    rejected: int = 0
    database_date: datetime | None = optional_time_field()  # the newest `modified` it carried
    started_at: datetime = time_field()
    finished_at: datetime | None = optional_time_field()
    error: str | None = Field(default=None, max_length=500)


class AdvisoryEcosystem(Table, table=True):
    """What a feed holds for one ecosystem, counted when it is switched: a scan must not count a million rows."""

    __tablename__ = "advisory_ecosystems"

    feed: str = Field(primary_key=True, foreign_key="advisory_feeds.name", max_length=120)
    ecosystem: str = Field(primary_key=True, max_length=100)
    advisories: int
    database_date: datetime = time_field()  # the feed's own date, or the newest `modified` among them
    updated_at: datetime = time_field()


class Advisory(Table, table=True):
    """One record as one feed has it; its `affected` packages are rows of their own."""

    __tablename__ = "advisories"
    __table_args__ = (
        UniqueConstraint("feed", "id", "since"),
        Index(None, "feed", "until", "number"),
    )

    number: int | None = Field(default=None, primary_key=True)
    feed: str = Field(foreign_key="advisory_feeds.name", max_length=120)
    id: str = Field(max_length=100)
    since: int  # the first generation of the feed that has it so
    until: int | None = None  # the first that has not
    content_hash: str = Field(max_length=32)
    cve: str | None = Field(default=None, max_length=60, index=True)  # of a record that names exactly one
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
    import_id: str = Field(foreign_key="advisory_imports.id")  # what brought it, and with it when


class AdvisoryPackage(Table, table=True):
    """The part of an advisory about one package: ranges and versions exactly as OSV evaluates them."""

    __tablename__ = "advisory_packages"
    __table_args__ = (Index(None, "ecosystem", "name"),)

    advisory: int = Field(primary_key=True, foreign_key="advisories.number", ondelete="CASCADE")
    position: int = Field(primary_key=True)
    ecosystem: str = Field(max_length=100)
    name: str = Field(max_length=300)
    ranges: list[Any] = json_field(nullable=False)
    versions: list[str] = json_field(nullable=False)
    severity: Severity | None = enum_field(Severity, default=None, nullable=True)
    cvss_vectors: list[str] = json_field(nullable=False)
