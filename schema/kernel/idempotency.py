"""`Idempotency-Key`: the answer to a create is kept for a day in the transaction that created, and given again.

A key belongs to one caller and one operation. The same key with another body is a CONFLICT, because answering the old
result would hide a mistake. Answers are kept sealed: the one to a new API key holds the key itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from schema.kernel.columns import TenantTable, json_field, time_field
from schema.kernel.errors import conflict
from schema.kernel.ports import KeyProvider
from schema.kernel.principal import Principal
from schema.kernel.secrets import TokenMint, seal, seal_context, unseal
from schema.kernel.tenancy import across_tenants, tenant

RETENTION = timedelta(hours=24)
MAX_KEY_LENGTH = 255


class IdempotentAnswer(TenantTable, table=True):
    __tablename__ = "idempotent_answers"

    organization_id: str = Field(primary_key=True, foreign_key="organizations.id")
    actor: str = Field(primary_key=True)
    key: str = Field(primary_key=True, max_length=MAX_KEY_LENGTH)
    fingerprint: str = Field(max_length=64)
    data: dict[str, str] = json_field(nullable=False)
    created_at: datetime = time_field(index=True)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's key together with what it was used for."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str, operation: str, variables: dict[str, Any], *, mint: TokenMint) -> IdempotencyKey:
        """The fingerprint is keyed: variables may hold a secret, which a plain hash would let a thief guess."""
        material = orjson.dumps([operation, variables], option=orjson.OPT_SORT_KEYS, default=str)
        return cls(key, mint.hash(material.decode()))


async def recall(
    session: AsyncSession, key: IdempotencyKey, principal: Principal, *, keys: KeyProvider, now: datetime
) -> Any:
    """The kept answer, or None when the key is new. CONFLICT when the key was used for something else."""
    statement = select(IdempotentAnswer).where(
        tenant(IdempotentAnswer, principal.organization_id),
        col(IdempotentAnswer.actor) == principal.actor_id,
        col(IdempotentAnswer.key) == key.key,
    )
    kept = (await session.execute(statement)).scalar_one_or_none()
    if kept is None:
        return None
    if kept.created_at < now - RETENTION:
        await session.delete(kept)
        await session.flush()
        return None
    if kept.fingerprint != key.fingerprint:
        raise conflict("This Idempotency-Key was already used for a different request; use a new key")
    return orjson.loads(await unseal(keys, kept.data, context=_place(key, principal)))


async def remember(
    session: AsyncSession, key: IdempotencyKey, principal: Principal, data: Any, *, keys: KeyProvider, now: datetime
) -> None:
    sealed = await seal(keys, orjson.dumps(data).decode(), context=_place(key, principal))
    await session.execute(
        insert(IdempotentAnswer).values(
            organization_id=principal.organization_id,
            actor=principal.actor_id,
            key=key.key,
            fingerprint=key.fingerprint,
            data=sealed,
            created_at=now,
        )
    )


def _place(key: IdempotencyKey, principal: Principal) -> bytes:
    return seal_context(
        organization_id=principal.organization_id,
        table=IdempotentAnswer.__tablename__,
        column="data",
        row_id=f"{principal.actor_id}|{key.key}",
    )


async def forget_expired(session: AsyncSession, *, now: datetime) -> None:
    """Housekeeping of the reconciler."""
    await session.execute(
        delete(IdempotentAnswer).where(
            across_tenants(IdempotentAnswer, because="expiry is the same for everybody"),
            col(IdempotentAnswer.created_at) < now - RETENTION,
        )
    )
