from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from schema.credentials.resolve import principal_for_session, principal_for_token
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import Role
from schema.organizations.models import Membership, Organization, Plan, User
from schema.organizations.repository import create_user, get_identity
from schema.organizations.setup import ensure_local_organization, ensure_setup_token
from tests.identity import LOGIN, ME, PASSWORD, Identity

SETUP = "mutation($input: CompleteSetupInput!) { completeSetup(input: $input) { user { id email } organization { id name plan } role } }"  # noqa: E501 -- one document, one line
GIVEN = {"organization": "Acme", "email": "Ada@Acme.example", "password": PASSWORD, "name": "Ada Lovelace"}


async def start(identity: Identity) -> str | None:
    """What a start of the server prints."""
    async with identity.database.write() as session:
        return await ensure_setup_token(session, identity.services.mint, now=identity.clock())


async def refused(identity: Identity, **given: Any) -> HarborGuardError:
    with pytest.raises(HarborGuardError) as refusal:
        await identity.run(SETUP, input={**GIVEN, **given})
    return refusal.value


async def test_setup_creates_the_organization_and_signs_the_owner_in(identity: Identity) -> None:
    answer = await identity.run(SETUP, input={**GIVEN, "token": await start(identity)})
    assert answer.data["organization"]["name"] == "Acme"
    assert answer.data["organization"]["plan"] == "ENTERPRISE"
    assert answer.data["role"] == "owner"
    assert answer.data["user"]["email"] == "ada@acme.example"
    principal = await principal_for_session(identity.services, answer.cookie)
    assert principal is not None
    assert principal.role is Role.OWNER
    assert (await identity.run(ME, caller=principal)).data["user"]["name"] == "Ada Lovelace"
    for action in ("organization.created", "member.provisioned", "login.success"):
        [row] = await identity.audit(action)
        assert row.actor == principal.actor_id
    signed_in = await identity.run(LOGIN, email="ada@acme.example", password=PASSWORD)
    assert signed_in.data["organization"]["id"] == answer.data["organization"]["id"]


async def test_the_token_opens_the_server_once(identity: Identity) -> None:
    token = await start(identity)
    await identity.run(SETUP, input={**GIVEN, "token": token})
    assert (await refused(identity, token=token, email="eve@other.example")).code is ErrorCode.CONFLICT
    assert await start(identity) is None
    async with identity.database.read() as session:
        assert len((await session.execute(select(col(Organization.id)))).all()) == 1


async def test_setup_takes_over_what_was_scanned_before_it(identity: Identity) -> None:
    for _ in range(2):
        async with identity.database.write() as session:
            await ensure_local_organization(session, now=identity.clock())
    async with identity.database.read() as session:
        [local] = (await session.execute(select(col(Organization.id)))).scalars()
    answer = await identity.run(SETUP, input={**GIVEN, "token": await start(identity)})
    assert answer.data["organization"] == {"id": local, "name": "Acme", "plan": "ENTERPRISE"}
    assert answer.data["role"] == "owner"
    assert await start(identity) is None, "set up"
    async with identity.database.write() as session:
        await ensure_local_organization(session, now=identity.clock())
    async with identity.database.read() as session:
        assert (await session.execute(select(col(Organization.name)))).scalars().all() == ["Acme"]


async def test_of_two_at_once_one_opens_the_server(identity: Identity) -> None:
    token = await start(identity)
    outcomes = await asyncio.gather(
        *(
            identity.run(SETUP, input={**GIVEN, "token": token, "email": f"u{number}@acme.example"})
            for number in range(4)
        ),
        return_exceptions=True,
    )
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(failures) == 3
    for failure in failures:
        assert isinstance(failure, HarborGuardError)
        assert failure.code in {ErrorCode.UNAUTHORIZED, ErrorCode.CONFLICT}
    async with identity.database.read() as session:
        assert len((await session.execute(select(col(Organization.id)))).all()) == 1
        assert len((await session.execute(select(col(User.id)))).all()) == 1


async def test_a_wrong_token_opens_nothing(identity: Identity) -> None:
    token = await start(identity)
    assert token is not None
    for wrong in ("x", token[:-1], token.upper(), identity.services.mint.hash(token)):
        assert (await refused(identity, token=wrong)).code is ErrorCode.UNAUTHORIZED
    await identity.run(SETUP, input={**GIVEN, "token": token})


