from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col
from structlog.testing import capture_logs

from schema.credentials.models import Session
from schema.credentials.repository import forget_expired_sessions
from schema.credentials.resolve import principal_for_session, principal_for_token
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import Principal, Role
from schema.kernel.secrets import TokenKind, token_kind
from tests.identity import (
    ABSOLUTE_SECONDS,
    CREATE_KEY,
    CREATE_TOKEN,
    LOGIN,
    ME,
    PASSWORD,
    Identity,
    Member,
)

KEYS = "query($search: String, $sort: String) { apiKeys(search: $search, sort: $sort) { items { id name role lastUsed } meta { total } } }"  # noqa: E501 -- one document, one line
KEY = "query($id: ID!) { apiKey(id: $id) { id name createdBy } }"
DELETE_KEY = "mutation($id: ID!) { deleteApiKey(id: $id) }"
TOKENS = "{ personalAccessTokens { items { id name permissions } meta { total } } }"
TOKEN = "query($id: ID!) { personalAccessToken(id: $id) { id } }"
DELETE_TOKEN = "mutation($id: ID!) { deletePersonalAccessToken(id: $id) }"
SESSIONS = "{ sessions { items { id current ip userAgent } meta { total } } }"
DELETE_SESSION = "mutation($id: ID!) { deleteSession(id: $id) }"
LOGOUT = "mutation { logout }"


async def refused(identity: Identity, document: str, caller: Principal | None, **variables: Any) -> HarborGuardError:
    with pytest.raises(HarborGuardError) as refusal:
        await identity.run(document, caller=caller, **variables)
    return refusal.value


async def principal_of(identity: Identity, token: str) -> Principal:
    principal = await principal_for_token(identity.services, token)
    assert principal is not None
    return principal


async def signed_in(identity: Identity, member: Member) -> Principal:
    answer = await identity.run(LOGIN, email=member.email, password=PASSWORD)
    principal = await principal_for_session(identity.services, answer.cookie)
    assert principal is not None
    return principal


# --- API keys


async def test_a_key_is_shown_once(identity: Identity) -> None:
    member = await identity.member()
    made = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "pipeline"})).data
    assert token_kind(made["secret"]) is TokenKind.API_KEY
    assert made["prefix"] == made["secret"][:10]
    assert (made["role"], made["createdBy"], made["expiresAt"]) == ("ci", member.user_id, None)
    listed = (await identity.run(KEYS, caller=member.principal)).data
    assert listed["meta"]["total"] == 1
    assert listed["items"] == [{"id": made["id"], "name": "pipeline", "role": "ci", "lastUsed": None}]
    [row] = await identity.audit("apikey.created")
    assert (row.actor, row.target) == (member.user_id, f"apikey:{made['id']}")
    assert row.details == {"name": "pipeline", "role": "ci", "expiresAt": None, "registryId": None}


async def test_keys_are_searched_and_sorted_by_name(identity: Identity) -> None:
    member = await identity.member()
    for name in ("beta", "alpha", "gamma_1"):
        identity.clock.advance(seconds=7)
        await identity.run(CREATE_KEY, caller=member.principal, input={"name": name})

    async def names(**arguments: str) -> list[str]:
        return [item["name"] for item in (await identity.run(KEYS, caller=member.principal, **arguments)).data["items"]]

    assert await names() == ["gamma_1", "alpha", "beta"]
    assert await names(sort="name:asc") == ["alpha", "beta", "gamma_1"]
    assert await names(search="A_1") == ["gamma_1"]


async def test_a_revoked_key_is_gone_for_good(identity: Identity) -> None:
    member = await identity.member()
    made = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "pipeline"})).data
    assert (await identity.run(KEY, caller=member.principal, id=made["id"])).data["createdBy"] == member.user_id
    assert (await identity.run(DELETE_KEY, caller=member.principal, id=made["id"])).data == made["id"]
    assert await principal_for_token(identity.services, made["secret"]) is None
    for document in (KEY, DELETE_KEY):
        error = await refused(identity, document, member.principal, id=made["id"])
        assert (error.code, error.message) == (ErrorCode.NOT_FOUND, "API key not found")
    assert (await identity.run(KEYS, caller=member.principal)).data["items"] == []
    [row] = await identity.audit("apikey.revoked")
    assert row.target == f"apikey:{made['id']}"


async def test_an_old_and_a_new_key_work_side_by_side(identity: Identity) -> None:
    member = await identity.member()
    secrets = [
        (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "same"})).data["secret"]
        for _ in range(2)
    ]
    assert all([await principal_for_token(identity.services, secret) for secret in secrets])


