"""Receiving what registries tell us, and the secrets they prove themselves with."""

from __future__ import annotations

from typing import Annotated, cast
from urllib.parse import urlencode

import strawberry

from schema.audit.repository import record
from schema.kernel.context import RequestContext
from schema.kernel.operations import Info, mutation_field, received_field
from schema.kernel.scalars import ByteStream, Delivery
from schema.registries.events import repository
from schema.registries.events.proof import PROOFS, SLUGS, slug_of
from schema.registries.events.receiving import new_secret, receive, seal_secret
from schema.registries.events.types import PushReceipt, RegistryWebhook

RegistryId = Annotated[strawberry.ID, strawberry.argument(description="`reg-…`.")]
_SLUGS = ", ".join(sorted(SLUGS))


@strawberry.type
class RegistryEventsMutation:
    @received_field(
        None,
        public=True,
        description=(
            "Receives what a registry tells of its pushes, in its provider's own format, with the secret as the provider "
            "sends it. 120 a minute of each registry, 256 kB each. UNAUTHORIZED for a registry that does not exist and for "
            "a secret that is not its own alike."
        ),
    )
    async def receive_registry_push(
        self,
        info: Info,
        provider: Annotated[str, strawberry.argument(description=f"One of {_SLUGS}; like `harbor`.")],
        delivery: Annotated[Delivery, strawberry.argument(description="The event.")],
        registry: Annotated[str | None, strawberry.argument(description="The registry's id, like `reg-…`.")] = None,
        token: Annotated[
            str | None, strawberry.argument(description="The secret, of a provider that sends no header.")
        ] = None,
    ) -> PushReceipt:
        receipt = await receive(
            info.context,
            slug=provider,
            registry_id=registry or "",
            token=token,
            stream=cast("ByteStream", delivery),
        )
        return cast("PushReceipt", receipt)

    @mutation_field(
        "registries:admin",
        description="Makes a new secret for a registry's webhook and shows it once; the one before counts no more.",
    )
    async def create_registry_webhook(self, info: Info, id: RegistryId) -> RegistryWebhook:
        context, secret = info.context, new_secret()
        async with context.read() as session:
            await repository.check_registry(session, context.organization_id, id)
        # Before the transaction: who wraps keys may be a service elsewhere.
        sealed = await seal_secret(
            context.services.keys, secret, organization_id=context.organization_id, registry_id=id
        )
        async with context.write() as session:
            registry = await repository.check_registry(session, context.organization_id, id)
            await repository.keep_secret(session, context.organization_id, id, sealed, now=context.now())
            await _record(context, "registry.webhook_created", id)
        slug = slug_of(registry.provider)
        proof = PROOFS[SLUGS[slug]]
        query = {"registry": registry.id} | ({"token": secret} if proof.token else {})
        return RegistryWebhook(
            registry_id=strawberry.ID(registry.id),
            url=f"{context.services.limits.public_url.rstrip('/')}/api/webhooks/{slug}?{urlencode(query)}",
            secret=secret,
            header=proof.header or proof.signature,
        )

    @mutation_field(
        "registries:admin", description="Removes the secret of a registry's webhook: nothing is received any more."
    )
    async def delete_registry_webhook(self, info: Info, id: RegistryId) -> strawberry.ID:
        context = info.context
        async with context.write() as session:
            await repository.check_registry(session, context.organization_id, id)
            await repository.keep_secret(session, context.organization_id, id, None, now=context.now())
            await _record(context, "registry.webhook_deleted", id)
        return id


async def _record(context: RequestContext, action: str, registry_id: str) -> None:
    async with context.write() as session:
        await record(
            session,
            organization_id=context.organization_id,
            actor=context.principal.actor_id,
            action=action,
            target=f"registry:{registry_id}",
            ip=context.client_ip,
            now=context.now(),
        )
