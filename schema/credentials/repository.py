"""All SQL of API keys, personal access tokens and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, CursorResult, Select, and_, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.credentials.models import ApiKey, PersonalAccessToken, Session
from schema.kernel.columns import UtcDateTime
from schema.kernel.database import BOOKKEEPING
from schema.kernel.errors import not_found
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, parameter
from schema.kernel.principal import ActorKind, Principal
from schema.kernel.rows import as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import across_tenants, tenant
from schema.organizations.models import Membership
from schema.registries.models import Registry

UsedTable: TypeAlias = type[ApiKey | PersonalAccessToken]

_NEWEST_FIRST = SortOrder(column="createdAt", descending=True)
_NAMED = "the hash of the presented token names its row, and the row its organization"

KEYS = Listing(
    ApiKey,
    columns={
        "id": col(ApiKey.id),
        "name": col(ApiKey.name),
        "role": col(ApiKey.role),
        "prefix": col(ApiKey.prefix),
        "registry_id": col(ApiKey.registry_id),
        "created_by": col(ApiKey.created_by),
        "created_at": as_time(ApiKey.created_at),
        "expires_at": as_time(ApiKey.expires_at),
        "last_used_at": as_time(ApiKey.last_used_at),
    },
    scope=[col(ApiKey.revoked_at).is_(None)],
    filters={"search": contains(col(ApiKey.name), "search")},
    sorts={"createdAt": col(ApiKey.created_at), "name": col(ApiKey.name)},
    default=_NEWEST_FIRST,
)
TOKENS = Listing(
    PersonalAccessToken,
    columns={
        "id": col(PersonalAccessToken.id),
        "name": col(PersonalAccessToken.name),
        "permissions": col(PersonalAccessToken.permissions),
        "prefix": col(PersonalAccessToken.prefix),
        "created_at": as_time(PersonalAccessToken.created_at),
        "expires_at": as_time(PersonalAccessToken.expires_at),
        "last_used_at": as_time(PersonalAccessToken.last_used_at),
    },
    scope=[col(PersonalAccessToken.user_id) == parameter("user_id"), col(PersonalAccessToken.revoked_at).is_(None)],
    filters={"search": contains(col(PersonalAccessToken.name), "search")},
    sorts={"createdAt": col(PersonalAccessToken.created_at), "name": col(PersonalAccessToken.name)},
    default=_NEWEST_FIRST,
)
SESSIONS = Listing(
    Session,
    columns={
        "id": col(Session.id),
        "created_at": as_time(Session.created_at),
        "last_seen_at": as_time(Session.last_seen_at),
        "expires_at": as_time(Session.expires_at),
        "ip": col(Session.ip),
        "user_agent": col(Session.user_agent),
    },
    scope=[
        col(Session.user_id) == parameter("user_id"),
        col(Session.revoked_at).is_(None),
        col(Session.expires_at) > parameter("now", UtcDateTime),
        col(Session.last_seen_at) > parameter("idle_since", UtcDateTime),
    ],
    sorts={"createdAt": col(Session.created_at), "lastSeenAt": col(Session.last_seen_at)},
    default=_NEWEST_FIRST,
)


# --- Finding a presented credential. One indexed statement each.


async def find_api_key(session: AsyncSession, token_hash: str) -> Any | None:
    statement = select(
        col(ApiKey.id),
        col(ApiKey.organization_id),
        col(ApiKey.role),
        col(ApiKey.registry_id),
        col(ApiKey.expires_at),
        col(ApiKey.last_used_at),
        col(ApiKey.revoked_at),
    ).where(across_tenants(ApiKey, because=_NAMED), col(ApiKey.token_hash) == token_hash)
    return (await session.execute(statement)).one_or_none()


async def find_personal_access_token(session: AsyncSession, token_hash: str) -> Any | None:
    """With the role and status its owner has in its organization now; None when the owner was removed from it."""
    statement = (
        select(
            col(PersonalAccessToken.id),
            col(PersonalAccessToken.organization_id),
            col(PersonalAccessToken.user_id),
            col(PersonalAccessToken.permissions),
            col(PersonalAccessToken.expires_at),
            col(PersonalAccessToken.last_used_at),
            col(PersonalAccessToken.revoked_at),
            col(Membership.role),
            col(Membership.status),
        )
        .join(Membership, _membership_of(PersonalAccessToken))
        .where(across_tenants(PersonalAccessToken, because=_NAMED))
        .where(col(PersonalAccessToken.token_hash) == token_hash)
    )
    return (await session.execute(statement)).one_or_none()


async def find_session(session: AsyncSession, organization_id: str, *, session_id: str, user_id: str) -> Any | None:
    """With the role and status its user has in its organization now; None when the user was removed from it."""
    statement = (
        select(
            col(Session.id),
            col(Session.last_seen_at),
            col(Session.expires_at),
            col(Session.revoked_at),
            col(Membership.role),
            col(Membership.status),
        )
        .join(Membership, _membership_of(Session))
        .where(tenant(Session, organization_id))
        .where(col(Session.id) == session_id, col(Session.user_id) == user_id)
    )
    return (await session.execute(statement)).one_or_none()


def _membership_of(table: type[PersonalAccessToken | Session]) -> ColumnElement[bool]:
    return and_(
        col(Membership.organization_id) == col(table.organization_id), col(Membership.user_id) == col(table.user_id)
    )


async def mark_used(
    session: AsyncSession, table: UsedTable, credential_id: str, *, now: datetime, every: timedelta
) -> None:
    """Writes the time of use, unless another process has done so within `every`."""
    await session.execute(
        update(table)
        .where(across_tenants(table, because="the credential was just resolved"), col(table.id) == credential_id)
        .where(or_(col(table.last_used_at).is_(None), col(table.last_used_at) <= now - every))
        .values(last_used_at=now)
        .execution_options(**{BOOKKEEPING: True})
    )


async def mark_seen(session: AsyncSession, session_id: str, *, now: datetime, every: timedelta) -> None:
    await session.execute(
        update(Session)
        .where(across_tenants(Session, because="the session was just resolved"), col(Session.id) == session_id)
        .where(col(Session.last_seen_at) <= now - every)
        .values(last_seen_at=now)
        .execution_options(**{BOOKKEEPING: True})
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedRow:
    """What is shown of the credential a request came with."""

    name: str | None = None
    prefix: str | None = None
    expires_at: datetime | None = None


async def get_presented(session: AsyncSession, principal: Principal) -> PresentedRow:
    statement: Select[*tuple[Any, ...]]
    match principal.actor_kind:
        case ActorKind.API_KEY:
            statement = select(col(ApiKey.name), col(ApiKey.prefix), col(ApiKey.expires_at)).where(
                tenant(ApiKey, principal.organization_id), col(ApiKey.id) == principal.credential_id
            )
        case ActorKind.TOKEN:
            statement = select(
                col(PersonalAccessToken.name), col(PersonalAccessToken.prefix), col(PersonalAccessToken.expires_at)
            ).where(
                tenant(PersonalAccessToken, principal.organization_id),
                col(PersonalAccessToken.id) == principal.credential_id,
            )
        case ActorKind.USER:
            statement = select(col(Session.expires_at)).where(
                tenant(Session, principal.organization_id), col(Session.id) == principal.credential_id
            )
        case ActorKind.OPERATOR:
            return PresentedRow()
    row = (await session.execute(statement)).one()
    return PresentedRow(**row._mapping)  # noqa: SLF001 -- SQLAlchemy's public name for a row as a mapping


# --- API keys.


async def insert_api_key(session: AsyncSession, values: dict[str, Any]) -> None:
    await session.execute(insert(ApiKey).values(**values))


async def check_registry(session: AsyncSession, organization_id: str, registry_id: str) -> None:
    """NOT_FOUND unless it is the organization's."""
    statement = select(col(Registry.id)).where(tenant(Registry, organization_id), col(Registry.id) == registry_id)
    if (await session.execute(statement)).first() is None:
        raise not_found("Registry")