async def test_only_an_admin_handles_keys(identity: Identity) -> None:
    member = await identity.member()
    for role in (Role.DEVELOPER, Role.CI, Role.AUDITOR, Role.VIEWER):
        for document, variables in (
            (CREATE_KEY, {"input": {"name": "x"}}),
            (KEYS, {}),
            (KEY, {"id": "key-x"}),
            (DELETE_KEY, {"id": "key-x"}),
        ):
            caller = replace(member.principal, role=role)
            assert (await refused(identity, document, caller, **variables)).code is ErrorCode.FORBIDDEN


async def test_no_key_is_an_owner(identity: Identity) -> None:
    member = await identity.member()
    error = await refused(identity, CREATE_KEY, member.principal, input={"name": "x", "role": "owner"})
    assert error.code is ErrorCode.VALIDATION_ERROR
    assert [issue.path for issue in error.issues] == ["role"]


async def test_an_admins_key_creates_keys_but_no_tokens(identity: Identity) -> None:
    member = await identity.member()
    made = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "x", "role": "admin"})).data
    caller = await principal_of(identity, made["secret"])
    second = (await identity.run(CREATE_KEY, caller=caller, input={"name": "y"})).data
    assert second["createdBy"] == made["id"]
    for document, variables in ((CREATE_TOKEN, {"input": {"name": "x"}}), (TOKENS, {}), (TOKEN, {"id": "pat-x"})):
        assert (await refused(identity, document, caller, **variables)).code is ErrorCode.FORBIDDEN


async def test_an_expiry_in_the_past_is_refused(identity: Identity) -> None:
    member = await identity.member()
    given = {"name": "x", "expiresAt": identity.clock().isoformat()}
    for document in (CREATE_KEY, CREATE_TOKEN):
        error = await refused(identity, document, member.principal, input=given)
        assert [issue.path for issue in error.issues] == ["expiresAt"]


async def test_a_bad_name_is_refused(identity: Identity) -> None:
    member = await identity.member()
    for document in (CREATE_KEY, CREATE_TOKEN):
        for name in ("", " ", " x", "x\n", "x" * 201, "a\x00b"):
            identity.clock.advance(minutes=1)
            error = await refused(identity, document, member.principal, input={"name": name})
            assert [issue.path for issue in error.issues] == ["name"]


async def test_ten_credentials_a_minute_of_each_kind(identity: Identity) -> None:
    member = await identity.member()
    for document in (CREATE_KEY, CREATE_TOKEN):
        for _ in range(10):
            await identity.run(document, caller=member.principal, input={"name": "x"})
        assert (await refused(identity, document, member.principal, input={"name": "x"})).code is ErrorCode.RATE_LIMITED


async def test_a_foreign_registry_does_not_exist(identity: Identity) -> None:
    member = await identity.member()
    error = await refused(identity, CREATE_KEY, member.principal, input={"name": "x", "registryId": "reg-foreign"})
    assert (error.code, error.message) == (ErrorCode.NOT_FOUND, "Registry not found")


async def test_t02_another_organizations_credentials_do_not_exist(identity: Identity) -> None:
    ada, eve = await identity.member(), await identity.member(email="eve@other.example")
    key = (await identity.run(CREATE_KEY, caller=ada.principal, input={"name": "x"})).data["id"]
    token = (await identity.run(CREATE_TOKEN, caller=ada.principal, input={"name": "x"})).data["id"]
    session = (await signed_in(identity, ada)).credential_id
    caller = await signed_in(identity, eve)
    for document, foreign in (
        (KEY, key),
        (DELETE_KEY, key),
        (TOKEN, token),
        (DELETE_TOKEN, token),
        (DELETE_SESSION, session),
    ):
        error = await refused(identity, document, caller, id=foreign)
        missing = await refused(identity, document, caller, id=foreign[:4] + "0" * 26)
        assert error.code is ErrorCode.NOT_FOUND
        assert (error.message, error.issues) == (missing.message, missing.issues)
    for document in (KEYS, TOKENS):
        assert (await identity.run(document, caller=caller)).data["meta"]["total"] == 0
    assert (await identity.run(SESSIONS, caller=caller)).data["meta"]["total"] == 1


# --- Personal access tokens


