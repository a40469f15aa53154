"""The headers every answer carries: what a browser may do with it, what is left of the caller's budget, the session."""

from __future__ import annotations

import math
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.authentication import SESSION_COOKIE
from app.proxies import TrustedProxies
from compat_rest.adapter import CONTEXT
from schema.kernel.context import RequestContext
from schema.kernel.ports import RateState

REQUEST_ID = "harborguard.request_id"
# An answer of the API is data. A browser that is made to show it as a page gets nothing to run, load or send.
DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# A page for people (GraphiQL, /docs): its own files and this server, nothing inline, nothing from elsewhere.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HSTS = "max-age=31536000; includeSubDomains"
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_TOO_MANY_REQUESTS = 429
LARGE_BODY_BYTES = 65_536


class ResponseHeaders:
    """Pure ASGI. `secure` says that users reach the service over HTTPS whatever the last hop looks like."""

    def __init__(self, app: ASGIApp, *, proxies: TrustedProxies, secure: bool) -> None:
        self._app = app
        self._proxies = proxies
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secure = self._secure or self._proxies.is_https(scope)
        unread = _announces_large_body(scope)

        async def receive_and_note() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if unread:
                    headers["Connection"] = "close"  # or the server would read, and drop, all that is still to come
                headers.append("X-Request-Id", scope[REQUEST_ID])
                _add_security(headers, secure=secure)
                context: RequestContext | None = scope.get(CONTEXT)
                if context is not None:
                    headers.setdefault("Cache-Control", "no-store")
                    _add_budget(headers, context.rate_state, status=message["status"])
                    for token, max_age in context.response_cookies:
                        headers.append("Set-Cookie", session_cookie(token, max_age, secure=secure))
            await send(message)

        await self._app(scope, receive_and_note if unread else receive, send_with_headers)


def _announces_large_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not length.isdecimal() or int(length) > LARGE_BODY_BYTES


def _add_security(headers: MutableHeaders, *, secure: bool) -> None:
    headers.setdefault("Content-Security-Policy", DATA_POLICY)
    headers.raw.extend(_SECURITY)  # no answer has them already
    if secure:
        headers.append("Strict-Transport-Security", HSTS)


def _add_budget(headers: MutableHeaders, state: RateState | None, *, status: int) -> None:
    if state is None:
        return
    headers.append("X-RateLimit-Limit", str(state.limit))
    headers.append("X-RateLimit-Remaining", str(state.remaining))
    headers.append("X-RateLimit-Reset", str(state.reset_at))
    if status == _TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(max(1, math.ceil(state.reset_at - time.time())))


def session_cookie(token: str, max_age: int, *, secure: bool) -> str:
    """A Set-Cookie value; an empty token with `max_age` 0 removes the cookie."""
    attributes = f"Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax"
    return f"{SESSION_COOKIE}={token}; {attributes}{'; Secure' if secure else ''}"
