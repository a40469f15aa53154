"""The CVE watch as the schema shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import strawberry

from schema.kernel.rows import resolved_field
from schema.vulnerabilities.enums import Severity
from schema.watch.enums import AlertStatus, WatchSource
from schema.watch.rules import AlertChange

strawberry.enum(AlertChange, graphql_name_from="value", description="What there was to tell of a flaw.")


@strawberry.type(description="How many alerts there are.")
class AlertCounts:
    total: int = strawberry.field(description="All of them.")
    pending: int = strawberry.field(description="Announced as events.")
    notified: int = strawberry.field(description="Delivered to a channel.")
    digested: int = strawberry.field(description="Not announced by themselves.")
    suppressed: int = strawberry.field(description="Nobody wants to hear of them.")
    kev: int = strawberry.field(description="Of flaws that are known to be exploited.")


@strawberry.type(description="The CVE watch of the organization: its settings, and what came of it.")
class CveWatch:
    enabled: bool = strawberry.field(description="Whether it watches.")
    min_severity_filter: Severity = strawberry.field(
        description="Flaws below it give no alert, unless they are known to be exploited."
    )
    sources: list[WatchSource] = strawberry.field(description="Whose word counts.")
    last_polled_at: datetime | None = strawberry.field(
        description="When what is known was last compared with what is in the images; null: not yet."
    )
    running: bool = strawberry.field(description="Whether a look waits or runs now.")
    alerts: AlertCounts = strawberry.field(description="How many alerts there are.")
    updated_by: str | None = strawberry.field(description="Who changed the settings last.")
    updated_at: datetime | None = strawberry.field(description="When.")


@strawberry.type(description="A look that was asked for.")
class CveWatchRun:
    job_id: strawberry.ID = strawberry.field(description="`job-…`; `lastPolledAt` of the watch tells when it is done.")


@strawberry.type(description="A tag in whose latest scan a flaw is.")
class AlertImage:
    image_id: strawberry.ID = strawberry.field(description="The image.")
    image_name: str = strawberry.field(description="Its name.")
    tag_id: strawberry.ID = strawberry.field(description="The tag.")
    tag: str = strawberry.field(description="Its name.")
    package_name: str = strawberry.field(description="The package that has the flaw.")
    installed_version: str = strawberry.field(description="Its version.")


@strawberry.type(description="Something that was told of a flaw.")
class AlertEntry:
    change: AlertChange = strawberry.field(description="What.")
    severity: Severity = strawberry.field(description="The flaw's severity then.")
    at: datetime = strawberry.field(description="When.")


@strawberry.type(description="One flaw that the organization has, and the worst that was known of it.")
class CveAlert:
    id: strawberry.ID = strawberry.field(description="`alr-…`.")
    cve_id: str = strawberry.field(description="The flaw.")
    title: str = strawberry.field(description="One line on what it is.")
    severity: Severity = strawberry.field(description="The highest it had.")
    cvss: float | None = strawberry.field(description="CVSS base score, 0.0-10.0; null: nobody states one.")
    source: WatchSource = strawberry.field(description="Who told it.")
    kev: bool = strawberry.field(description="Whether it is known to be exploited (CISA KEV).")
    package_name: str = strawberry.field(description="A package that has it; `affectedImages` name them all.")
    affected_images: list[AlertImage] = strawberry.field(description="Where it is now, at most 100 tags, by name.")
    fixed_version: str | None = strawberry.field(description="The first version without it; null: there was none.")
    status: AlertStatus = strawberry.field(description="Whether it was announced.")
    published_at: datetime | None = strawberry.field(
        description="When an advisory was first published; null: none says."
    )
    detected_at: datetime = strawberry.field(description="When the watch first saw it in an image.")
    updated_at: datetime = strawberry.field(description="When something about it last changed.")

    @resolved_field(description="What was told of it, oldest first.", reads=("changes",))
    def changes(self) -> list[AlertEntry]:
        return [
            AlertEntry(change=entry["change"], severity=entry["severity"], at=entry["at"])
            for entry in cast("Any", self).changes
        ]