async def test_a_token_is_shown_once(identity: Identity) -> None:
    member = await identity.member(role=Role.DEVELOPER)
    expires = identity.clock() + timedelta(days=30)
    made = (
        await identity.run(
            CREATE_TOKEN,
            caller=member.principal,
            input={"name": "laptop", "expiresAt": expires.isoformat(), "permissions": ["scans:view"]},
        )
    ).data
    assert token_kind(made["secret"]) is TokenKind.PERSONAL
    assert made["prefix"] == made["secret"][:10]
    assert made["expiresAt"] == "2026-05-26T14:22:11.000Z"
    listed = (await identity.run(TOKENS, caller=member.principal)).data["items"]
    assert listed == [{"id": made["id"], "name": "laptop", "permissions": ["scans:view"]}]
    [row] = await identity.audit("token.created")
    assert row.details == {"name": "laptop", "permissions": ["scans:view"], "expiresAt": "2026-05-26T14:22:11.000Z"}


async def test_a_token_is_deleted_by_its_owner_only(identity: Identity) -> None:
    ada = await identity.member()
    bob = await identity.member(email="bob@acme.example", organization_id=ada.organization_id)
    made = (await identity.run(CREATE_TOKEN, caller=ada.principal, input={"name": "x"})).data
    for document in (TOKEN, DELETE_TOKEN):
        assert (await refused(identity, document, bob.principal, id=made["id"])).code is ErrorCode.NOT_FOUND
    assert (await identity.run(TOKENS, caller=bob.principal)).data["items"] == []
    assert (await identity.run(DELETE_TOKEN, caller=ada.principal, id=made["id"])).data == made["id"]
    assert await principal_for_token(identity.services, made["secret"]) is None
    [row] = await identity.audit("token.revoked")
    assert row.target == f"token:{made['id']}"


async def test_a_ci_user_has_no_tokens(identity: Identity) -> None:
    member = await identity.member(role=Role.CI)
    assert (await refused(identity, CREATE_TOKEN, member.principal, input={"name": "x"})).code is ErrorCode.FORBIDDEN


async def test_a_token_makes_no_stronger_and_no_longer_token(identity: Identity) -> None:
    member = await identity.member()
    expires = identity.clock() + timedelta(days=1)
    made = (
        await identity.run(
            CREATE_TOKEN,
            caller=member.principal,
            input={
                "name": "x",
                "expiresAt": expires.isoformat(),
                "permissions": ["tokens:self", "scans:view", "api-keys:create"],
            },
        )
    ).data
    caller = await principal_of(identity, made["secret"])
    child = (await identity.run(CREATE_TOKEN, caller=caller, input={"name": "y"})).data
    assert child["permissions"] == ["api-keys:create", "scans:view", "tokens:self"]
    assert child["expiresAt"] == "2026-04-27T14:22:11.000Z"
    later = (expires + timedelta(seconds=1)).isoformat()
    for given, code in (
        ({"permissions": ["scans:create"]}, ErrorCode.FORBIDDEN),
        ({"expiresAt": later}, ErrorCode.VALIDATION_ERROR),
    ):
        assert (await refused(identity, CREATE_TOKEN, caller, input={"name": "z", **given})).code is code
    assert (await refused(identity, CREATE_KEY, caller, input={"name": "z"})).code is ErrorCode.FORBIDDEN


async def test_a_token_lists_known_permissions(identity: Identity) -> None:
    member = await identity.member()
    for permissions in ([], ["scans:fly"], [""]):
        error = await refused(identity, CREATE_TOKEN, member.principal, input={"name": "x", "permissions": permissions})
        assert error.code is ErrorCode.VALIDATION_ERROR
        assert error.issues[0].path.startswith("permissions")


# --- Me


async def test_me_tells_what_a_token_may_do(identity: Identity) -> None:
    member = await identity.member(role=Role.DEVELOPER)
    made = (
        await identity.run(
            CREATE_TOKEN, caller=member.principal, input={"name": "laptop", "permissions": ["scans:view"]}
        )
    ).data
    me = (await identity.run(ME, caller=await principal_of(identity, made["secret"]))).data
    assert me == {
        "user": {"id": member.user_id, "email": member.email, "name": "Ada"},
        "organization": {"id": member.organization_id, "name": "Acme", "plan": "ENTERPRISE"},
        "role": "developer",
        "permissions": ["scans:view"],
        "actorKind": "TOKEN",
        "credential": {"id": made["id"], "name": "laptop", "prefix": made["prefix"], "expiresAt": None},
    }


async def test_me_of_a_key_is_no_person(identity: Identity) -> None:
    member = await identity.member()
    made = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "pipeline"})).data
    me = (await identity.run(ME, caller=await principal_of(identity, made["secret"]))).data
    assert me["user"] is None
    assert (me["role"], me["actorKind"], me["credential"]["prefix"]) == ("ci", "API_KEY", made["prefix"])


