from __future__ import annotations

from datetime import timedelta

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select
from sqlmodel import col

from schema.credentials.models import Session
from schema.credentials.resolve import principal_for_session
from schema.kernel import secrets
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import ActorKind, Role
from schema.organizations.models import MembershipStatus, Plan, User
from schema.organizations.repository import add_member, create_organization
from tests.identity import ABSOLUTE_SECONDS, CHEAP_HASHER, LOGIN, PASSWORD, START, Identity


class CountingHasher:
    """The real hasher, counting how often it verifies."""

    def __init__(self) -> None:
        self._hasher = CHEAP_HASHER
        self.verified = 0

    def verify(self, stored: str, password: str) -> bool:
        self.verified += 1
        return self._hasher.verify(stored, password)

    def check_needs_rehash(self, stored: str) -> bool:
        return self._hasher.check_needs_rehash(stored)


async def test_a_member_signs_in(identity: Identity) -> None:
    member = await identity.member(role=Role.DEVELOPER)
    answer = await identity.run(LOGIN, email="ADA@acme.example", password=PASSWORD)
    assert answer.data["user"] == {"id": member.user_id, "email": "ada@acme.example", "name": "Ada"}
    assert answer.data["role"] == "developer"
    assert answer.data["actorKind"] == "USER"
    assert "scans:create" in answer.data["permissions"]
    assert "scans:delete" not in answer.data["permissions"]
    cookie, max_age = answer.context.response_cookies[0]
    assert max_age == ABSOLUTE_SECONDS
    principal = await principal_for_session(identity.services, cookie)
    assert principal is not None
    assert (principal.user_id, principal.actor_kind, principal.role) == (
        member.user_id,
        ActorKind.USER,
        Role.DEVELOPER,
    )
    [row] = await identity.audit("login.success")
    assert (row.actor, row.ip, row.organization_id) == (member.user_id, "192.0.2.7", member.organization_id)


async def test_every_refusal_reads_the_same(identity: Identity) -> None:
    await identity.member()
    for email, password in (
        ("ada@acme.example", "wrong"),
        ("nobody@acme.example", PASSWORD),
        ("not an address", PASSWORD),
    ):
        with pytest.raises(HarborGuardError) as refused:
            await identity.run(LOGIN, email=email, password=password)
        assert refused.value.code is ErrorCode.UNAUTHORIZED
        assert refused.value.message == "Invalid e-mail address or password"


