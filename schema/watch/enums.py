"""The enums of the CVE watch as the schema names them."""

from __future__ import annotations

import strawberry

from schema.watch.models import AlertStatus, WatchSource

strawberry.enum(
    WatchSource,
    graphql_name_from="value",
    description="Who knows of a flaw: NVD, GitHub's advisories, CISA's catalogue of known exploited vulnerabilities, or any "
    "other advisory (`osv`).",
)
strawberry.enum(
    AlertStatus,
    graphql_name_from="value",
    description="Whether an alert was announced: `pending` (as an event), `notified` (to a channel), `digested` (not by "
    "itself: the flaw was there or came with a scan), `suppressed` (nobody wants to hear of it).",
)

__all__ = ["AlertStatus", "WatchSource"]