async def test_anonymous_is_nobody(identity: Identity) -> None:
    for document, variables in (
        (ME, {}),
        (SESSIONS, {}),
        (TOKENS, {}),
        (KEYS, {}),
        (LOGOUT, {}),
        (CREATE_KEY, {"input": {"name": "x"}}),
    ):
        assert (await refused(identity, document, None, **variables)).code is ErrorCode.UNAUTHORIZED


# --- Sessions


async def test_sessions_are_listed_and_ended(identity: Identity) -> None:
    member = await identity.member()
    first = await signed_in(identity, member)
    identity.clock.advance(seconds=7)
    second = await signed_in(identity, member)
    listed = (await identity.run(SESSIONS, caller=second)).data["items"]
    assert [(item["id"], item["current"]) for item in listed] == [
        (second.credential_id, True),
        (first.credential_id, False),
    ]
    answer = await identity.run(DELETE_SESSION, caller=second, id=first.credential_id)
    assert answer.context.response_cookies == []
    assert (await identity.run(SESSIONS, caller=second)).data["meta"]["total"] == 1
    error = await refused(identity, DELETE_SESSION, second, id=first.credential_id)
    assert (error.code, error.message) == (ErrorCode.NOT_FOUND, "Session not found")
    answer = await identity.run(DELETE_SESSION, caller=second, id=second.credential_id)
    assert answer.context.response_cookies == [("", 0)]


async def test_signing_out_ends_the_session_and_the_cookie(identity: Identity) -> None:
    member = await identity.member()
    answer = await identity.run(LOGIN, email=member.email, password=PASSWORD)
    caller = await principal_for_session(identity.services, answer.cookie)
    assert caller is not None
    out = await identity.run(LOGOUT, caller=caller)
    assert out.data is True
    assert out.context.response_cookies == [("", 0)]
    assert await principal_for_session(identity.services, answer.cookie) is None
    [row] = await identity.audit("session.revoked")
    assert (row.actor, row.target) == (member.user_id, f"session:{caller.credential_id}")


async def test_an_ended_session_is_not_listed(identity: Identity) -> None:
    member = await identity.member()
    await signed_in(identity, member)
    identity.clock.advance(seconds=3_600)
    caller = await signed_in(identity, member)
    assert (await identity.run(SESSIONS, caller=caller)).data["meta"]["total"] == 1


async def test_a_token_reaches_no_session(identity: Identity) -> None:
    member = await identity.member()
    session = await signed_in(identity, member)
    made = (await identity.run(CREATE_TOKEN, caller=member.principal, input={"name": "x"})).data
    caller = await principal_of(identity, made["secret"])
    for document, variables in ((SESSIONS, {}), (LOGOUT, {}), (DELETE_SESSION, {"id": session.credential_id})):
        assert (await refused(identity, document, caller, **variables)).code is ErrorCode.FORBIDDEN


async def test_expired_sessions_are_cleared_away(identity: Identity) -> None:
    member = await identity.member()
    await signed_in(identity, member)
    identity.clock.advance(seconds=ABSOLUTE_SECONDS)
    kept = await signed_in(identity, member)
    async with identity.database.write() as session:
        await forget_expired_sessions(session, now=identity.clock())
        assert (await session.execute(select(col(Session.id)))).scalars().all() == [kept.credential_id]


# --- What a thief of the database gets


async def test_t12_a_dump_of_the_database_holds_no_usable_secret(identity: Identity) -> None:
    member = await identity.member()
    with capture_logs() as logs:
        cookie = (await identity.run(LOGIN, email=member.email, password=PASSWORD)).cookie
        key = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "x"})).data["secret"]
        token = (await identity.run(CREATE_TOKEN, caller=member.principal, input={"name": "x"})).data["secret"]
        for credential in (key, token):
            await principal_of(identity, credential)
        await refused(identity, LOGIN, None, email=member.email, password="wrong but secret")
        await identity.services.background.settle()
    dump = await identity.dump() + repr(logs) + repr(identity.limiter.hits)
    assert member.user_id in dump, "the dump holds rows"
    for secret in (PASSWORD, "wrong but secret", cookie, cookie.rpartition(".")[2], key, key[10:], token, token[10:]):
        assert secret not in dump
    # What is stored does not work as a token either, whatever prefix a thief puts before it.
    stored = [word for word in dump.replace("'", " ").split() if len(word) == 64]
    assert len(stored) >= 2
    for word in stored:
        assert await principal_for_token(identity.services, f"hg_ak_{word[:48]}") is None
