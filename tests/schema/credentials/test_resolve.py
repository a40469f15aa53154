from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from sqlmodel import col
from structlog.testing import capture_logs

from schema.credentials.models import ApiKey, PersonalAccessToken, Session
from schema.credentials.resolve import principal_for_session, principal_for_token
from schema.kernel.database import Database
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.secrets import SessionClaims, TokenKind, new_setup_token, new_token
from schema.organizations.models import Membership, MembershipStatus
from schema.registries.models import RegistryProvider
from schema.registries.repository import add_registry
from tests.identity import (
    ABSOLUTE_SECONDS,
    CREATE_KEY,
    CREATE_TOKEN,
    IDLE_SECONDS,
    LOGIN,
    PASSWORD,
    Identity,
    Member,
)


async def make_key(identity: Identity, member: Member, **given: Any) -> str:
    answer = await identity.run(CREATE_KEY, caller=member.principal, input={"name": "pipeline", **given})
    return str(answer.data["secret"])


async def make_token(identity: Identity, member: Member, **given: Any) -> str:
    answer = await identity.run(CREATE_TOKEN, caller=member.principal, input={"name": "laptop", **given})
    return str(answer.data["secret"])


async def signed_in(identity: Identity, member: Member) -> str:
    return (await identity.run(LOGIN, email=member.email, password=PASSWORD)).cookie


async def test_an_api_key_stands_for_itself(identity: Identity) -> None:
    member = await identity.member()
    principal = await principal_for_token(identity.services, await make_key(identity, member, role="developer"))
    assert principal is not None
    assert principal == Principal(
        organization_id=member.organization_id,
        role=Role.DEVELOPER,
        actor_kind=ActorKind.API_KEY,
        actor_id=principal.credential_id,
        user_id=None,
        credential_id=principal.credential_id,
    )
    assert principal.credential_id.startswith("key-")


async def test_a_key_bound_to_a_registry_is_a_sensor_and_nothing_else(identity: Identity) -> None:
    member = await identity.member()
    async with identity.database.write() as session:
        registry_id = await add_registry(
            session,
            member.organization_id,
            name="edge",
            provider=RegistryProvider.HARBOR,
            host="harbor.example",
            insecure=False,
            username=None,
            password=None,
            keys=identity.services.keys,
            now=identity.clock(),
        )
    token = await make_key(identity, member, role="admin", registryId=registry_id)
    principal = await principal_for_token(identity.services, token)
    assert principal is not None
    assert not any(principal.can(name) for name in ("scans:view", "scans:create", "registries:view", "api-keys:admin"))


MALFORMED = (
    "",
    "hg_ak_",
    "hg_ak_" + "0" * 47,
    "hg_ak_" + "0" * 49,
    "hg_ak_" + "G" * 48,
    "hg_xx_" + "0" * 48,
    "hg_ak_" + "0" * 48 + "\n",
    "HG_AK_" + "0" * 48,
    new_setup_token(),
)


async def test_t13_a_malformed_token_costs_no_query(identity: Identity) -> None:
    with identity.counted_statements() as statements:
        for token in MALFORMED:
            assert await principal_for_token(identity.services, token) is None
        assert statements == []
        await principal_for_token(identity.services, "hg_ak_" + "0" * 48)
        assert statements != []


async def test_t13_a_forged_cookie_costs_no_query(identity: Identity) -> None:
    cookie = await signed_in(identity, await identity.member())
    with identity.counted_statements() as statements:
        assert await principal_for_session(identity.services, cookie[:-2] + "AA") is None
    assert statements == []


async def test_t13_an_unknown_token_is_nobodys(identity: Identity) -> None:
    await identity.member()
    for kind in TokenKind:
        assert await principal_for_token(identity.services, new_token(kind)) is None


async def test_a_resolution_is_one_query_a_second(identity: Identity) -> None:
    member = await identity.member()
    for token in (await make_key(identity, member), await make_token(identity, member)):
        await principal_for_token(identity.services, token)
        await identity.services.background.settle()
        identity.clock.advance(seconds=1)
        with identity.counted_statements() as statements:
            for _ in range(3):
                assert await principal_for_token(identity.services, token) is not None
        assert [statement for statement in statements if statement != "BEGIN"] == [statements[-1]]


