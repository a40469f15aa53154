from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from app.authentication import (
    CLIENT_HEADER,
    SESSION_COOKIE,
    Credential,
    authenticate,
    authenticate_socket,
    check_cross_site,
    read_credential,
    read_socket_credential,
)
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import ActorKind, Principal
from schema.kernel.secrets import TokenKind, new_token
from tests.identity import CREATE_KEY, CREATE_TOKEN, LOGIN, PASSWORD, Identity

KEY = "hg_ak_" + "0123456789ab" * 4
TOKEN = "hg_pat_" + "0123456789ab" * 4
COOKIE = f"{SESSION_COOKIE}=aaa.bbb.ccc"
REFUSED = "Invalid or expired credential"
SEVERAL = "Send exactly one credential: X-API-Key, Authorization: Bearer, or the session cookie"


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.lower().encode(), value.encode("latin-1")) for name, value in pairs])


def scope(*pairs: tuple[str, str], method: str = "GET") -> dict[str, Any]:
    return {"type": "http", "method": method, "headers": headers(*pairs).raw}


def refusal(*pairs: tuple[str, str]) -> HarborGuardError:
    with pytest.raises(HarborGuardError) as refused:
        read_credential(headers(*pairs))
    assert refused.value.code is ErrorCode.UNAUTHORIZED
    return refused.value


# --- Reading: pure


def test_no_credential_is_anonymous() -> None:
    assert read_credential(headers()) is None
    assert read_credential(headers(("Cookie", "theme=dark; lang=en"))) is None
    assert read_credential(headers(("Cookie", f"{SESSION_COOKIE}="))) is None


@pytest.mark.parametrize("secret", [KEY, TOKEN])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("X-API-Key", "{}"),
        ("x-api-key", " {} "),
        ("Authorization", "Bearer {}"),
        ("Authorization", "bearer {}"),
        ("Authorization", "Bearer   {}"),
    ],
)
def test_either_token_comes_in_either_header(secret: str, name: str, form: str) -> None:
    assert read_credential(headers((name, form.format(secret)))) == Credential(secret, is_session=False)


@pytest.mark.parametrize("header", [COOKIE, f"theme=dark; {COOKIE}; lang=en", f" {COOKIE} "])
def test_the_session_comes_in_its_cookie(header: str) -> None:
    assert read_credential(headers(("Cookie", header))) == Credential("aaa.bbb.ccc", is_session=True)


@pytest.mark.parametrize(
    "pairs",
    [
        (("X-API-Key", KEY), ("Authorization", f"Bearer {KEY}")),
        (("X-API-Key", KEY), ("X-API-Key", KEY)),
        (("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {TOKEN}")),
        (("X-API-Key", KEY), ("Cookie", COOKIE)),
        (("Authorization", f"Bearer {TOKEN}"), ("Cookie", COOKIE)),
        (("Cookie", COOKIE), ("Cookie", COOKIE)),
        (("Cookie", f"{COOKIE}; {SESSION_COOKIE}=another"),),
        (("X-API-Key", "malformed"), ("Cookie", COOKIE)),
    ],
)
def test_more_than_one_credential_is_refused(pairs: tuple[tuple[str, str], ...]) -> None:
    assert refusal(*pairs).message == SEVERAL


@pytest.mark.parametrize(
    "pair",
    [
        ("X-API-Key", ""),
        ("X-API-Key", "secret"),
        ("X-API-Key", KEY[:-1]),
        ("X-API-Key", KEY + "0"),
        ("X-API-Key", KEY.upper()),
        ("X-API-Key", f"Bearer {KEY}"),
        ("X-API-Key", f"{KEY},{KEY}"),
        ("X-API-Key", "hg_ak_" + "é" * 48),
        ("X-API-Key", "hg_setup_" + "0" * 48),
        ("Authorization", "Bearer"),
        ("Authorization", "Bearer "),
        ("Authorization", f"Bearer {KEY} {KEY}"),
        ("Authorization", "Bearer aaa.bbb.ccc"),
    ],
)
def test_t13_a_malformed_token_reads_like_a_wrong_one(pair: tuple[str, str]) -> None:
    assert refusal(pair).message == REFUSED


@pytest.mark.parametrize("value", ["Basic YWRhOmFkYQ==", KEY, "", "Token x"])
def test_another_scheme_is_told_what_to_send(value: str) -> None:
    assert refusal(("Authorization", value)).message == "Authorization must be: Bearer <token>"


def test_a_credential_is_never_printed() -> None:
    credential = read_credential(headers(("X-API-Key", KEY)))
    assert KEY not in repr(credential)
    assert KEY not in refusal(("X-API-Key", KEY + "x")).message


HEADER_TEXT = st.text(st.characters(max_codepoint=255), max_size=80)


