"""Webhooks of registries as the schema shows them. A secret is in the answer that makes it and nowhere else."""

from __future__ import annotations

from datetime import datetime

import strawberry


@strawberry.type(description="A new secret for a registry's webhook, and what to enter at the provider.")
class RegistryWebhook:
    registry_id: strawberry.ID = strawberry.field(description="`reg-…`.")
    url: str = strawberry.field(
        description="The address to enter; it begins with a slash where the server is not told its public address."
    )
    secret: str = strawberry.field(description="The secret. It cannot be shown again.")
    header: str | None = strawberry.field(
        description="The header in which the provider sends the secret, or signs with it; null: it is in the address."
    )


@strawberry.type(description="What a registry told us, and what came of it.")
class RegistryEvent:
    id: strawberry.ID = strawberry.field(description="`evt-…`.")
    images: list[str] = strawberry.field(description="Images of the registry that it named, as references.")
    outcome: str = strawberry.field(description="What was done, like `1 filed; 1 queued for a scan`.")
    received_at: datetime = strawberry.field(description="When it came.")


@strawberry.type(description="What was done with a delivery.")
class PushReceipt:
    outcome: str = strawberry.field(description="What was done, like `1 filed; 1 queued for a scan`.")
    duplicate: bool = strawberry.field(description="Whether it had been received before; then nothing was done again.")
