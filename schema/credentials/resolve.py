"""From a presented credential to the principal it stands for, on every request anew.

Its row is looked up through `Database.recent`: a revocation, a changed role or a suspended member counts from the next
request on in the process that made the change, and within a second in every other. Expiry and idle time are judged on
every request.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import structlog

from schema.credentials import repository
from schema.credentials.models import ApiKey, PersonalAccessToken, Session
from schema.credentials.rules import USED_EVERY, Refusal, refusal, seen_every
from schema.kernel.context import Services
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.secrets import TokenKind, token_kind
from schema.organizations.models import Membership

log = structlog.get_logger(__name__)
_TABLES = frozenset(str(table.__tablename__) for table in (ApiKey, PersonalAccessToken, Session, Membership))


async def principal_for_token(services: Services, token: str) -> Principal | None:
    """Whom an API key or personal access token stands for; None for one that is malformed, unknown or over.

    A malformed token costs no query.
    """
    match token_kind(token):
        case TokenKind.API_KEY:
            return await _principal_for_api_key(services, services.mint.hash(token))
        case TokenKind.PERSONAL:
            return await _principal_for_personal_access_token(services, services.mint.hash(token))
        case None:
            return None


async def _principal_for_api_key(services: Services, token_hash: str) -> Principal | None:
    now = services.clock()

    async def load() -> Any | None:
        async with services.database.read() as session:
            return await repository.find_api_key(session, token_hash)

    row = await services.database.recent.find(token_hash, load, tables=_TABLES, now=now)
    if row is None:
        return None
    refused = refusal(revoked_at=row.revoked_at, expires_at=row.expires_at, now=now)
    if refused is not None:
        _log_refusal(row.id, refused)
        return None
    _note_use(services, ApiKey, row.id, last=row.last_used_at, now=now)
    return Principal(
        organization_id=row.organization_id,
        # A key bound to a registry is a sensor's, whatever role it was made with.
        role=row.role if row.registry_id is None else Role.SENSOR,
        actor_kind=ActorKind.API_KEY,
        actor_id=row.id,
        user_id=None,
        credential_id=row.id,
        registry_id=row.registry_id,
    )


async def _principal_for_personal_access_token(services: Services, token_hash: str) -> Principal | None:
    now = services.clock()

    async def load() -> Any | None:
        async with services.database.read() as session:
            return await repository.find_personal_access_token(session, token_hash)

    row = await services.database.recent.find(token_hash, load, tables=_TABLES, now=now)
    if row is None:
        return None
    refused = refusal(revoked_at=row.revoked_at, expires_at=row.expires_at, membership=row.status, now=now)
    if refused is not None:
        _log_refusal(row.id, refused)
        return None
    _note_use(services, PersonalAccessToken, row.id, last=row.last_used_at, now=now)
    return Principal(
        organization_id=row.organization_id,
        role=row.role,
        actor_kind=ActorKind.TOKEN,
        actor_id=row.user_id,
        user_id=row.user_id,
        credential_id=row.id,
        permissions=None if row.permissions is None else frozenset(row.permissions),
    )


async def principal_for_session(services: Services, cookie: str) -> Principal | None:
    """Whom a session cookie stands for. A cookie we did not sign costs no query."""
    now = services.clock()
    claims = services.signer.read(cookie, now=now)
    if claims is None:
        return None

    async def load() -> Any | None:
        async with services.database.read() as session:
            return await repository.find_session(
                session, claims.organization_id, session_id=claims.session_id, user_id=claims.user_id
            )

    key = (claims.organization_id, claims.session_id, claims.user_id)
    row = await services.database.recent.find(key, load, tables=_TABLES, now=now)
    if row is None:
        return None
    idle_seconds = services.limits.session_idle_seconds
    refused = refusal(
        revoked_at=row.revoked_at,
        expires_at=row.expires_at,
        idle_until=row.last_seen_at + timedelta(seconds=idle_seconds),
        membership=row.status,
        now=now,
    )
    if refused is not None:
        _log_refusal(row.id, refused)
        return None
    _note_seen(services, row.id, last=row.last_seen_at, every=seen_every(idle_seconds), now=now)
    return Principal(
        organization_id=claims.organization_id,
        role=row.role,
        actor_kind=ActorKind.USER,
        actor_id=claims.user_id,
        user_id=claims.user_id,
        credential_id=row.id,
    )


def _log_refusal(credential_id: str, reason: Refusal) -> None:
    log.info("credential.refused", credential=credential_id, reason=reason.value)


def _note_use(
    services: Services, table: repository.UsedTable, credential_id: str, *, last: datetime | None, now: datetime
) -> None:
    if last is not None and last > now - USED_EVERY:
        return

    async def write() -> None:
        async with services.database.write() as session:
            await repository.mark_used(session, table, credential_id, now=now, every=USED_EVERY)

    services.background.start(f"used:{credential_id}", write)


def _note_seen(services: Services, session_id: str, *, last: datetime, every: timedelta, now: datetime) -> None:
    if last > now - every:
        return

    async def write() -> None:
        async with services.database.write() as session:
            await repository.mark_seen(session, session_id, now=now, every=every)

    services.background.start(f"seen:{session_id}", write)
