"""Reading credentials; their secrets cannot be read."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, cast

import strawberry

from schema.credentials import repository
from schema.credentials.rules import browser_user, person
from schema.credentials.types import ApiKey, PersonalAccessToken, Session
from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request

NamedSort = Annotated[str | None, strawberry.argument(description="createdAt, name; default createdAt:desc.")]
SessionSort = Annotated[str | None, strawberry.argument(description="createdAt, lastSeenAt; default createdAt:desc.")]


@strawberry.type
class CredentialsQuery:
    @query_field("api-keys:view", description="The organization's API keys, newest first, without the revoked ones.")
    async def api_keys(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: NamedSort = None,
        after: AfterCursor = None,
        search: SearchText = None,
    ) -> Page[ApiKey]:
        async with info.context.read() as session:
            return await repository.list_api_keys(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("api-keys:view", description="One API key.")
    async def api_key(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`key-…`.")]
    ) -> ApiKey:
        async with info.context.read() as session:
            return cast("ApiKey", await repository.get_api_key(session, info.context.organization_id, id))

    @query_field("tokens:self", description="Your personal access tokens, newest first, without the revoked ones.")
    async def personal_access_tokens(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: NamedSort = None,
        after: AfterCursor = None,
        search: SearchText = None,
    ) -> Page[PersonalAccessToken]:
        context = info.context
        user_id = person(context.principal)
        async with context.read() as session:
            return await repository.list_personal_access_tokens(
                session,
                context.organization_id,
                user_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("tokens:self", description="One of your personal access tokens.")
    async def personal_access_token(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`pat-…`.")]
    ) -> PersonalAccessToken:
        context = info.context
        user_id = person(context.principal)
        async with context.read() as session:
            row = await repository.get_personal_access_token(session, context.organization_id, user_id, id)
        return cast("PersonalAccessToken", row)

    @query_field(None, description="Your signed-in browsers, newest first. For a signed-in browser only.")
    async def sessions(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SessionSort = None,
        after: AfterCursor = None,
    ) -> Page[Session]:
        context = info.context
        user_id = browser_user(context.principal)
        async with context.read() as session:
            return await repository.list_sessions(
                session,
                context.organization_id,
                user_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                now=context.now(),
                idle=timedelta(seconds=context.services.limits.session_idle_seconds),
                wanted=wanted(info, "items"),
            )
