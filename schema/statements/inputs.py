"""What trusting a key takes."""

from __future__ import annotations

import strawberry

from schema.kernel.validation import Constraint, constrained


@strawberry.input(description="A public key whose signatures are believed.")
class TrustedKeyInput:
    name: str = constrained(
        Constraint(min_length=1, max_length=100), description="Whose it is, like `release pipeline`."
    )
    pem: str = constrained(
        Constraint(min_length=1, max_length=10_000), description="The public key in PEM: ECDSA, Ed25519 or RSA."
    )
