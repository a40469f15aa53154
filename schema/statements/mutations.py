"""Changing which keys are trusted."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.kernel.operations import Info, mutation_field
from schema.statements import trusting
from schema.statements.inputs import TrustedKeyInput
from schema.statements.types import TrustedKey


@strawberry.type
class StatementsMutation:
    @mutation_field(
        "images:admin",
        description=(
            "Trusts a key: later scans of registries look for statements beside their image, and say which of them it signed. "
            "CONFLICT when it is trusted already, its name is taken, or there are 50."
        ),
    )
    async def add_trusted_key(
        self, info: Info, input: Annotated[TrustedKeyInput, strawberry.argument(description="The key.")]
    ) -> TrustedKey:
        return cast("TrustedKey", await trusting.trust(info.context, input))

    @mutation_field("images:admin", description="Trusts a key no longer. NOT_FOUND. Returns its id.")
    async def remove_trusted_key(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`tky-…`.")]
    ) -> strawberry.ID:
        await trusting.distrust(info.context, id)
        return id
