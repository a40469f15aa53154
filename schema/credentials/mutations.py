"""Signing in and out, and making and revoking credentials."""

from __future__ import annotations

from typing import Annotated

import strawberry

from schema.audit.repository import record
from schema.credentials import repository
from schema.credentials.inputs import CreateApiKeyInput, CreatePersonalAccessTokenInput, LoginInput
from schema.credentials.rules import browser_user, key_role, person, token_expiry, token_permissions
from schema.credentials.signing_in import LOGIN_BUDGET, end_session, sign_in
from schema.credentials.types import CreatedApiKey, CreatedPersonalAccessToken
from schema.kernel.clock import iso_utc
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.operations import Info, mutation_field, received_field
from schema.kernel.ports import RateBudget
from schema.kernel.principal import ActorKind, Role
from schema.kernel.secrets import TOKEN_PREFIX_LENGTH, TokenKind, new_token
from schema.kernel.validation import check_future
from schema.organizations.types import Me

API_KEY_BUDGET = RateBudget(family="api-keys.create", requests=10, seconds=60)
TOKEN_BUDGET = RateBudget(family="personal-access-tokens.create", requests=10, seconds=60)


@strawberry.type
class CredentialsMutation:
    @received_field(
        None,
        public=True,
        budget=LOGIN_BUDGET,
        description="Signs a browser in: sets the session cookie. Ten attempts a minute per address and per account.",
    )
    async def login(
        self, info: Info, input: Annotated[LoginInput, strawberry.argument(description="Who signs in.")]
    ) -> Me:
        context = info.context
        principal = await sign_in(
            context, email=input.email, password=input.password, organization_id=input.organization_id
        )
        async with context.read() as session:
            return await Me.load(session, principal)

    @mutation_field(None, description="Signs this browser out: ends its session and removes the cookie. True.")
    async def logout(self, info: Info) -> bool:
        context = info.context
        browser_user(context.principal)
        async with context.write() as session:
            await end_session(context, session, context.principal.credential_id)
        return True

    @mutation_field(None, description="Ends one of your sessions. For a signed-in browser only. Returns its id.")
    async def delete_session(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`ses-…`.")]
    ) -> strawberry.ID:
        browser_user(info.context.principal)
        async with info.context.write() as session:
            await end_session(info.context, session, id)
        return id

    @mutation_field("api-keys:create", budget=API_KEY_BUDGET, description="Makes an API key and shows it once.")
    async def create_api_key(
        self, info: Info, input: Annotated[CreateApiKeyInput, strawberry.argument(description="What to make.")]
    ) -> CreatedApiKey:
        context = info.context
        organization_id, now = context.organization_id, context.now()
        role = key_role(input.role, context.principal)
        if input.registry_id is not None:
            role = Role.SENSOR
        check_future(input.expires_at, now, path="expiresAt")
        key_id, secret = new_id(IdPrefix.API_KEY), new_token(TokenKind.API_KEY)
        async with context.write() as session:
            if input.registry_id is not None:
                await repository.check_registry(session, organization_id, input.registry_id)
            await repository.insert_api_key(
                session,
                {
                    "id": key_id,
                    "organization_id": organization_id,
                    "name": input.name,
                    "role": role,
                    "prefix": secret[:TOKEN_PREFIX_LENGTH],
                    "token_hash": context.services.mint.hash(secret),
                    "registry_id": input.registry_id,
                    "created_by": context.principal.actor_id,
                    "created_at": now,
                    "expires_at": input.expires_at,
                },
            )
            await record(
                session,
                organization_id=organization_id,
                actor=context.principal.actor_id,
                action="apikey.created",
                target=f"apikey:{key_id}",
                ip=context.client_ip,
                details={
                    "name": input.name,
                    "role": role.value,
                    "expiresAt": None if input.expires_at is None else iso_utc(input.expires_at),
                    "registryId": input.registry_id,
                },
                now=now,
            )
            row = await repository.get_api_key(session, organization_id, key_id)
        return CreatedApiKey.with_secret(row, secret)

    @mutation_field("api-keys:delete", description="Revokes an API key for good. Returns its id.")
    async def delete_api_key(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`key-…`.")]
    ) -> strawberry.ID:
        context = info.context
        async with context.write() as session:
            await repository.revoke_api_key(session, context.organization_id, id, now=context.now())
            await record(
                session,
                organization_id=context.organization_id,
                actor=context.principal.actor_id,
                action="apikey.revoked",
                target=f"apikey:{id}",
                ip=context.client_ip,
                now=context.now(),
            )
        return id

    @mutation_field(
        "tokens:self", budget=TOKEN_BUDGET, description="Makes a personal access token of yours and shows it once."
    )
    async def create_personal_access_token(
        self,
        info: Info,
        input: Annotated[CreatePersonalAccessTokenInput, strawberry.argument(description="What to make.")],
    ) -> CreatedPersonalAccessToken:
        context = info.context
        principal, now = context.principal, context.now()
        user_id = person(principal)
        permissions = token_permissions(input.permissions, principal)
        check_future(input.expires_at, now, path="expiresAt")
        token_id, secret = new_id(IdPrefix.PERSONAL_ACCESS_TOKEN), new_token(TokenKind.PERSONAL)
        async with context.write() as session:
            expires_at = input.expires_at
            if principal.actor_kind is ActorKind.TOKEN:
                presented = await repository.get_presented(session, principal)
                expires_at = token_expiry(input.expires_at, creator_expiry=presented.expires_at)
            await repository.insert_personal_access_token(
                session,
                {
                    "id": token_id,
                    "organization_id": principal.organization_id,
                    "user_id": user_id,
                    "name": input.name,
                    "permissions": permissions,
                    "prefix": secret[:TOKEN_PREFIX_LENGTH],
                    "token_hash": context.services.mint.hash(secret),
                    "created_at": now,
                    "expires_at": expires_at,
                },
            )
            await record(
                session,
                organization_id=principal.organization_id,
                actor=principal.actor_id,
                action="token.created",
                target=f"token:{token_id}",
                ip=context.client_ip,
                details={
                    "name": input.name,
                    "permissions": permissions,
                    "expiresAt": None if expires_at is None else iso_utc(expires_at),
                },
                now=now,
            )
            row = await repository.get_personal_access_token(session, principal.organization_id, user_id, token_id)
        return CreatedPersonalAccessToken.with_secret(row, secret)

    @mutation_field("tokens:self", description="Revokes one of your personal access tokens for good. Returns its id.")
    async def delete_personal_access_token(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`pat-…`.")]
    ) -> strawberry.ID:
        context = info.context
        user_id = person(context.principal)
        async with context.write() as session:
            await repository.revoke_personal_access_token(
                session, context.organization_id, user_id, id, now=context.now()
            )
            await record(
                session,
                organization_id=context.organization_id,
                actor=context.principal.actor_id,
                action="token.revoked",
                target=f"token:{id}",
                ip=context.client_ip,
                now=context.now(),
            )
        return id
