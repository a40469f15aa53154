"""What a caller says to start a scan."""

from __future__ import annotations

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.scans.enums import Engine

PLATFORM = Constraint(pattern=r"[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?", hint="must look like linux/amd64 or linux/arm64/v8")


@strawberry.input(description="An image to scan, and the engines to scan it with.")
class TriggerScanInput:
    image: str = constrained(
        Constraint(min_length=1, max_length=400),
        description="Reference: `ghcr.io/acme/api:1.4.7`, `nginx`, `…@sha256:…`. Without a tag, `latest`.",
    )
    scanners: list[Engine] = constrained(
        Constraint(min_length=1, max_length=12), description="Engines, at least one; there is no default."
    )
    registry_id: strawberry.ID | None = strawberry.field(
        default=None, description="Registry whose credentials to use; else the one whose host matches, else anonymous."
    )
    platform: str | None = constrained(
        PLATFORM,
        description="Which platform of a multi-platform image; default linux/amd64, or the only one there is.",
        default=None,
    )
    priority: int | None = constrained(
        Constraint(minimum=-10, maximum=10), description="-10 to 10; higher runs first. Default 0.", default=None
    )
    force: bool | None = strawberry.field(
        default=None, description="Scan again although neither the image nor the advisory data changed."
    )
    upload_id: strawberry.ID | None = strawberry.field(
        default=None, description="Scan this uploaded archive instead of pulling; `image` is the name to file it under."
    )
