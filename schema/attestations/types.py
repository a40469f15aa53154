"""Attestations as the schema shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import strawberry

from schema.attestations.enums import AttestationCategory, AttestationStatus, Outcome, ScopeType, VexFormat
from schema.kernel.rows import part_of_source, resolved_field


@strawberry.type(description="What an attestation is about.")
class AttestationScope:
    scope_type: ScopeType = strawberry.field(name="type", description="`tag`, `historical` or `blanket`.")
    tag_id: strawberry.ID | None = strawberry.field(description="The tag, of the scope `tag`.")
    as_of: datetime | None = strawberry.field(
        name="asOfDate", description="What was found until then, of the scope `historical`."
    )


@strawberry.type(description="Something that happened to an attestation.")
class AttestationEvent:
    action: str = strawberry.field(description="`created`, `renewed`, `revoked` or `expired`.")
    actor: str = strawberry.field(description="Id of the user or API key; `system:expiry` when its time had come.")
    at: datetime = strawberry.field(description="When.")
    reason: str | None = strawberry.field(description="Why.")
    expires_at: datetime | None = strawberry.field(description="Until when it holds, or held, from then on.")


@strawberry.type(
    description="A statement that a flaw in a package need not be fixed. While it is ACTIVE it is an exception."
)
class Attestation:
    id: strawberry.ID = strawberry.field(description="`att-…`.")
    cve_id: str = strawberry.field(description="The flaw.")
    package_name: str = strawberry.field(name="package", description="Name of the package.")
    category: AttestationCategory = strawberry.field(description="Why it need not be fixed.")
    reason: str = strawberry.field(description="The same in words.")
    evidence: str | None = strawberry.field(description="What proves it.")
    scope: AttestationScope = part_of_source(description="What it is about.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null: when it is revoked.")
    status: AttestationStatus = strawberry.field(description="Where it stands.")
    attested_by: str = strawberry.field(description="Id of the user or API key.")
    created_at: datetime = strawberry.field(description="When.")
    updated_at: datetime = strawberry.field(description="When it last changed.")
    covers: int = strawberry.field(description="How many vulnerabilities it covers now.")

    @resolved_field(description="What happened to it, oldest first.", reads=("history",))
    def history(self) -> list[AttestationEvent]:
        return [
            AttestationEvent(
                action=entry["action"],
                actor=entry["actor"],
                at=entry["at"],
                reason=entry.get("reason"),
                expires_at=entry.get("expiresAt"),
            )
            for entry in cast("Any", self).history
        ]


@strawberry.type(description="A VEX document. The same attestations give the same bytes.")
class VexFile:
    media_type: str = strawberry.field(description="Like `application/json`.")
    filename: str = strawberry.field(description="A name for the file.")
    content: str = strawberry.field(description="The document.")


@strawberry.type(description="What became of a statement of a VEX document, or of a part of it.")
class VexResult:
    position: int = strawberry.field(description="Place of the statement in its document, from 0.")
    outcome: Outcome = strawberry.field(description="What became of it.")
    cve_id: str | None = strawberry.field(description="The flaw; null: it names none.")
    product: str | None = strawberry.field(description="The product, as the document names it.")
    attestation_id: strawberry.ID | None = strawberry.field(description="The attestation it is now.")
    message: str | None = strawberry.field(description="Why there is none.")


@strawberry.type(description="What came of a VEX document.")
class VexImport:
    format: VexFormat = strawberry.field(description="What it is written in.")
    document: str = strawberry.field(description="SHA-256 of what it says, in hexadecimal.")
    created: int = strawberry.field(description="Attestations that were made.")
    unchanged: int = strawberry.field(description="Attestations that were there.")
    skipped: int = strawberry.field(description="Statements that excuse nothing.")
    refused: int = strawberry.field(description="Statements, or parts of them, that cannot be attested.")
    results: list[VexResult] = strawberry.field(description="Statement by statement.")
