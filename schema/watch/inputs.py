"""What the CVE watch takes."""

from __future__ import annotations

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.vulnerabilities.enums import Severity
from schema.watch.enums import WatchSource


@strawberry.input(description="What to change of the settings of the CVE watch. What is not given stays.")
class CveWatchInput:
    enabled: bool | None = strawberry.field(default=strawberry.UNSET, description="Whether to watch; null: yes.")
    min_severity_filter: Severity | None = strawberry.field(
        default=strawberry.UNSET,
        description="Flaws below it give no alert, unless they are known to be exploited. CRITICAL, HIGH, MEDIUM or LOW; "
        "null: MEDIUM.",
    )
    sources: list[WatchSource] | None = constrained(
        Constraint(min_length=1, max_length=10),
        default=strawberry.UNSET,
        description="Whose word counts; null: everybody's.",
    )


@strawberry.input(description="Whether an alert is to be heard of.")
class SuppressAlertInput:
    suppressed: bool = strawberry.field(
        description="Whether nobody wants to hear of its changes; false: they are announced again."
    )
