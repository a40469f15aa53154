"""Credentials as the schema shows them. A secret is in the answer that creates it and nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry
from sqlalchemy import Row

from schema.kernel.operations import Info
from schema.kernel.rows import resolved_field
from schema.organizations.enums import Role


@strawberry.type(description="A machine's credential.")
class ApiKey:
    id: strawberry.ID = strawberry.field(description="`key-…`.")
    name: str = strawberry.field(description="What it is for.")
    role: Role = strawberry.field(description="Its role.")
    prefix: str = strawberry.field(description="The first 10 characters of the secret.")
    registry_id: strawberry.ID | None = strawberry.field(description="The registry a sensor's key is bound to.")
    created_by: str = strawberry.field(description="Who made it: a user's id, another key's, or `operator`.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null: never.")
    last_used_at: datetime | None = strawberry.field(
        name="lastUsed", description="Last use, to the minute; null: never used."
    )


@strawberry.type(description="A new API key with its secret.")
class CreatedApiKey(ApiKey):
    secret: str = strawberry.field(description="The key itself, `hg_ak_…`. It cannot be shown again.")

    @classmethod
    def with_secret(cls, row: Row[Any], secret: str) -> CreatedApiKey:
        return cls(**row._asdict(), secret=secret)


@strawberry.type(description="A person's token: it acts as that person, with the role of the moment.")
class PersonalAccessToken:
    id: strawberry.ID = strawberry.field(description="`pat-…`.")
    name: str = strawberry.field(description="What it is for.")
    prefix: str = strawberry.field(description="The first 10 characters of the secret.")
    permissions: list[str] | None = strawberry.field(description="What it is limited to; null: all of the role.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null: never.")
    last_used_at: datetime | None = strawberry.field(
        name="lastUsed", description="Last use, to the minute; null: never used."
    )


@strawberry.type(description="A new personal access token with its secret.")
class CreatedPersonalAccessToken(PersonalAccessToken):
    secret: str = strawberry.field(description="The token itself, `hg_pat_…`. It cannot be shown again.")

    @classmethod
    def with_secret(cls, row: Row[Any], secret: str) -> CreatedPersonalAccessToken:
        return cls(**row._asdict(), secret=secret)


@strawberry.type(description="A signed-in browser.")
class Session:
    id: strawberry.ID = strawberry.field(description="`ses-…`.")
    created_at: datetime = strawberry.field(description="When it was signed in.")
    last_seen_at: datetime = strawberry.field(description="Last use, to the minute.")
    expires_at: datetime = strawberry.field(description="When it ends at the latest.")
    ip: str = strawberry.field(description="Where it was signed in from.")
    user_agent: str = strawberry.field(description="What the browser called itself.")

    @resolved_field(description="Whether this request came with it.")
    def current(self, info: Info) -> bool:
        return self.id == info.context.principal.credential_id
