"""From a request to its caller: exactly one credential, `X-API-Key`, `Authorization: Bearer` or the session cookie.

More than one credential is refused rather than ranked: which one counted would be a guess, and a log of the request
would not tell.

A cookie is sent by the browser whoever made the page, so a request that came with it and can change something must also
carry `X-HarborGuard-Client`. A foreign page cannot send that header: one that is not on the CORS safelist makes the
browser ask first (a preflight, Fetch standard, section "CORS protocol"), and this server allows no foreign origin.
Credentials in headers need no such thing, because no browser adds them by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from schema.credentials.resolve import principal_for_session, principal_for_token
from schema.kernel.context import Services
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import Principal
from schema.kernel.secrets import token_kind

SESSION_COOKIE = "next-auth.session-token"
CLIENT_HEADER = "X-HarborGuard-Client"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller presented: a well-formed token, or the value of the session cookie. Never printed."""

    secret: str = field(repr=False)
    is_session: bool


async def authenticate(scope: Scope, services: Services) -> Principal | None:
    """The caller of an HTTP request (an ASGI scope), None for an anonymous one.

    Raises UNAUTHORIZED for a token that does not count and for more than one credential, FORBIDDEN for a cookie without
    `X-HarborGuard-Client` on a request that can change something. A session that is over makes an anonymous caller, not
    an error: the browser keeps sending its cookie, and signing in again has to work.
    """
    headers = Headers(scope=scope)
    credential = read_credential(headers)
    principal = await _resolve(credential, services)
    if principal is not None and credential is not None and credential.is_session:
        check_cross_site(scope["method"], headers)
    return principal


async def authenticate_socket(scope: Scope, payload: object, services: Services) -> Principal | None:
    """The caller of a WebSocket: the payload of `connection_init` or the headers of its handshake. Errors as above."""
    return await _resolve(read_socket_credential(Headers(scope=scope), payload), services)


def read_credential(headers: Headers) -> Credential | None:
    """The one credential of an HTTP request. Raises UNAUTHORIZED for several, or for one of no known form."""
    return _only_one([*_from_headers(headers), *_from_cookies(headers)])


def read_socket_credential(headers: Headers, payload: object) -> Credential | None:
    """The one credential of a WebSocket, out of the payload or the handshake.

    The payload is `{"authorization": "Bearer …"}`, `{"apiKey": …}` or `{"x-api-key": …}`.
    WebSockets know no preflight, so the cookie counts only on a handshake from a page of this host: FORBIDDEN otherwise,
    unless the payload brings a credential of its own.
    """
    given = [*_from_payload(payload), *_from_headers(headers)]
    cookies = list(_from_cookies(headers))
    if cookies and not _from_this_host(headers):
        if not given:
            raise HarborGuardError(
                ErrorCode.FORBIDDEN, "The session cookie counts on pages of this host only; send a token instead"
            )
        cookies = []
    return _only_one([*given, *cookies])


def check_cross_site(method: str, headers: Headers) -> None:
    """What a request that came with the cookie has to prove (see the top of this file). Raises FORBIDDEN."""
    if method not in _SAFE_METHODS and not headers.get(CLIENT_HEADER):
        raise HarborGuardError(
            ErrorCode.FORBIDDEN, f"A request with the session cookie needs the header {CLIENT_HEADER}, with any value"
        )


async def _resolve(credential: Credential | None, services: Services) -> Principal | None:
    if credential is None:
        return None
    if credential.is_session:
        return await principal_for_session(services, credential.secret)
    principal = await principal_for_token(services, credential.secret)
    if principal is None:
        raise _invalid()
    return principal


def _only_one(given: list[Credential]) -> Credential | None:
    if len(given) > 1:
        raise HarborGuardError(
            ErrorCode.UNAUTHORIZED,
            "Send exactly one credential: X-API-Key, Authorization: Bearer, or the session cookie",
        )
    if not given:
        return None
    if not given[0].is_session and token_kind(given[0].secret) is None:
        raise _invalid()
    return given[0]


def _from_headers(headers: Headers) -> Iterator[Credential]:
    for value in headers.getlist("x-api-key"):
        yield Credential(value.strip(), is_session=False)
    for value in headers.getlist("authorization"):
        yield _bearer(value)


def _from_payload(payload: object) -> Iterator[Credential]:
    if not isinstance(payload, Mapping):
        return
    for name in ("authorization", "apiKey", "x-api-key"):
        value = payload.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise _invalid()
        yield _bearer(value) if name == "authorization" else Credential(value.strip(), is_session=False)


def _from_cookies(headers: Headers) -> Iterator[Credential]:
    # Read here, because a ready-made parser keeps one of two cookies of the same name without saying so.
    for header in headers.getlist("cookie"):
        for part in header.split(";"):
            name, _, value = part.strip().partition("=")
            if name == SESSION_COOKIE and value:
                yield Credential(value, is_session=True)


def _bearer(value: str) -> Credential:
    scheme, _, token = value.strip().partition(" ")
    if scheme.lower() != "bearer":
        raise HarborGuardError(ErrorCode.UNAUTHORIZED, "Authorization must be: Bearer <token>")
    return Credential(token.strip(), is_session=False)


def _invalid() -> HarborGuardError:
    """One answer for malformed, unknown, expired and revoked: it must not help whoever guesses."""
    return HarborGuardError(ErrorCode.UNAUTHORIZED, "Invalid or expired credential")


def _from_this_host(headers: Headers) -> bool:
    origins, hosts = headers.getlist("origin"), headers.getlist("host")
    if len(origins) != 1 or len(hosts) != 1:
        return False
    try:
        origin, host = urlsplit(origins[0]), urlsplit(f"//{hosts[0]}")
        origin_port, host_port = origin.port, host.port
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(origin.scheme)
    if default is None or not origin.hostname:
        return False
    return (origin.hostname, origin_port or default) == (host.hostname, host_port or default)
