"""Trusting a key, and no longer."""

from __future__ import annotations

from schema.audit.repository import record
from schema.kernel.context import RequestContext
from schema.kernel.errors import conflict
from schema.kernel.ids import IdPrefix, new_id
from schema.organizations.repository import hold_plan
from schema.statements import repository
from schema.statements.inputs import TrustedKeyInput
from schema.statements.models import TrustedKey
from schema.statements.verifying import read_public_key

MAX_KEYS = 50  # each is tried on each signature


async def trust(context: RequestContext, given: TrustedKeyInput) -> TrustedKey:
    """BAD_REQUEST for what is no public key; CONFLICT when it is trusted already, its name is taken, or there are too many."""
    read, now = read_public_key(given.pem), context.now()
    key_id = new_id(IdPrefix.TRUSTED_KEY)
    values = {
        "id": key_id,
        "organization_id": context.organization_id,
        "name": given.name,
        "pem": read.pem,
        "fingerprint": read.fingerprint,
        "algorithm": read.algorithm,
        "created_by": context.principal.actor_id,
        "created_at": now,
    }
    async with context.write() as session:
        await hold_plan(session, context.organization_id)  # so that nobody else adds one meanwhile
        trusted = await repository.list_keys(session, context.organization_id)
        if len(trusted) >= MAX_KEYS:
            raise conflict(f"An organization can trust {MAX_KEYS} keys; remove one that is no longer used")
        if any(each.fingerprint == read.fingerprint for each in trusted):
            raise conflict("The key is trusted already")
        if any(each.name == given.name for each in trusted):
            raise conflict("Another key has that name")
        await repository.insert_key(session, values)
        await _record(context, "trusted_key.added", key_id, given.name, read.fingerprint)
        return await repository.load_key(session, context.organization_id, key_id)


async def distrust(context: RequestContext, key_id: str) -> None:
    """NOT_FOUND. What it has verified stays as it was told then."""
    async with context.write() as session:
        found = await repository.load_key(session, context.organization_id, key_id)
        await repository.delete_key(session, context.organization_id, key_id)
        await _record(context, "trusted_key.removed", key_id, found.name, found.fingerprint)


async def _record(context: RequestContext, action: str, key_id: str, name: str, fingerprint: str) -> None:
    async with context.write() as session:
        await record(
            session,
            organization_id=context.organization_id,
            actor=context.principal.actor_id,
            action=action,
            target=f"trusted_key:{key_id}",
            ip=context.client_ip,
            details={"name": name, "fingerprint": fingerprint},
            now=context.now(),
        )
