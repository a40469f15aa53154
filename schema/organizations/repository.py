"""All SQL of organizations, their members and the setup token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, Select, and_, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.errors import conflict
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import Role
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing
from schema.organizations.models import Membership, MembershipStatus, Organization, Plan, SetupToken, User

_SETUP_TOKEN_ID = 1


async def create_organization(session: AsyncSession, *, name: str, plan: Plan, now: datetime) -> str:
    organization_id = new_id(IdPrefix.ORGANIZATION)
    await session.execute(insert(Organization).values(id=organization_id, name=name, plan=plan, created_at=now))
    return organization_id


async def create_user(session: AsyncSession, *, email: str, name: str, password_hash: str | None, now: datetime) -> str:
    """CONFLICT when somebody has this e-mail address already."""
    user_id = new_id(IdPrefix.USER)
    values = {"id": user_id, "email": email.lower(), "name": name, "password_hash": password_hash, "created_at": now}
    if not await insert_missing(session, User, values, unique=("email",)):
        raise conflict("A user with this e-mail address already exists")
    return user_id


async def add_member(
    session: AsyncSession,
    organization_id: str,
    user_id: str,
    *,
    role: Role,
    status: MembershipStatus,
    now: datetime,
) -> str:
    """CONFLICT when the person belongs to the organization already."""
    membership_id = new_id(IdPrefix.MEMBERSHIP)
    values = {
        "id": membership_id,
        "organization_id": organization_id,
        "user_id": user_id,
        "role": role,
        "status": status,
        "created_at": now,
    }
    if not await insert_missing(session, Membership, values, unique=("organization_id", "user_id")):
        raise conflict("This person is a member of the organization already")
    return membership_id


async def find_user(session: AsyncSession, email: str) -> Any | None:
    """(id, password_hash) of the person with this e-mail address, in any case."""
    columns = (col(User.id), col(User.password_hash))
    return (await session.execute(select(*columns).where(col(User.email) == email.lower()))).one_or_none()


async def change_password_hash(session: AsyncSession, user_id: str, password_hash: str) -> None:
    await session.execute(update(User).where(col(User.id) == user_id).values(password_hash=password_hash))


async def memberships_of(session: AsyncSession, user_id: str) -> Sequence[Any]:
    """(organization_id, role, status) of each organization the person belongs to, the one joined first first."""
    statement = (
        select(col(Membership.organization_id), col(Membership.role), col(Membership.status))
        .where(across_tenants(Membership, because="somebody who signs in belongs to no organization yet"))
        .where(col(Membership.user_id) == user_id)
        .order_by(col(Membership.created_at), col(Membership.id))
    )
    return (await session.execute(statement)).all()


async def get_identity(session: AsyncSession, organization_id: str, user_id: str | None) -> Any:
    """The organization's id, name and plan, and the member's `user_id`, `email` and `user_name` (null for a machine)."""
    statement: Select[*tuple[Any, ...]] = (
        select(
            col(Organization.id),
            col(Organization.name),
            col(Organization.plan),
            col(User.id).label("user_id"),
            col(User.email),
            col(User.name).label("user_name"),
        )
        .join_from(
            Organization,
            Membership,
            and_(tenant(Membership, organization_id), col(Membership.user_id) == user_id),
            isouter=True,
        )
        .join(User, col(User.id) == col(Membership.user_id), isouter=True)
        .where(col(Organization.id) == organization_id)
    )
    return (await session.execute(statement)).one()


async def hold_plan(session: AsyncSession, organization_id: str) -> Plan:
    """The organization's plan. Whoever else asks waits until the caller's transaction ends, so that what is counted
    against a limit, or must have a name of its own, cannot be added twice at the same moment.
    """
    statement = select(col(Organization.plan)).where(col(Organization.id) == organization_id).with_for_update()
    return (await session.execute(statement)).scalar_one()


async def is_set_up(session: AsyncSession) -> bool:
    """Whether any organization exists."""
    return (await session.execute(select(col(Organization.id)).limit(1))).first() is not None


async def sole_organization(session: AsyncSession) -> str | None:
    """The organization of a server that has exactly one."""
    found = (await session.execute(select(col(Organization.id)).limit(2))).scalars().all()
    return found[0] if len(found) == 1 else None


async def store_setup_token(session: AsyncSession, token_hash: str, *, now: datetime) -> None:
    """Takes the place of an earlier one, which is void from then on."""
    values = {"token_hash": token_hash, "created_at": now, "used_at": None}
    if not await insert_missing(session, SetupToken, {"id": _SETUP_TOKEN_ID, **values}, unique=("id",)):
        await session.execute(update(SetupToken).where(col(SetupToken.id) == _SETUP_TOKEN_ID).values(**values))


async def use_setup_token(session: AsyncSession, token_hash: str, *, now: datetime) -> bool:
    """Whether this was the valid token. One statement, so that of two callers with the same token one gets it."""
    statement = (
        update(SetupToken)
        .where(
            col(SetupToken.id) == _SETUP_TOKEN_ID,
            col(SetupToken.token_hash) == token_hash,
            col(SetupToken.used_at).is_(None),
        )
        .values(used_at=now)
    )
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