@given(
    st.lists(
        st.tuples(st.sampled_from(["x-api-key", "authorization", "cookie"]), HEADER_TEXT | st.just(COOKIE)), max_size=4
    )
)
def test_whatever_comes_is_one_credential_none_or_unauthorized(pairs: list[tuple[str, str]]) -> None:
    try:
        credential = read_credential(headers(*pairs))
    except HarborGuardError as error:
        assert error.code is ErrorCode.UNAUTHORIZED  # noqa: PT017 -- either outcome is right, no other is
    else:
        assert credential is None or credential.secret


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "post"])
def test_t14_a_change_by_cookie_needs_the_client_header(method: str) -> None:
    check_cross_site(method, headers((CLIENT_HEADER, "console")))
    for pairs in ((), ((CLIENT_HEADER, ""),)):
        with pytest.raises(HarborGuardError) as refused:
            check_cross_site(method, headers(*pairs))
        assert refused.value.code is ErrorCode.FORBIDDEN


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_t14_reading_by_cookie_does_not(method: str) -> None:
    check_cross_site(method, headers())


def test_t14_the_header_is_one_a_form_or_a_simple_request_cannot_carry() -> None:
    """Only these may cross origins without a preflight (Fetch standard, CORS-safelisted request-header)."""
    assert CLIENT_HEADER.lower() not in {"accept", "accept-language", "content-language", "content-type", "range"}


# --- WebSockets: pure

HOST = ("Host", "guard.example")
ORIGIN = ("Origin", "https://guard.example")


@pytest.mark.parametrize(
    ("payload", "secret"),
    [({"authorization": f"Bearer {TOKEN}"}, TOKEN), ({"apiKey": KEY}, KEY), ({"apiKey": TOKEN, "client": 7}, TOKEN)],
)
def test_a_socket_says_who_it_is_in_its_first_message(payload: dict[str, Any], secret: str) -> None:
    assert read_socket_credential(headers(HOST), payload) == Credential(secret, is_session=False)


@pytest.mark.parametrize("payload", [None, {}, {"apiKey": None}, [], "Bearer x", 7])
def test_a_socket_that_says_nothing_is_anonymous(payload: object) -> None:
    assert read_socket_credential(headers(HOST), payload) is None


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"apiKey": 7}, REFUSED),
        ({"apiKey": "x"}, REFUSED),
        ({"authorization": ["Bearer x"]}, REFUSED),
        ({"authorization": KEY}, "Authorization must be: Bearer <token>"),
        ({"authorization": f"Bearer {TOKEN}", "apiKey": KEY}, SEVERAL),
    ],
)
def test_a_socket_is_refused_like_a_request(payload: dict[str, Any], message: str) -> None:
    with pytest.raises(HarborGuardError) as refused:
        read_socket_credential(headers(HOST), payload)
    assert (refused.value.code, refused.value.message) == (ErrorCode.UNAUTHORIZED, message)


def test_a_socket_may_carry_its_credential_in_the_handshake() -> None:
    found = read_socket_credential(headers(HOST, ("Authorization", f"Bearer {TOKEN}")), None)
    assert found == Credential(TOKEN, is_session=False)
    with pytest.raises(HarborGuardError, match="exactly one"):
        read_socket_credential(headers(HOST, ("X-API-Key", KEY)), {"apiKey": KEY})


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://guard.example", "guard.example"),
        ("https://guard.example", "guard.example:443"),
        ("https://GUARD.example", "guard.EXAMPLE"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://localhost", "localhost:80"),
    ],
)
def test_t14_a_page_of_this_host_opens_a_socket_by_cookie(origin: str, host: str) -> None:
    found = read_socket_credential(headers(("Host", host), ("Origin", origin), ("Cookie", COOKIE)), None)
    assert found == Credential("aaa.bbb.ccc", is_session=True)


FOREIGN = [
    (HOST,),
    (HOST, ("Origin", "null")),
    (HOST, ("Origin", "")),
    (HOST, ("Origin", "https://evil.example")),
    (HOST, ("Origin", "https://guard.example.evil.example")),
    (HOST, ("Origin", "https://evil.example/guard.example")),
    (HOST, ("Origin", "https://guard.example@evil.example")),
    (HOST, ("Origin", "https://guard.example:8443")),
    (HOST, ("Origin", "http://guard.example:x")),
    (HOST, ("Origin", "file://guard.example")),
    (HOST, ORIGIN, ("Origin", "https://evil.example")),
    (HOST, ("Host", "evil.example"), ORIGIN),
    (ORIGIN,),
]


