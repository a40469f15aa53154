"""What attestations take."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.attestations.enums import AttestationCategory, ScopeType
from schema.kernel.validation import Constraint, constrained

_REASON = Constraint(min_length=1, max_length=4000)
_EVIDENCE = Constraint(min_length=1, max_length=20_000)


@strawberry.input(description="What an attestation is about.")
class AttestationScopeInput:
    type: ScopeType = strawberry.field(description="`tag`, `historical` or `blanket`.")
    tag_id: strawberry.ID | None = constrained(
        Constraint(min_length=1, max_length=40), description="`tag-…`; required by `tag`, and no other.", default=None
    )
    as_of_date: datetime | None = strawberry.field(
        default=None,
        description="What was found until then; required by `historical`, and no other. Not in the future.",
    )


@strawberry.input(description="A statement that a flaw in a package need not be fixed.")
class AttestationInput:
    cve_id: str = constrained(Constraint(min_length=1, max_length=60), description="The flaw.")
    package: str = constrained(
        Constraint(min_length=1, max_length=300), description="Name of the package; it must have that flaw somewhere."
    )
    category: AttestationCategory = strawberry.field(description="Why it need not be fixed.")
    reason: str = constrained(_REASON, description="The same in words.")
    evidence: str | None = constrained(_EVIDENCE, description="What proves it: a link, a ticket, a text.", default=None)
    scope: AttestationScopeInput = strawberry.field(description="What it is about.")
    expires_at: datetime | None = strawberry.field(
        default=None, description="When it ends, and what it covers is open again. Null: when it is revoked."
    )


@strawberry.input(description="Until when an attestation is to hold.")
class RenewAttestationInput:
    expires_at: datetime | None = strawberry.field(
        default=strawberry.UNSET, description="The new end, which has to be given; null: when it is revoked."
    )
    reason: str | None = constrained(_REASON, description="Why it still holds, for its history.", default=None)


@strawberry.input(description="Why an attestation is revoked.")
class RevokeAttestationInput:
    reason: str = constrained(_REASON, description="Why it holds no more, for its history.")
