"""When a credential counts, and what it may be given. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from schema.kernel.errors import ErrorCode, HarborGuardError, Issue, invalid
from schema.kernel.principal import ROLE_LEVEL, ActorKind, Principal, Role, permissions_of
from schema.organizations.models import MembershipStatus

USED_EVERY = timedelta(minutes=1)
PERMISSIONS = frozenset().union(*(permissions_of(role) for role in Role))


class Refusal(StrEnum):
    """Why a known credential does not count. Logged for the operator; the caller learns nothing of it."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    IDLE = "idle"
    MEMBERSHIP = "membership"


def refusal(
    *,
    revoked_at: datetime | None,
    expires_at: datetime | None,
    now: datetime,
    idle_until: datetime | None = None,
    membership: MembershipStatus | None = None,
) -> Refusal | None:
    """`idle_until` is when a session ends that is not used; `membership` is a person's, None for a machine."""
    if revoked_at is not None:
        return Refusal.REVOKED
    if expires_at is not None and expires_at <= now:
        return Refusal.EXPIRED
    if idle_until is not None and idle_until <= now:
        return Refusal.IDLE
    if membership is not None and membership is not MembershipStatus.ACTIVE:
        return Refusal.MEMBERSHIP
    return None


def seen_every(idle_seconds: int) -> timedelta:
    """How often a session's use is written: once a minute, or twice within a shorter idle time-out."""
    return min(USED_EVERY, timedelta(seconds=idle_seconds / 2))


def key_role(wanted: Role | None, creator: Principal) -> Role:
    """The role of a new API key, `ci` unless asked for. FORBIDDEN above the creator's own.

    A token limited to some permissions would hand out more than it has, so it cannot create a key at all.
    """
    role = wanted or Role.CI
    if role in {Role.OWNER, Role.SENSOR}:  # the key of a sensor is made by naming its registry
        raise invalid(Issue("role", "must be viewer, developer, ci, auditor or admin"))
    if creator.permissions is not None:
        raise HarborGuardError(ErrorCode.FORBIDDEN, "A token with limited permissions cannot create an API key")
    if ROLE_LEVEL[role] > ROLE_LEVEL[creator.role]:
        raise HarborGuardError(ErrorCode.FORBIDDEN, f"Your role {creator.role} cannot grant the role {role}")
    return role


def token_permissions(wanted: Sequence[str] | None, creator: Principal) -> list[str] | None:
    """The permissions a new personal access token is limited to, None for all of its owner's role, now and later.

    VALIDATION_ERROR for a name that is no permission, FORBIDDEN for one the creator does not hold.
    """
    if wanted is None:
        return None if creator.permissions is None else sorted(creator.permissions)
    unknown = [
        Issue(f"permissions.{index}", "is not a permission; `me` lists yours")
        for index, name in enumerate(wanted)
        if name not in PERMISSIONS
    ]
    if unknown:
        raise invalid(*unknown)
    for name in wanted:
        creator.require(name)
    return sorted(set(wanted))


def token_expiry(wanted: datetime | None, *, creator_expiry: datetime | None) -> datetime | None:
    """A token made by another token ends with it: else a leaked one could outlive its expiry in its offspring."""
    if creator_expiry is None:
        return wanted
    if wanted is None:
        return creator_expiry
    if wanted > creator_expiry:
        raise invalid(Issue("expiresAt", "must not lie after the expiry of the token that creates it"))
    return wanted


def person(principal: Principal) -> str:
    """The id of the person who acts. FORBIDDEN for an API key, which has no tokens of its own."""
    if principal.user_id is None:
        raise HarborGuardError(ErrorCode.FORBIDDEN, "A personal access token is a person's; an API key cannot have one")
    return principal.user_id


def browser_user(principal: Principal) -> str:
    """The id of whoever is signed in. FORBIDDEN for a token or key: it must not reach the sessions of its owner."""
    if principal.actor_kind is not ActorKind.USER or principal.user_id is None:
        raise HarborGuardError(
            ErrorCode.FORBIDDEN, "Sessions belong to a signed-in browser; sign in to see or end them"
        )
    return principal.user_id
