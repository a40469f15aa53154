"""All SQL of registries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.errors import conflict, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.ports import KeyProvider
from schema.kernel.secrets import seal, seal_context, unseal
from schema.kernel.tenancy import tenant
from schema.registries.models import Registry, RegistryProvider


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """How to reach a registry. The password is never printed."""

    host: str
    insecure: bool
    username: str | None
    password: str | None = field(repr=False)
    provider: RegistryProvider = RegistryProvider.CUSTOM
    options: Mapping[str, str] = field(default_factory=dict)


async def find_registry(
    session: AsyncSession, organization_id: str, *, registry_id: str | None, host: str
) -> str | None:
    """The registry asked for (NOT_FOUND unless it is the organization's and serves that host), or the host's, if any."""
    statement = select(col(Registry.id)).where(tenant(Registry, organization_id), col(Registry.host) == host)
    if registry_id is not None:
        statement = statement.where(col(Registry.id) == registry_id)
    found = (await session.execute(statement.order_by(col(Registry.id)).limit(1))).scalar_one_or_none()
    if found is None and registry_id is not None:
        raise not_found("Registry")
    return found


async def add_registry(
    session: AsyncSession,
    organization_id: str,
    *,
    name: str,
    provider: RegistryProvider,
    host: str,
    insecure: bool,
    username: str | None,
    password: str | None,
    keys: KeyProvider,
    now: datetime,
) -> str:
    """CONFLICT when the name is taken."""
    taken = select(col(Registry.id)).where(tenant(Registry, organization_id), col(Registry.name) == name)
    if (await session.execute(taken)).first() is not None:
        raise conflict(f"A registry named {name} already exists")
    registry_id = new_id(IdPrefix.REGISTRY)
    sealed = None if password is None else seal(keys, password, context=_context(organization_id, registry_id))
    await session.execute(
        insert(Registry).values(
            id=registry_id,
            organization_id=organization_id,
            name=name,
            provider=provider,
            host=host,
            insecure=insecure,
            username=username,
            sealed_password=sealed,
            created_at=now,
            updated_at=now,
        )
    )
    return registry_id


async def open_registry(
    session: AsyncSession, organization_id: str, registry_id: str, keys: KeyProvider
) -> RegistryAccess:
    """The registry with its credentials opened, for the worker that pulls."""
    statement = select(Registry).where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
    registry = (await session.execute(statement)).scalar_one_or_none()
    if registry is None:
        raise not_found("Registry")
    sealed = registry.sealed_password
    password = None if sealed is None else unseal(keys, sealed, context=_context(organization_id, registry_id))
    return RegistryAccess(
        host=registry.host,
        insecure=registry.insecure,
        username=registry.username,
        password=password,
        provider=registry.provider,
        options=registry.options,
    )


def _context(organization_id: str, registry_id: str) -> bytes:
    return seal_context(
        organization_id=organization_id, table="registries", column="sealed_password", row_id=registry_id
    )