@pytest.mark.parametrize("pairs", FOREIGN)
def test_t14_a_foreign_page_opens_no_socket_by_cookie(pairs: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(HarborGuardError) as refused:
        read_socket_credential(headers(*pairs, ("Cookie", COOKIE)), None)
    assert refused.value.code is ErrorCode.FORBIDDEN


def test_a_foreign_page_with_a_token_of_its_own_is_not_in_the_cookies_way() -> None:
    pairs = (HOST, ("Origin", "https://other.example"), ("Cookie", COOKIE))
    assert read_socket_credential(headers(*pairs), {"apiKey": KEY}) == Credential(KEY, is_session=False)
    with pytest.raises(HarborGuardError, match="exactly one"):
        read_socket_credential(headers(HOST, ORIGIN, ("Cookie", COOKIE)), {"apiKey": KEY})


# --- The whole way, on a database


async def credentials(identity: Identity) -> tuple[str, str, str]:
    """A key, a token and a cookie of one organization."""
    member = await identity.member()
    key = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "x"})).data["secret"]
    token = (await identity.run(CREATE_TOKEN, caller=member.principal, input={"name": "x"})).data["secret"]
    cookie = (await identity.run(LOGIN, email=member.email, password=PASSWORD)).cookie
    return key, token, f"{SESSION_COOKIE}={cookie}"


async def kind_of(principal: Principal | None) -> ActorKind | None:
    return None if principal is None else principal.actor_kind


async def test_each_credential_leads_to_its_caller(identity: Identity) -> None:
    key, token, cookie = await credentials(identity)
    for pair, kind in (
        (("X-API-Key", key), ActorKind.API_KEY),
        (("Authorization", f"Bearer {key}"), ActorKind.API_KEY),
        (("X-API-Key", token), ActorKind.TOKEN),
        (("Authorization", f"Bearer {token}"), ActorKind.TOKEN),
        (("Cookie", cookie), ActorKind.USER),
    ):
        assert await kind_of(await authenticate(scope(pair), identity.services)) is kind
    assert await authenticate(scope(), identity.services) is None


async def test_t13_unknown_expired_and_revoked_read_the_same(identity: Identity) -> None:
    member = await identity.member()
    made = (await identity.run(CREATE_KEY, caller=member.principal, input={"name": "x"})).data
    expiring = {"name": "x", "expiresAt": "2026-04-26T14:30:00Z"}
    expired = (await identity.run(CREATE_KEY, caller=member.principal, input=expiring)).data["secret"]
    await identity.run("mutation($id: ID!) { deleteApiKey(id: $id) }", caller=member.principal, id=made["id"])
    identity.clock.advance(hours=1)
    for secret in (new_token(TokenKind.API_KEY), new_token(TokenKind.PERSONAL), expired, made["secret"], KEY[:-1]):
        for authentication in (
            authenticate(scope(("X-API-Key", secret)), identity.services),
            authenticate_socket(scope(HOST), {"apiKey": secret}, identity.services),
        ):
            with pytest.raises(HarborGuardError) as refused:
                await authentication
            assert (refused.value.code, refused.value.message) == (ErrorCode.UNAUTHORIZED, REFUSED)


async def test_t13_a_malformed_credential_costs_no_query(identity: Identity) -> None:
    with identity.counted_statements() as statements:
        for pairs in (
            (("X-API-Key", KEY[:-1]),),
            (("Authorization", "Basic x"),),
            (("X-API-Key", KEY), ("Cookie", COOKIE)),
        ):
            with pytest.raises(HarborGuardError):
                await authenticate(scope(*pairs), identity.services)
        assert await authenticate(scope(("Cookie", COOKIE)), identity.services) is None
    assert statements == []


async def test_t14_a_cookie_changes_nothing_without_the_client_header(identity: Identity) -> None:
    key, token, cookie = await credentials(identity)
    with pytest.raises(HarborGuardError) as refused:
        await authenticate(scope(("Cookie", cookie), method="POST"), identity.services)
    assert refused.value.code is ErrorCode.FORBIDDEN
    allowed = scope(("Cookie", cookie), (CLIENT_HEADER, "console"), method="POST")
    assert await authenticate(allowed, identity.services) is not None
    for secret in (key, token):
        assert await authenticate(scope(("X-API-Key", secret), method="POST"), identity.services) is not None


async def test_a_session_that_is_over_does_not_bar_the_way_to_the_next(identity: Identity) -> None:
    _, _, cookie = await credentials(identity)
    identity.clock.advance(days=2)
    assert await authenticate(scope(("Cookie", cookie), method="POST"), identity.services) is None


async def test_t07_an_open_socket_is_asked_again(identity: Identity) -> None:
    member = await identity.member()
    made = (await identity.run(CREATE_TOKEN, caller=member.principal, input={"name": "x"})).data
    context = identity.context(None)
    context.resolve_again = lambda: authenticate_socket(scope(HOST), {"apiKey": made["secret"]}, identity.services)
    await context.recheck()
    assert context.principal.credential_id == made["id"]
    await identity.run(
        "mutation($id: ID!) { deletePersonalAccessToken(id: $id) }", caller=member.principal, id=made["id"]
    )
    with pytest.raises(HarborGuardError) as refused:
        await context.recheck()
    assert refused.value.code is ErrorCode.UNAUTHORIZED


async def test_a_socket_by_cookie_leads_to_its_user(identity: Identity) -> None:
    _, _, cookie = await credentials(identity)
    handshake = scope(HOST, ORIGIN, ("Cookie", cookie))
    assert await kind_of(await authenticate_socket(handshake, None, identity.services)) is ActorKind.USER
