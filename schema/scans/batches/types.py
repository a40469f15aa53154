"""Batches as the schema shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.scans.batches.rules import BatchStatus
from schema.scans.enums import Engine

strawberry.enum(
    BatchStatus,
    name="ScanBatchStatus",
    description="How a batch of scans stands. SELECTING: tags are still being looked for. COMPLETE: every scan has ended.",
)


@strawberry.type(description="Tags that are scanned at once.")
class ScanBatch:
    id: strawberry.ID = strawberry.field(description="`bat-…`.")
    images: str = strawberry.field(description="Globs of the images, by commas, like `ghcr.io/acme/*`.")
    tag_include: str = strawberry.field(description="Globs of their tags, by commas, like `v*,latest`.")
    tag_exclude: str = strawberry.field(description="Globs of tags that are left out, by commas.")
    registry_id: strawberry.ID | None = strawberry.field(description="The registry whose images are meant; null: any.")
    scanners: list[Engine] = strawberry.field(description="Engines; empty: those of each image's registry, or all.")
    force: bool = strawberry.field(description="Whether what has not changed is scanned again.")
    status: BatchStatus = strawberry.field(description="How it stands.")
    message: str | None = strawberry.field(description="Why not every tag could be looked at.")
    scan_count: int = strawberry.field(description="Its scans so far; a tag that was being scanned already has none.")
    queued_count: int = strawberry.field(description="Those that wait.")
    in_progress_count: int = strawberry.field(description="Those that run.")
    complete_count: int = strawberry.field(description="Those that are complete.")
    failed_count: int = strawberry.field(description="Those that failed.")
    cancelled_count: int = strawberry.field(description="Those that were cancelled.")
    requested_by: str = strawberry.field(description="Who asked: kind and id, like `user:usr-…` or `system:schedule`.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    selected_at: datetime | None = strawberry.field(description="When every tag had been looked at.")
    cancelled_at: datetime | None = strawberry.field(description="When it was cancelled.")


@strawberry.input(description="Tags to scan at once.")
class StartScanBatchInput:
    images: str = constrained(
        Constraint(min_length=1, max_length=1000),
        description="Globs of images, by commas, like `ghcr.io/acme/*`; `*` goes over slashes, and alone means all.",
    )
    tag_include: str | None = constrained(
        Constraint(max_length=1000),
        description="Globs of tags, by commas, like `v*,latest`. Default `*`.",
        default=None,
    )
    tag_exclude: str | None = constrained(
        Constraint(max_length=1000), description="Globs of tags to leave out, by commas.", default=None
    )
    registry_id: strawberry.ID | None = strawberry.field(default=None, description="Only images of this registry.")
    scanners: list[Engine] | None = constrained(
        Constraint(max_length=12),
        description="Engines; by default those of each image's registry, or all.",
        default=None,
    )
    force: bool | None = strawberry.field(
        default=None, description="Scan again although neither the image nor the advisory data changed."
    )
