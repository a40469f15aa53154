"""Triage as the schema shows it."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.triage.enums import RuleStatus, TriageOrigin
from schema.vulnerabilities.enums import TriageStatus


@strawberry.type(description="What became of one vulnerability.")
class TriageResult:
    id: strawberry.ID = strawberry.field(description="`vuln-…`.")
    status: TriageStatus | None = strawberry.field(description="Its status now; null: there is no such vulnerability.")
    changed: bool = strawberry.field(description="Whether anything has changed.")
    error: str | None = strawberry.field(description="Why nothing has; null: nothing was wrong.")


@strawberry.type(description="A decision about many vulnerabilities.")
class BulkTriage:
    operation_id: strawberry.ID | None = strawberry.field(
        description="`trg-…`, by which it can be undone; null: nothing has changed."
    )
    matched: int = strawberry.field(description="How many it was about.")
    changed: int = strawberry.field(description="How many have changed.")
    refused: int = strawberry.field(description="How many could not be changed.")
    results: list[TriageResult] = strawberry.field(description="Each of them, in the order they were given.")


@strawberry.type(description="A decision that was made, and can be taken back.")
class TriageOperation:
    id: strawberry.ID = strawberry.field(description="`trg-…`.")
    actor: str = strawberry.field(description="Id of the user or API key.")
    changed: int = strawberry.field(description="How many vulnerabilities it changed.")
    comment: str | None = strawberry.field(description="What was said.")
    created_at: datetime = strawberry.field(description="When.")
    undoes: strawberry.ID | None = strawberry.field(description="The operation it took back.")
    undone_at: datetime | None = strawberry.field(description="When it was taken back itself.")


@strawberry.type(description="One change of a vulnerability's triage.")
class TriageEvent:
    id: strawberry.ID = strawberry.field(description="`tev-…`.")
    origin: TriageOrigin = strawberry.field(description="What made the decision.")
    actor: str = strawberry.field(description="Id of the user or API key, or `system:…`.")
    operation_id: strawberry.ID | None = strawberry.field(
        description="The operation, rule, attestation or scan it was part of."
    )
    from_status: TriageStatus = strawberry.field(description="Status before.")
    to_status: TriageStatus = strawberry.field(description="Status after.")
    assignee_id: strawberry.ID | None = strawberry.field(description="The new assignee, if that has changed.")
    reason: str | None = strawberry.field(description="The new reason, if that has changed.")
    sla_deadline: datetime | None = strawberry.field(description="The new deadline, if that has changed.")
    changes: list[str] = strawberry.field(
        description="What else has changed than the status: assigneeId, reason, slaDeadline."
    )
    comment: str | None = strawberry.field(description="What was said.")
    created_at: datetime = strawberry.field(description="When.")


@strawberry.type(description="A decision about all vulnerabilities alike, those there are and those to come.")
class TriageRule:
    id: strawberry.ID = strawberry.field(description="`rul-…`.")
    cve_id: str | None = strawberry.field(description="The flaw; null: whatever.")
    package_name: str | None = strawberry.field(name="package", description="The package; null: whatever.")
    image_id: strawberry.ID | None = strawberry.field(description="The image; null: every image.")
    tag_pattern: str | None = strawberry.field(description="A glob of tags; null: whatever the tag.")
    decision: TriageStatus = strawberry.field(name="decidesOn", description="What they become.")
    assignee_id: strawberry.ID | None = strawberry.field(description="Who takes care of them.")
    reason: str | None = strawberry.field(description="Why.")
    comment: str | None = strawberry.field(description="What is said in their history.")
    status: RuleStatus = strawberry.field(description="Where it stands.")
    expires_at: datetime | None = strawberry.field(description="When it ends.")
    created_by: str = strawberry.field(description="Id of the user or API key.")
    created_at: datetime = strawberry.field(description="When.")
    decided_by: str | None = strawberry.field(description="Who approved, rejected or revoked it.")
    decided_at: datetime | None = strawberry.field(description="When.")


@strawberry.type(description="A filter of the list of vulnerabilities under a name.")
class SavedFilter:
    id: strawberry.ID = strawberry.field(description="`flt-…`.")
    name: str = strawberry.field(description="Its name.")
    query: str = strawberry.field(description="A query string of GET /api/vulnerabilities.")
    shared: bool = strawberry.field(description="Whether all members see it.")
    owner: str = strawberry.field(description="Id of the user or API key that saved it.")
    created_at: datetime = strawberry.field(description="When.")
    updated_at: datetime = strawberry.field(description="When it last changed.")
