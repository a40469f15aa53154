"""What whoever sets the server up says."""

from __future__ import annotations

import strawberry

from schema.kernel.validation import Constraint, constrained

NAME = Constraint(
    min_length=1, max_length=200, pattern=r"\S(.*\S)?", hint="must not be blank, nor begin or end with a space"
)
# Length is what makes a password strong (NIST SP 800-63B); the upper bound keeps hashing cheap.
NEW_PASSWORD = Constraint(min_length=12, max_length=256)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# An addr-spec of RFC 5322 without comments, quotes and address literals; a host without a dot may be an intranet's.
EMAIL = Constraint(
    max_length=254,
    pattern=rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\.{_LABEL})*",
    hint="must be an e-mail address",
)


@strawberry.input(description="The first organization and its owner.")
class CompleteSetupInput:
    token: str = constrained(Constraint(min_length=1, max_length=100), description="The token printed at first start.")
    organization: str = constrained(NAME, description="Name of the organization.")
    email: str = constrained(EMAIL, description="The owner's e-mail address, to sign in with.")
    password: str = constrained(NEW_PASSWORD, description="The owner's password, at least 12 characters.")
    name: str = constrained(NAME, description="The owner's name.")
