"""Reading trusted keys."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.kernel.operations import Info, query_field
from schema.statements import repository
from schema.statements.types import TrustedKey


@strawberry.type
class StatementsQuery:
    @query_field("images:view", description="The keys whose signatures are believed, by name.")
    async def trusted_keys(self, info: Info) -> list[TrustedKey]:
        async with info.context.read() as session:
            return cast("list[TrustedKey]", await repository.list_keys(session, info.context.organization_id))

    @query_field("images:view", description="One of them.")
    async def trusted_key(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`tky-…`.")]
    ) -> TrustedKey:
        async with info.context.read() as session:
            return cast("TrustedKey", await repository.load_key(session, info.context.organization_id, id))