async def test_t11_an_unknown_address_costs_as_much_as_a_wrong_password(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    await identity.member()
    costs = []
    for email in ("ada@acme.example", "nobody@acme.example"):
        hasher = CountingHasher()
        monkeypatch.setattr(secrets, "_passwords", hasher)
        with identity.counted_statements() as statements, pytest.raises(HarborGuardError):
            await identity.run(LOGIN, email=email, password="wrong")
        costs.append((hasher.verified, sum("INSERT INTO audit_events" in statement for statement in statements)))
    assert costs == [(1, 1), (1, 1)]


async def test_a_user_without_a_password_cannot_sign_in(identity: Identity) -> None:
    member = await identity.member()
    async with identity.database.write() as session:
        user = (await session.execute(select(User).where(col(User.id) == member.user_id))).scalar_one()
        user.password_hash = None
    with pytest.raises(HarborGuardError, match="Invalid e-mail address or password"):
        await identity.run(LOGIN, email=member.email, password=PASSWORD)


async def test_only_an_active_member_signs_in(identity: Identity) -> None:
    for status in (MembershipStatus.SUSPENDED, MembershipStatus.INVITED):
        member = await identity.member(status=status, email=f"{status}@acme.example")
        with pytest.raises(HarborGuardError, match="Invalid e-mail address or password"):
            await identity.run(LOGIN, email=member.email, password=PASSWORD)
        row = (await identity.audit("login.failed"))[-1]
        assert row.details == {"reason": "no active membership"}


async def test_a_failure_is_recorded_although_it_is_refused(identity: Identity) -> None:
    member = await identity.member()
    for email, target, reason in (
        (member.email, f"user:{member.user_id}", "wrong password"),
        ("nobody@acme.example", "user:unknown", "unknown user"),
    ):
        with pytest.raises(HarborGuardError):
            await identity.run(LOGIN, email=email, password="wrong")
        row = (await identity.audit("login.failed"))[-1]
        assert (row.actor, row.target, row.details, row.ip) == ("anonymous", target, {"reason": reason}, "192.0.2.7")
        assert row.organization_id == member.organization_id


async def test_an_unknown_address_is_recorded_in_no_organization_of_several(identity: Identity) -> None:
    await identity.member()
    await identity.member(email="eve@other.example")
    with pytest.raises(HarborGuardError):
        await identity.run(LOGIN, email="nobody@acme.example", password="wrong")
    assert await identity.audit("login.failed") == []


async def test_somebody_in_two_organizations_names_one_or_gets_the_first(identity: Identity) -> None:
    member = await identity.member()
    identity.clock.advance(days=1)
    async with identity.database.write() as session:
        second = await create_organization(session, name="Second", plan=Plan.FREE, now=identity.clock())
        await add_member(
            session,
            second,
            member.user_id,
            role=Role.VIEWER,
            status=MembershipStatus.ACTIVE,
            now=identity.clock(),
        )
    default = await identity.run(LOGIN, email=member.email, password=PASSWORD)
    named = await identity.run(LOGIN, email=member.email, password=PASSWORD, organization=second)
    assert (default.data["organization"]["id"], default.data["role"]) == (member.organization_id, "owner")
    assert (named.data["organization"]["id"], named.data["role"]) == (second, "viewer")


async def test_nobody_signs_in_to_another_organization(identity: Identity) -> None:
    member = await identity.member()
    other = await identity.member(email="eve@other.example")
    with pytest.raises(HarborGuardError, match="Invalid e-mail address or password"):
        await identity.run(LOGIN, email=member.email, password=PASSWORD, organization=other.organization_id)
    assert await identity.audit("login.failed") == [], "the other organization learns nothing of it"


async def test_guesses_from_one_address_are_counted_over_all_accounts(identity: Identity) -> None:
    for number in range(10):
        with pytest.raises(HarborGuardError, match="Invalid"):
            await identity.run(LOGIN, email=f"u{number}@acme.example", password="wrong")
    with pytest.raises(HarborGuardError) as refused:
        await identity.run(LOGIN, email="u10@acme.example", password="wrong")
    assert refused.value.code is ErrorCode.RATE_LIMITED
    identity.clock.advance(seconds=61)
    with pytest.raises(HarborGuardError, match="Invalid"):
        await identity.run(LOGIN, email="u10@acme.example", password="wrong")


async def test_guesses_at_one_account_are_counted_over_all_addresses(identity: Identity) -> None:
    member = await identity.member()
    for number in range(10):
        with pytest.raises(HarborGuardError, match="Invalid"):
            await identity.run(LOGIN, email=member.email, password="wrong", ip=f"198.51.100.{number}")
    with pytest.raises(HarborGuardError) as refused:
        await identity.run(LOGIN, email=member.email.upper(), password=PASSWORD, ip="203.0.113.9")
    assert refused.value.code is ErrorCode.RATE_LIMITED


async def test_t18_another_credential_buys_no_more_guesses(identity: Identity) -> None:
    member = await identity.member()
    callers = [None, member.principal]
    for number in range(10):
        with pytest.raises(HarborGuardError, match="Invalid"):
            await identity.run(LOGIN, caller=callers[number % 2], email=f"u{number}@x.example", password="wrong")
    for caller in callers:
        with pytest.raises(HarborGuardError) as refused:
            await identity.run(LOGIN, caller=caller, email="over@x.example", password="wrong")
        assert refused.value.code is ErrorCode.RATE_LIMITED


async def test_t18_aliases_are_attempts_of_their_own(identity: Identity) -> None:
    member = await identity.member()
    attempt = f'login(input: {{email: "{member.email}", password: "{PASSWORD}"}}) {{ role }}'
    with pytest.raises(HarborGuardError) as refused:
        await identity.run("mutation {" + " ".join(f"a{number}: {attempt}" for number in range(12)) + "}")
    assert refused.value.code is ErrorCode.RATE_LIMITED
    assert len(await identity.audit("login.success")) == 10


async def test_the_budget_names_nobody(identity: Identity) -> None:
    with pytest.raises(HarborGuardError):
        await identity.run(LOGIN, email="ada@acme.example", password="wrong")
    assert not any("ada" in bucket for _, bucket in identity.limiter.hits)


async def test_signing_in_again_ends_the_session_before(identity: Identity) -> None:
    member = await identity.member()
    first = await identity.run(LOGIN, email=member.email, password=PASSWORD)
    caller = await principal_for_session(identity.services, first.cookie)
    second = await identity.run(LOGIN, caller=caller, email=member.email, password=PASSWORD)
    assert len(second.context.response_cookies) == 1
    assert await principal_for_session(identity.services, first.cookie) is None
    assert await principal_for_session(identity.services, second.cookie) is not None
    third = await identity.run(LOGIN, caller=caller, email=member.email, password=PASSWORD)  # with the dead session
    assert await principal_for_session(identity.services, third.cookie) is not None
    assert len(await identity.audit("session.revoked")) == 1


async def test_an_outdated_hash_is_renewed(identity: Identity) -> None:
    member = await identity.member()
    weak = PasswordHasher(time_cost=1, memory_cost=16, parallelism=2).hash(PASSWORD)
    async with identity.database.write() as session:
        user = (await session.execute(select(User).where(col(User.id) == member.user_id))).scalar_one()
        user.password_hash = weak
    await identity.run(LOGIN, email=member.email, password=PASSWORD)
    async with identity.database.read() as session:
        stored = (
            await session.execute(select(col(User.password_hash)).where(col(User.id) == member.user_id))
        ).scalar_one()
    assert stored is not None
    assert stored != weak
    assert not secrets.password_needs_rehash(stored)
    await identity.run(LOGIN, email=member.email, password=PASSWORD)


async def test_a_session_keeps_where_it_came_from(identity: Identity) -> None:
    member = await identity.member()
    await identity.run(LOGIN, email=member.email, password=PASSWORD)
    async with identity.database.read() as session:
        [row] = (await session.execute(select(Session))).scalars().all()
    assert (row.ip, row.user_agent, row.user_id) == ("192.0.2.7", "Firefox", member.user_id)
    assert row.expires_at == START + timedelta(seconds=ABSOLUTE_SECONDS)
