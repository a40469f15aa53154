"""The enums of attestations as the schema names them."""

from __future__ import annotations

import strawberry

from schema.attestations.models import AttestationCategory, AttestationStatus, ScopeType
from schema.attestations.vex.importing import Outcome
from schema.attestations.vex.statements import VexFormat

strawberry.enum(AttestationCategory, graphql_name_from="value", description="Why a flaw need not be fixed.")
strawberry.enum(AttestationStatus, description="Where an attestation stands. Only an ACTIVE one covers anything.")
strawberry.enum(
    ScopeType,
    graphql_name_from="value",
    description="What it is about: one `tag`, what was found up to a date (`historical`), or everything (`blanket`).",
)

strawberry.enum(
    VexFormat,
    graphql_name_from="value",
    description="Formats of VEX. openvex: OpenVEX 0.2. cyclonedx: CycloneDX 1.6. csaf: the VEX profile of CSAF 2.0.",
)
strawberry.enum(
    Outcome,
    name="VexOutcome",
    graphql_name_from="value",
    description="What became of a statement: an attestation was `created`, or was there (`unchanged`); it excuses nothing "
    "(`skipped`); it cannot be read, or nobody has that (`refused`).",
)

__all__ = ["AttestationCategory", "AttestationStatus", "Outcome", "ScopeType", "VexFormat"]
