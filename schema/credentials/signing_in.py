"""Signing in with a password, and the session that follows.

Every failure looks and costs the same to the caller: one password verification, one message. The reason is in the audit
log of the organizations the person belongs to; an attempt on an address nobody has is recorded where there is only one
organization it can have been meant for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.credentials import repository
from schema.credentials.passwords import hash_password, verify_password
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.ports import RateBudget
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.secrets import SessionClaims, password_needs_rehash
from schema.organizations.models import MembershipStatus
from schema.organizations.repository import change_password_hash, find_user, memberships_of, sole_organization

LOGIN_BUDGET = RateBudget(family="login", requests=10, seconds=60)
MAX_USER_AGENT = 300
MAX_IP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A sign-in attempt judged: the membership it opens, or why it opens none."""

    memberships: list[Any]
    opens: Any | None
    reason: str


async def sign_in(context: RequestContext, *, email: str, password: str, organization_id: str | None) -> Principal:
    """Opens a session in the organization asked for, or the one joined first. Raises UNAUTHORIZED or RATE_LIMITED.

    The caller's address was charged already; the account is charged here, so that many addresses do not help either.
    """
    services = context.services
    await context.charge(LOGIN_BUDGET, bucket=f"account:{services.mint.hash(email.lower())}")
    async with context.read() as session:
        user = await find_user(session, email)
    stored: str | None = None if user is None else user.password_hash
    verified = await verify_password(stored, password)
    outdated = verified and stored is not None and password_needs_rehash(stored)
    renewed = await hash_password(password) if outdated else None
    principal = None
    # The transaction ends well either way: a refusal has to leave its record behind.
    async with context.write() as session:
        attempt = await _judge(session, user, verified=verified, organization_id=organization_id)
        if user is None or attempt.opens is None:
            await _record_failure(context, session, user, attempt)
        else:
            if renewed is not None:
                await change_password_hash(session, user.id, renewed)
            principal = await open_session(
                context,
                session,
                user_id=user.id,
                organization_id=attempt.opens.organization_id,
                role=attempt.opens.role,
            )
    if principal is None:
        raise HarborGuardError(ErrorCode.UNAUTHORIZED, "Invalid e-mail address or password")
    return principal


async def _judge(session: AsyncSession, user: Any | None, *, verified: bool, organization_id: str | None) -> _Attempt:
    if user is None:
        return _Attempt(memberships=[], opens=None, reason="unknown user")
    memberships = [
        membership
        for membership in await memberships_of(session, user.id)
        if organization_id in {None, membership.organization_id}
    ]
    if not verified:
        return _Attempt(memberships=memberships, opens=None, reason="wrong password")
    active = [membership for membership in memberships if membership.status is MembershipStatus.ACTIVE]
    return _Attempt(memberships=memberships, opens=active[0] if active else None, reason="no active membership")


async def _record_failure(context: RequestContext, session: AsyncSession, user: Any | None, attempt: _Attempt) -> None:
    organizations = [membership.organization_id for membership in attempt.memberships]
    if user is None:
        sole = await sole_organization(session)
        organizations = [] if sole is None else [sole]
    for organization_id in organizations:
        await record(
            session,
            organization_id=organization_id,
            actor="anonymous",
            action="login.failed",
            target="user:unknown" if user is None else f"user:{user.id}",
            ip=context.client_ip,
            details={"reason": attempt.reason},
            now=context.now(),
        )


async def open_session(
    context: RequestContext, session: AsyncSession, *, user_id: str, organization_id: str, role: Role
) -> Principal:
    """A new session and its cookie. The session the caller came with ends: none lives on through a sign-in."""
    now = context.now()
    before = context.principal_or_none
    if before is not None and before.actor_kind is ActorKind.USER:
        await _revoke(context, session, before, before.credential_id)
    lifetime = context.services.limits.session_absolute_seconds
    claims = SessionClaims(
        user_id=user_id,
        organization_id=organization_id,
        role=role,
        session_id=new_id(IdPrefix.SESSION),
        issued_at=now,
        expires_at=now + timedelta(seconds=lifetime),
    )
    await repository.insert_session(
        session,
        {
            "id": claims.session_id,
            "organization_id": organization_id,
            "user_id": user_id,
            "created_at": now,
            "last_seen_at": now,
            "expires_at": claims.expires_at,
            "ip": context.client_ip[:MAX_IP],
            "user_agent": context.user_agent[:MAX_USER_AGENT],
        },
    )
    await record(
        session,
        organization_id=organization_id,
        actor=user_id,
        action="login.success",
        target=f"session:{claims.session_id}",
        ip=context.client_ip,
        now=now,
    )
    context.response_cookies.append((context.services.signer.sign(claims), lifetime))
    return Principal(
        organization_id=organization_id,
        role=role,
        actor_kind=ActorKind.USER,
        actor_id=user_id,
        user_id=user_id,
        credential_id=claims.session_id,
    )


async def end_session(context: RequestContext, session: AsyncSession, session_id: str) -> None:
    """Ends one of the caller's own sessions, and its cookie when it is the one of this request. NOT_FOUND."""
    if not await _revoke(context, session, context.principal, session_id):
        raise not_found("Session")
    if session_id == context.principal.credential_id:
        context.response_cookies.append(("", 0))


async def _revoke(context: RequestContext, session: AsyncSession, owner: Principal, session_id: str) -> bool:
    assert owner.user_id is not None, "a session is a person's"
    now = context.now()
    if not await repository.revoke_session(session, owner.organization_id, owner.user_id, session_id, now=now):
        return False
    await record(
        session,
        organization_id=owner.organization_id,
        actor=owner.actor_id,
        action="session.revoked",
        target=f"session:{session_id}",
        ip=context.client_ip,
        now=now,
    )
    return True
