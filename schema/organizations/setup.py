"""The first organization: made once, by whoever holds the token that was printed when the server first started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.kernel.principal import Role
from schema.kernel.secrets import TokenMint, new_setup_token
from schema.organizations import repository
from schema.organizations.models import MembershipStatus, Plan

_LOCAL_ORGANIZATION = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What a new organization starts with. The password is hashed already."""

    organization: str
    plan: Plan
    email: str
    name: str
    password_hash: str


async def ensure_setup_token(session: AsyncSession, mint: TokenMint, *, now: datetime) -> str | None:
    """A fresh token to print at start, None once somebody belongs to an organization.

    A token that was printed earlier and not used is void then: only the latest start's output opens the server.
    """
    if await repository.is_set_up(session):
        return None
    token = new_setup_token()
    await repository.store_setup_token(session, mint.hash(token), now=now)
    return token


async def found_organization(
    session: AsyncSession, founding: Founding, *, now: datetime, actor: str | None = None, ip: str | None = None
) -> tuple[str, str]:
    """Creates the first organization and its owner; returns their ids. `actor` None: the owner did it.

    Takes over the one that was founded on the command line, with its scans. CONFLICT when the e-mail address is taken.
    """
    organization_id = await repository.sole_organization(session)
    if organization_id is None:
        organization_id = await repository.create_organization(
            session, name=founding.organization, plan=founding.plan, now=now
        )
    else:
        await repository.take_over_organization(
            session, organization_id, name=founding.organization, plan=founding.plan
        )
    user_id = await repository.create_user(
        session, email=founding.email, name=founding.name, password_hash=founding.password_hash, now=now
    )
    await repository.add_member(
        session, organization_id, user_id, role=Role.OWNER, status=MembershipStatus.ACTIVE, now=now
    )
    for action, target, details in (
        ("organization.created", f"organization:{organization_id}", {"plan": founding.plan.value}),
        ("member.provisioned", f"user:{user_id}", {"role": Role.OWNER.value}),
    ):
        await record(
            session,
            organization_id=organization_id,
            actor=actor or user_id,
            action=action,
            target=target,
            ip=ip,
            details=details,
            now=now,
        )
    return organization_id, user_id


async def ensure_local_organization(session: AsyncSession, *, now: datetime) -> None:
    """Where there is none yet, one that nobody belongs to: for an operator who scans before anybody has set up a server."""
    if await repository.has_organizations(session):
        return
    organization_id = await repository.create_organization(
        session, name=_LOCAL_ORGANIZATION, plan=Plan.ENTERPRISE, now=now
    )
    await record(
        session,
        organization_id=organization_id,
        actor="operator",
        action="organization.created",
        target=f"organization:{organization_id}",
        details={"plan": Plan.ENTERPRISE.value},
        now=now,
    )
