"""All SQL of attestations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.attestations.models import Attestation, AttestationCategory, AttestationStatus
from schema.images.models import Tag
from schema.kernel.errors import not_found
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_text, as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import across_tenants, tenant
from schema.vulnerabilities.models import Vulnerability

_COVERS = (
    select(func.count())
    .select_from(Vulnerability)
    .where(tenant(Vulnerability, parameter(ORGANIZATION)), col(Vulnerability.exception_id) == col(Attestation.id))
    .correlate(Attestation)
    .scalar_subquery()
)
ATTESTATIONS = Listing(
    Attestation,
    columns={
        **{
            name: getattr(Attestation, name)
            for name in ("id", "cve_id", "package_name", "reason", "evidence", "tag_id", "attested_by", "history")
        },
        "category": as_text(Attestation.category),
        "scope_type": as_text(Attestation.scope_type),
        "status": as_text(Attestation.status),
        "as_of": as_time(Attestation.as_of),
        "expires_at": as_time(Attestation.expires_at),
        "created_at": as_time(Attestation.created_at),
        "updated_at": as_time(Attestation.updated_at),
        "covers": _COVERS,
    },
    filters={
        "statuses": col(Attestation.status).in_(any_of("statuses")),
        "categories": col(Attestation.category).in_(any_of("categories")),
        "cve_id": col(Attestation.cve_id) == parameter("cve_id"),
        "package": col(Attestation.package_name) == parameter("package"),
        "search": or_(
            *(
                contains(column, "search")
                for column in (Attestation.cve_id, Attestation.package_name, Attestation.reason)
            )
        ),
    },
    sorts={"createdAt": col(Attestation.created_at)},
    default=SortOrder(column="createdAt", descending=True),
)


async def list_attestations(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    statuses: Sequence[AttestationStatus] | None = None,
    categories: Sequence[AttestationCategory] | None = None,
    cve_id: str | None = None,
    package: str | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    given = {
        "statuses": statuses,
        "categories": categories,
        "cve_id": cve_id or None,
        "package": package or None,
        "search": pattern(search),
    }
    return await fetch_page(session, ATTESTATIONS, organization_id, request, filters=given, wanted=wanted)


async def get_attestation(session: AsyncSession, organization_id: str, attestation_id: str) -> Any:
    statement = ATTESTATIONS.one(col(Attestation.id) == attestation_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Attestation")
    return row


async def load_attestation(session: AsyncSession, organization_id: str, attestation_id: str) -> Attestation:
    """Until the transaction ends nobody else changes it. NOT_FOUND."""
    statement = select(Attestation).where(tenant(Attestation, organization_id), col(Attestation.id) == attestation_id)
    found = (await session.execute(statement.with_for_update())).scalar_one_or_none()
    if found is None:
        raise not_found("Attestation")
    return found


async def insert_attestation(session: AsyncSession, values: Mapping[str, Any]) -> None:
    await session.execute(insert(Attestation).values(**values))


async def change_attestation(session: AsyncSession, organization_id: str, attestation_id: str, **values: Any) -> None:
    await session.execute(
        update(Attestation)
        .where(tenant(Attestation, organization_id), col(Attestation.id) == attestation_id)
        .values(**values)
    )


async def delete_attestation(session: AsyncSession, organization_id: str, attestation_id: str) -> None:
    await session.execute(
        delete(Attestation).where(tenant(Attestation, organization_id), col(Attestation.id) == attestation_id)
    )


async def images_with(session: AsyncSession, organization_id: str, cve_id: str, package: str) -> Sequence[str]:
    """Images in which the package has, or had, the flaw."""
    statement = (
        select(col(Vulnerability.image_id))
        .where(
            tenant(Vulnerability, organization_id),
            col(Vulnerability.cve_id) == cve_id,
            col(Vulnerability.package_name) == package,
        )
        .distinct()
    )
    return (await session.execute(statement)).scalars().all()


async def has_tag(session: AsyncSession, organization_id: str, tag_id: str) -> bool:
    statement = select(col(Tag.id)).where(tenant(Tag, organization_id), col(Tag.id) == tag_id)
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def covered_by(session: AsyncSession, organization_id: str, attestation_id: str) -> Sequence[Any]:
    """(id, status) of the vulnerabilities that the attestation covers."""
    statement = select(col(Vulnerability.id), as_text(Vulnerability.status).label("status")).where(
        tenant(Vulnerability, organization_id), col(Vulnerability.exception_id) == attestation_id
    )
    return (await session.execute(statement.order_by(col(Vulnerability.id)))).all()


def _due(now: datetime) -> Any:
    everybody = across_tenants(Attestation, because="the reconciler serves everybody")
    return select(Attestation).where(
        everybody,
        col(Attestation.status) == AttestationStatus.ACTIVE,
        col(Attestation.expires_at).is_not(None),
        col(Attestation.expires_at) <= now,
    )


async def expired(session: AsyncSession, *, now: datetime) -> Sequence[Attestation]:
    """Active ones whose time has come."""
    statement = _due(now).order_by(col(Attestation.expires_at), col(Attestation.id)).limit(50)
    return list((await session.execute(statement.with_for_update(skip_locked=True))).scalars())


async def expiring(session: AsyncSession, *, until: datetime) -> Sequence[Attestation]:
    """Active ones that end by then, and of which nobody was told yet."""
    statement = _due(until).where(col(Attestation.expiry_notice_at).is_(None)).order_by(col(Attestation.id)).limit(200)
    return list((await session.execute(statement)).scalars())