async def test_t07_another_process_is_believed_for_a_second_at_most(identity: Identity, database_url: str) -> None:
    member = await identity.member()
    token = await make_key(identity, member)
    other = Database(database_url)
    assert await principal_for_token(identity.services, token) is not None
    async with other.write() as session:
        await session.execute(update(ApiKey).values(revoked_at=identity.clock()))
    await other.close()
    identity.clock.advance(seconds=1)
    assert await principal_for_token(identity.services, token) is None


async def test_t13_expiry_counts_to_the_second(identity: Identity) -> None:
    member = await identity.member()
    expires = (identity.clock() + timedelta(hours=1)).isoformat()
    tokens = [
        await make_key(identity, member, expiresAt=expires),
        await make_token(identity, member, expiresAt=expires),
    ]
    identity.clock.advance(seconds=3599)
    assert [await principal_for_token(identity.services, token) is None for token in tokens] == [False, False]
    identity.clock.advance(seconds=1)
    assert [await principal_for_token(identity.services, token) is None for token in tokens] == [True, True]


@pytest.mark.parametrize("table", [ApiKey, PersonalAccessToken])
async def test_t13_a_revoked_token_is_refused_at_once_and_the_reason_logged(
    identity: Identity, table: type[ApiKey | PersonalAccessToken]
) -> None:
    member = await identity.member()
    token = await (make_key if table is ApiKey else make_token)(identity, member)
    assert await principal_for_token(identity.services, token) is not None
    await identity.services.background.settle()
    async with identity.database.write() as session:
        await session.execute(update(table).values(revoked_at=identity.clock()))
        credential_id = (await session.execute(select(col(table.id)))).scalar_one()
    with capture_logs() as logs:
        assert await principal_for_token(identity.services, token) is None
    assert logs == [
        {"event": "credential.refused", "credential": credential_id, "reason": "revoked", "log_level": "info"}
    ]


async def test_t07_a_token_has_its_owners_role_of_the_moment(identity: Identity) -> None:
    member = await identity.member(role=Role.DEVELOPER)
    token = await make_token(identity, member)
    before = await principal_for_token(identity.services, token)
    await identity.change_membership(member.user_id, role=Role.VIEWER)
    after = await principal_for_token(identity.services, token)
    assert before is not None
    assert after is not None
    assert (before.role, after.role) == (Role.DEVELOPER, Role.VIEWER)
    assert before.can("scans:create")
    assert not after.can("scans:create")


async def test_a_limited_token_loses_what_its_owner_loses(identity: Identity) -> None:
    member = await identity.member(role=Role.DEVELOPER)
    token = await make_token(identity, member, permissions=["scans:create", "scans:view"])
    principal = await principal_for_token(identity.services, token)
    assert principal is not None
    assert [principal.can(name) for name in ("scans:create", "scans:view", "images:view")] == [True, True, False]
    await identity.change_membership(member.user_id, role=Role.VIEWER)
    principal = await principal_for_token(identity.services, token)
    assert principal is not None
    assert [principal.can(name) for name in ("scans:create", "scans:view")] == [False, True]


async def test_t07_a_suspended_member_is_out_with_the_next_request(identity: Identity) -> None:
    member = await identity.member()
    token, cookie = await make_token(identity, member), await signed_in(identity, member)
    await identity.change_membership(member.user_id, status=MembershipStatus.SUSPENDED)
    assert await principal_for_token(identity.services, token) is None
    assert await principal_for_session(identity.services, cookie) is None
    await identity.change_membership(member.user_id, status=MembershipStatus.ACTIVE)
    assert await principal_for_token(identity.services, token) is not None


async def test_t07_a_removed_member_is_out_with_the_next_request(identity: Identity) -> None:
    member = await identity.member()
    token, cookie = await make_token(identity, member), await signed_in(identity, member)
    async with identity.database.write() as session:
        await session.execute(delete(Membership).where(col(Membership.user_id) == member.user_id))
    assert await principal_for_token(identity.services, token) is None
    assert await principal_for_session(identity.services, cookie) is None