async def test_a_server_that_never_printed_a_token_cannot_be_opened(identity: Identity) -> None:
    assert (await refused(identity, token="hg_setup_" + "0" * 48)).code is ErrorCode.UNAUTHORIZED


async def test_each_start_prints_a_token_and_only_the_latest_works(identity: Identity) -> None:
    first, second = await start(identity), await start(identity)
    assert first != second
    assert (await refused(identity, token=first)).code is ErrorCode.UNAUTHORIZED
    await identity.run(SETUP, input={**GIVEN, "token": second})


async def test_servers_that_start_at_once_all_print_one(identity: Identity) -> None:
    tokens = await asyncio.gather(*(start(identity) for _ in range(4)))
    assert None not in tokens
    outcomes: list[ErrorCode | None] = []
    for token in tokens:
        try:
            await identity.run(SETUP, input={**GIVEN, "token": token})
            outcomes.append(None)
        except HarborGuardError as error:
            outcomes.append(error.code)
    assert outcomes.count(None) == 1


async def test_a_setup_that_fails_leaves_the_token_valid(identity: Identity) -> None:
    token = await start(identity)
    async with identity.database.write() as session:
        await create_user(session, email="ada@acme.example", name="x", password_hash=None, now=identity.clock())
    assert (await refused(identity, token=token)).code is ErrorCode.CONFLICT
    async with identity.database.read() as session:
        assert (await session.execute(select(col(Organization.id)))).all() == []
    await identity.run(SETUP, input={**GIVEN, "token": token, "email": "grace@acme.example"})


async def test_every_field_is_checked_at_once(identity: Identity) -> None:
    token = await start(identity)
    error = await refused(identity, token=token, organization=" ", email="ada", password="short", name="")
    assert error.code is ErrorCode.VALIDATION_ERROR
    assert {issue.path: issue.message for issue in error.issues} == {
        "organization": "must not be blank, nor begin or end with a space",
        "email": "must be an e-mail address",
        "password": "must contain at least 12 characters",
        "name": "must not be blank, nor begin or end with a space",
    }


async def test_t12_neither_the_token_nor_the_password_is_stored(identity: Identity) -> None:
    token = await start(identity)
    assert token is not None
    await identity.run(SETUP, input={**GIVEN, "token": token})
    dump = await identity.dump()
    assert "ada@acme.example" in dump
    assert "$argon2id$" in dump
    for secret in (token, token.rpartition("_")[2], PASSWORD):
        assert secret not in dump


async def test_t10_a_fresh_server_lets_nobody_in(identity: Identity) -> None:
    token = await start(identity)
    assert token is not None
    assert await principal_for_token(identity.services, token) is None
    with pytest.raises(HarborGuardError, match="Authentication is required"):
        await identity.run(ME)
    with pytest.raises(HarborGuardError, match="Invalid e-mail address or password"):
        await identity.run(LOGIN, email="admin@acme.example", password="admin")


async def test_guesses_at_the_token_are_limited(identity: Identity) -> None:
    for _ in range(10):
        assert (await refused(identity, token="x")).code is ErrorCode.UNAUTHORIZED
    assert (await refused(identity, token="x")).code is ErrorCode.RATE_LIMITED


async def test_an_address_belongs_to_one_person_in_any_case(identity: Identity) -> None:
    await identity.member(email="ada@acme.example")
    with pytest.raises(HarborGuardError) as refusal:
        await identity.member(email="ADA@acme.example")
    assert refusal.value.code is ErrorCode.CONFLICT


async def test_a_person_is_known_in_the_own_organization_only(identity: Identity) -> None:
    ada = await identity.member()
    eve = await identity.member(email="eve@other.example")
    async with identity.database.read() as session:
        assert (await get_identity(session, ada.organization_id, ada.user_id)).email == ada.email
        assert (await get_identity(session, ada.organization_id, eve.user_id)).email is None
        rows = (await session.execute(select(col(Membership.organization_id)))).scalars().all()
    assert sorted(rows) == sorted([ada.organization_id, eve.organization_id])


async def test_a_self_hosted_organization_has_no_limits(identity: Identity) -> None:
    await identity.run(SETUP, input={**GIVEN, "token": await start(identity)})
    async with identity.database.read() as session:
        assert (await session.execute(select(col(Organization.plan)))).scalar_one() is Plan.ENTERPRISE
