"""All SQL of trusted keys and of the statements that were found beside images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.errors import not_found
from schema.kernel.tenancy import tenant
from schema.statements.models import ImageStatement, TrustedKey


async def list_keys(session: AsyncSession, organization_id: str) -> Sequence[TrustedKey]:
    """By name. There are a few dozen at most."""
    statement = select(TrustedKey).where(tenant(TrustedKey, organization_id)).order_by(col(TrustedKey.name))
    return (await session.execute(statement)).scalars().all()


async def load_key(session: AsyncSession, organization_id: str, key_id: str) -> TrustedKey:
    """NOT_FOUND."""
    statement = select(TrustedKey).where(tenant(TrustedKey, organization_id), col(TrustedKey.id) == key_id)
    found = (await session.execute(statement)).scalar_one_or_none()
    if found is None:
        raise not_found("Trusted key")
    return found


async def insert_key(session: AsyncSession, values: Mapping[str, Any]) -> None:
    await session.execute(insert(TrustedKey).values(**values))


async def delete_key(session: AsyncSession, organization_id: str, key_id: str) -> None:
    await session.execute(delete(TrustedKey).where(tenant(TrustedKey, organization_id), col(TrustedKey.id) == key_id))


async def replace_statements(
    session: AsyncSession, organization_id: str, scan_id: str, rows: Sequence[Mapping[str, Any]]
) -> None:
    """What a scan found; an attempt before may have found something else."""
    await session.execute(
        delete(ImageStatement).where(tenant(ImageStatement, organization_id), col(ImageStatement.scan_id) == scan_id)
    )
    if rows:
        await session.execute(insert(ImageStatement), list(rows))


async def statements_of(session: AsyncSession, organization_id: str, scan_id: str) -> Sequence[ImageStatement]:
    statement = (
        select(ImageStatement)
        .where(tenant(ImageStatement, organization_id), col(ImageStatement.scan_id) == scan_id)
        .order_by(col(ImageStatement.outcome), col(ImageStatement.predicate_type), col(ImageStatement.digest))
    )
    return (await session.execute(statement)).scalars().all()
