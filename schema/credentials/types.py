"""Credentials as the schema shows them. A secret is in the answer that creates it and nowhere else."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from schema.kernel.pages import PageMeta
from schema.kernel.pagination import Page
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
    last_used: datetime | None = strawberry.field(description="Last use, to the minute; null: never used.")

    @classmethod
    def from_row(cls, row: Any) -> ApiKey:
        return ApiKey(**_key_fields(row))


@strawberry.type(description="A new API key with its secret.")
class CreatedApiKey(ApiKey):
    secret: str = strawberry.field(description="The key itself, `hg_ak_…`. It cannot be shown again.")

    @classmethod
    def with_secret(cls, row: Any, secret: str) -> CreatedApiKey:
        return CreatedApiKey(**_key_fields(row), secret=secret)


def _key_fields(row: Any) -> dict[str, Any]:
    return {
        "id": strawberry.ID(row.id),
        "name": row.name,
        "role": row.role,
        "prefix": row.prefix,
        "registry_id": None if row.registry_id is None else strawberry.ID(row.registry_id),
        "created_by": row.created_by,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used": row.last_used_at,
    }


@strawberry.type(description="A page of API keys.")
class ApiKeyPage:
    items: list[ApiKey] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")

    @classmethod
    def of(cls, page: Page[Any]) -> ApiKeyPage:
        return cls(items=[ApiKey.from_row(row) for row in page.items], meta=PageMeta.of(page.meta))


@strawberry.type(description="A person's token: it acts as that person, with the role of the moment.")
class PersonalAccessToken:
    id: strawberry.ID = strawberry.field(description="`pat-…`.")
    name: str = strawberry.field(description="What it is for.")
    prefix: str = strawberry.field(description="The first 10 characters of the secret.")
    permissions: list[str] | None = strawberry.field(description="What it is limited to; null: all of the role.")
    created_at: datetime = strawberry.field(description="When it was made.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null: never.")
    last_used: datetime | None = strawberry.field(description="Last use, to the minute; null: never used.")

    @classmethod
    def from_row(cls, row: Any) -> PersonalAccessToken:
        return PersonalAccessToken(**_token_fields(row))


@strawberry.type(description="A new personal access token with its secret.")
class CreatedPersonalAccessToken(PersonalAccessToken):
    secret: str = strawberry.field(description="The token itself, `hg_pat_…`. It cannot be shown again.")

    @classmethod
    def with_secret(cls, row: Any, secret: str) -> CreatedPersonalAccessToken:
        return CreatedPersonalAccessToken(**_token_fields(row), secret=secret)


def _token_fields(row: Any) -> dict[str, Any]:
    return {
        "id": strawberry.ID(row.id),
        "name": row.name,
        "prefix": row.prefix,
        "permissions": row.permissions,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "last_used": row.last_used_at,
    }


@strawberry.type(description="A page of personal access tokens.")
class PersonalAccessTokenPage:
    items: list[PersonalAccessToken] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")

    @classmethod
    def of(cls, page: Page[Any]) -> PersonalAccessTokenPage:
        return cls(items=[PersonalAccessToken.from_row(row) for row in page.items], meta=PageMeta.of(page.meta))


@strawberry.type(description="A signed-in browser.")
class Session:
    id: strawberry.ID = strawberry.field(description="`ses-…`.")
    current: bool = strawberry.field(description="Whether this request came with it.")
    created_at: datetime = strawberry.field(description="When it was signed in.")
    last_seen_at: datetime = strawberry.field(description="Last use, to the minute.")
    expires_at: datetime = strawberry.field(description="When it ends at the latest.")
    ip: str = strawberry.field(description="Where it was signed in from.")
    user_agent: str = strawberry.field(description="What the browser called itself.")

    @classmethod
    def from_row(cls, row: Any, *, current_id: str) -> Session:
        return cls(
            id=strawberry.ID(row.id),
            current=row.id == current_id,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            expires_at=row.expires_at,
            ip=row.ip,
            user_agent=row.user_agent,
        )


@strawberry.type(description="A page of sessions.")
class SessionPage:
    items: list[Session] = strawberry.field(description="The rows.")
    meta: PageMeta = strawberry.field(description="Where the page stands.")

    @classmethod
    def of(cls, page: Page[Any], *, current_id: str) -> SessionPage:
        items = [Session.from_row(row, current_id=current_id) for row in page.items]
        return cls(items=items, meta=PageMeta.of(page.meta))