async def list_api_keys(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """Keys that were not revoked, expired ones among them."""
    given = {"search": pattern(search)}
    return await fetch_page(session, KEYS, organization_id, request, filters=given, wanted=wanted)


async def get_api_key(session: AsyncSession, organization_id: str, key_id: str) -> Any:
    row = (await session.execute(KEYS.one(col(ApiKey.id) == key_id), {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("API key")
    return row


async def revoke_api_key(session: AsyncSession, organization_id: str, key_id: str, *, now: datetime) -> None:
    statement = (
        update(ApiKey)
        .where(tenant(ApiKey, organization_id), col(ApiKey.id) == key_id, col(ApiKey.revoked_at).is_(None))
        .values(revoked_at=now)
    )
    if not _changed(await session.execute(statement)):
        raise not_found("API key")


# --- Personal access tokens: a person sees the own ones only.


async def insert_personal_access_token(session: AsyncSession, values: dict[str, Any]) -> None:
    await session.execute(insert(PersonalAccessToken).values(**values))


def _own_tokens(organization_id: str, user_id: str) -> ColumnElement[bool]:
    return and_(
        tenant(PersonalAccessToken, organization_id),
        col(PersonalAccessToken.user_id) == user_id,
        col(PersonalAccessToken.revoked_at).is_(None),
    )


async def list_personal_access_tokens(
    session: AsyncSession,
    organization_id: str,
    user_id: str,
    request: PageRequest,
    *,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    """Tokens that were not revoked, expired ones among them."""
    return await fetch_page(
        session,
        TOKENS,
        organization_id,
        request,
        scope={"user_id": user_id},
        filters={"search": pattern(search)},
        wanted=wanted,
    )


async def get_personal_access_token(session: AsyncSession, organization_id: str, user_id: str, token_id: str) -> Any:
    statement = TOKENS.one(col(PersonalAccessToken.id) == token_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id, "user_id": user_id})).one_or_none()
    if row is None:
        raise not_found("Personal access token")
    return row


async def revoke_personal_access_token(
    session: AsyncSession, organization_id: str, user_id: str, token_id: str, *, now: datetime
) -> None:
    statement = (
        update(PersonalAccessToken)
        .where(_own_tokens(organization_id, user_id), col(PersonalAccessToken.id) == token_id)
        .values(revoked_at=now)
    )
    if not _changed(await session.execute(statement)):
        raise not_found("Personal access token")


# --- Sessions: a person sees the own ones only.


async def insert_session(session: AsyncSession, values: dict[str, Any]) -> None:
    await session.execute(insert(Session).values(**values))


def _own_sessions(organization_id: str, user_id: str) -> ColumnElement[bool]:
    return and_(tenant(Session, organization_id), col(Session.user_id) == user_id, col(Session.revoked_at).is_(None))


async def list_sessions(
    session: AsyncSession,
    organization_id: str,
    user_id: str,
    request: PageRequest,
    *,
    now: datetime,
    idle: timedelta,
    wanted: Wanted = None,
) -> Page[Any]:
    """Sessions that still count."""
    scope = {"user_id": user_id, "now": now, "idle_since": now - idle}
    return await fetch_page(session, SESSIONS, organization_id, request, scope=scope, wanted=wanted)


async def revoke_session(
    session: AsyncSession, organization_id: str, user_id: str, session_id: str, *, now: datetime
) -> bool:
    """Whether there was one to revoke."""
    statement = (
        update(Session)
        .where(_own_sessions(organization_id, user_id), col(Session.id) == session_id)
        .values(revoked_at=now)
    )
    return _changed(await session.execute(statement))


async def forget_expired_sessions(session: AsyncSession, *, now: datetime) -> None:
    """Housekeeping of the reconciler. Who signed in when stays in the audit log."""
    await session.execute(
        delete(Session).where(
            across_tenants(Session, because="expiry is the same for everybody"), col(Session.expires_at) <= now
        )
    )


def _changed(result: object) -> bool:
    assert isinstance(result, CursorResult)
    return result.rowcount == 1
