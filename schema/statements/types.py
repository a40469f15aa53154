"""Trusted keys and statements beside images as the schema shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.statements.models import StatementOutcome

strawberry.enum(
    StatementOutcome,
    graphql_name_from="value",
    description=(
        "verified: a trusted key signed it, and it is about this image. untrusted: no trusted key signed it. "
        "other_image: it is signed, and about something else. unreadable: it is no signed statement."
    ),
)


@strawberry.type(description="A public key whose signatures the organization believes.")
class TrustedKey:
    id: strawberry.ID = strawberry.field(description="`tky-…`.")
    name: str = strawberry.field(description="Whose it is.")
    algorithm: str = strawberry.field(description="Like `ecdsa-secp256r1`, `ed25519`.")
    fingerprint: str = strawberry.field(description="SHA-256 of the key in DER, hex.")
    pem: str = strawberry.field(description="The public key in PEM.")
    created_by: str = strawberry.field(description="Who added it.")
    created_at: datetime = strawberry.field(description="When.")


@strawberry.type(description="A statement that lay beside the image in its registry when the scan looked.")
class ImageStatement:
    digest: str = strawberry.field(description="Digest of the envelope.")
    outcome: StatementOutcome = strawberry.field(description="What it is worth.")
    predicate_type: str | None = strawberry.field(
        description="What it states, like `https://slsa.dev/provenance/v1`; null: none can be read."
    )
    signed_by: str | None = strawberry.field(description="The name of the trusted key that signed it, as it was then.")
    fingerprint: str | None = strawberry.field(description="Of that key.")
    message: str = strawberry.field(description="Why, for people.")
    size_bytes: int = strawberry.field(description="Size of the envelope.")
    found_at: datetime = strawberry.field(description="When the scan looked.")