async def test_an_api_key_outlives_whoever_made_it(identity: Identity) -> None:
    member = await identity.member()
    token = await make_key(identity, member)
    await identity.change_membership(member.user_id, status=MembershipStatus.SUSPENDED)
    assert await principal_for_token(identity.services, token) is not None


async def test_a_session_has_the_role_of_the_moment(identity: Identity) -> None:
    member = await identity.member(role=Role.ADMIN)
    cookie = await signed_in(identity, member)
    await identity.change_membership(member.user_id, role=Role.AUDITOR)
    principal = await principal_for_session(identity.services, cookie)
    assert principal is not None
    assert principal.role is Role.AUDITOR


async def test_a_session_ends_when_it_is_idle(identity: Identity) -> None:
    cookie = await signed_in(identity, await identity.member())
    for _ in range(3):
        identity.clock.advance(seconds=IDLE_SECONDS - 1)
        assert await principal_for_session(identity.services, cookie) is not None
        await identity.services.background.settle()
    identity.clock.advance(seconds=IDLE_SECONDS)
    assert await principal_for_session(identity.services, cookie) is None


async def test_a_session_ends_however_busy_it_is(identity: Identity) -> None:
    cookie = await signed_in(identity, await identity.member())
    for _ in range(ABSOLUTE_SECONDS // 3000):
        identity.clock.advance(seconds=3000)
        assert await principal_for_session(identity.services, cookie) is not None
        await identity.services.background.settle()
    identity.clock.advance(seconds=ABSOLUTE_SECONDS % 3000)
    assert await principal_for_session(identity.services, cookie) is None


async def test_a_cookie_is_bound_to_its_row(identity: Identity) -> None:
    """A cookie we signed for somebody else's session is as good as none: the row decides."""
    ada, eve = await identity.member(), await identity.member(email="eve@other.example")
    cookie = await signed_in(identity, ada)
    claims = identity.services.signer.read(cookie, now=identity.clock())
    assert claims is not None

    def forged(**changed: str) -> str:
        values = {name: getattr(claims, name) for name in claims.__slots__}
        return identity.services.signer.sign(SessionClaims(**{**values, **changed}))

    assert await principal_for_session(identity.services, forged()) is not None
    for other in (
        {"user_id": eve.user_id},
        {"organization_id": eve.organization_id},
        {"session_id": "ses-another"},
        {"user_id": eve.user_id, "organization_id": eve.organization_id},
    ):
        assert await principal_for_session(identity.services, forged(**other)) is None


async def last_used(identity: Identity) -> datetime | None:
    await identity.services.background.settle()
    async with identity.database.read() as session:
        return (await session.execute(select(col(ApiKey.last_used_at)))).scalar_one()


async def test_use_is_written_once_a_minute(identity: Identity) -> None:
    token = await make_key(identity, await identity.member())
    assert await last_used(identity) is None
    first = identity.clock()
    for seconds in (0, 30, 29):
        identity.clock.advance(seconds=seconds)
        assert await principal_for_token(identity.services, token) is not None
        assert await last_used(identity) == first
    identity.clock.advance(seconds=1)
    assert await principal_for_token(identity.services, token) is not None
    assert await last_used(identity) == identity.clock()


async def test_use_is_written_behind_the_request_and_cannot_fail_it(identity: Identity) -> None:
    token = await make_key(identity, await identity.member())
    async with identity.database.write():  # on SQLite the only writer: whoever waits for it waits for this block
        assert await principal_for_token(identity.services, token) is not None
    assert await last_used(identity) == identity.clock()


async def test_a_session_is_seen(identity: Identity) -> None:
    cookie = await signed_in(identity, await identity.member())
    identity.clock.advance(seconds=61)
    await principal_for_session(identity.services, cookie)
    await identity.services.background.settle()
    async with identity.database.read() as session:
        assert (await session.execute(select(col(Session.last_seen_at)))).scalar_one() == identity.clock()
