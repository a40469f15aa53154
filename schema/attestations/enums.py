"""The enums of attestations as the schema names them."""

from __future__ import annotations

import strawberry

from schema.attestations.models import AttestationCategory, AttestationStatus, ScopeType

strawberry.enum(AttestationCategory, graphql_name_from="value", description="Why a flaw need not be fixed.")
strawberry.enum(AttestationStatus, description="Where an attestation stands. Only an ACTIVE one covers anything.")
strawberry.enum(
    ScopeType,
    graphql_name_from="value",
    description="What it is about: one `tag`, what was found up to a date (`historical`), or everything (`blanket`).",
)

__all__ = ["AttestationCategory", "AttestationStatus", "ScopeType"]
