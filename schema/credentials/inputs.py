"""What a caller says to sign in and to make credentials."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.organizations.enums import Role
from schema.organizations.inputs import NAME


@strawberry.input(description="Who signs in.")
class LoginInput:
    # Bounds only: a form that is refused differently would tell which addresses can exist.
    email: str = constrained(Constraint(min_length=1, max_length=320), description="E-mail address.")
    password: str = constrained(Constraint(min_length=1, max_length=256), description="Password.")
    organization_id: strawberry.ID | None = strawberry.field(
        default=None, description="Organization to sign in to; default: the one joined first."
    )


@strawberry.input(description="A new API key.")
class CreateApiKeyInput:
    name: str = constrained(NAME, description="What it is for.")
    role: Role | None = strawberry.field(
        default=None, description="Its role, at most the creator's own and never owner. Default ci."
    )
    expires_at: datetime | None = strawberry.field(default=None, description="When it ends; default: never.")
    registry_id: strawberry.ID | None = strawberry.field(
        default=None, description="Makes it a sensor's key: it can then speak the sensor protocol and nothing else."
    )


@strawberry.input(description="A new personal access token.")
class CreatePersonalAccessTokenInput:
    name: str = constrained(NAME, description="What it is for.")
    expires_at: datetime | None = strawberry.field(default=None, description="When it ends; default: never.")
    permissions: list[str] | None = constrained(
        Constraint(min_length=1, max_length=200),
        description="Permissions to limit it to, out of `me { permissions }`; default: all of your role, as it changes.",
        default=None,
    )
