"""What every request passes on its way in: a name and a log line, then authentication and the general budget."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from contextlib import suppress
from functools import partial

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.authentication import authenticate
from app.graphql_view import PATH as GRAPHQL
from app.graphql_view import graphql_refusal
from app.headers import REQUEST_ID
from app.metrics import Metrics
from app.proxies import TrustedProxies
from compat_rest.adapter import CONTEXT, OPERATION, ROUTE
from compat_rest.envelopes import error_response
from schema.execution.errors import INTERNAL_MESSAGE
from schema.kernel.context import RequestContext, Services
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ports import RateBudget

log = structlog.get_logger(__name__)

PROBES = frozenset({"/api/health", "/api/ready"})
# Probes have a budget of their own: a flood from behind the same address must not get a healthy process restarted.
PROBE_BUDGET = RateBudget(family="probes", requests=600, seconds=60)
# What registries deliver. Whoever sends it proves himself with the registry's secret, often in Authorization, which is then
# no credential of ours; and many registries may be behind one address.
DELIVERIES = "/api/webhooks/"
DELIVERIES_BUDGET = RateBudget(family="deliveries", requests=600, seconds=60)
LARGE_BODY_BYTES = 65_536
DROP_IDLE_SECONDS = 10.0
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SERVER_ERROR = 500
_CLIENT_ERROR = 400


class UnreadBody:
    """Lets a client that is refused finish sending, so that it sees the answer; then the connection ends.

    Without this the server would read and drop whatever comes, without end. Hanging up at once is no better: to a client
    that sends before it listens, a wrong key would look like a broken network. So as much is dropped as could have been
    asked for, as long as it keeps coming.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _announces_large_body(scope):
            await self._app(scope, receive, send)
            return
        unread = True

        async def receive_and_note() -> Message:
            nonlocal unread
            message = await receive()
            unread = unread and message.get("more_body", False)
            return message

        async def send_and_drop(message: Message) -> None:
            if message["type"] == "http.response.start" and unread:
                MutableHeaders(scope=message)["Connection"] = "close"
            elif unread and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await self._drop(receive_and_note)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self._app(scope, receive_and_note, send_and_drop)

    async def _drop(self, receive: Receive) -> None:
        dropped, more = 0, True
        with suppress(TimeoutError):
            while more and dropped <= self._max_bytes:
                async with asyncio.timeout(DROP_IDLE_SECONDS):
                    message = await receive()
                more = message.get("more_body", False)
                dropped += len(message.get("body", b""))


def _announces_large_body(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    length = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not length.isdecimal() or int(length) > LARGE_BODY_BYTES


class SingleSlash:
    """Takes more than one slash at the beginning of a path for one.

    Sensors in the field put the path behind the address they were given, and an address may end with a slash.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("//"):
            scope["path"] = "/" + scope["path"].lstrip("/")
            scope["raw_path"] = b"/" + scope.get("raw_path", scope["path"].encode()).lstrip(b"/")
        await self._app(scope, receive, send)


class RequestLog:
    """Names a request, and says at its end what became of it. The query string is left out: it may hold anything."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        scope[REQUEST_ID] = given if _SANE_REQUEST_ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"
        with structlog.contextvars.bound_contextvars(request_id=scope[REQUEST_ID]):
            if scope["type"] == "http":
                await self._log(scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _log(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = _SERVER_ERROR
        began = time.perf_counter()

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            self._finish(scope, status, time.perf_counter() - began)

    def _finish(self, scope: Scope, status: int, seconds: float) -> None:
        route: str | None = scope.get(ROUTE)
        self._metrics.observe_request(method=scope["method"], route=route, status=status, seconds=seconds)
        if OPERATION in scope:
            self._metrics.count_operation(scope[OPERATION], failed=status >= _CLIENT_ERROR)
        context: RequestContext | None = scope.get(CONTEXT)
        caller = context.principal_or_none if context is not None else None
        write = log.error if status >= _SERVER_ERROR else log.info
        write(
            "http.request",
            method=scope["method"],
            route=route or "unmatched",
            status=status,
            duration_ms=round(seconds * 1000, 2),
            client_ip=None if context is None else context.client_ip,
            organization=None if caller is None else caller.organization_id,
            actor=None if caller is None else caller.actor_id,
        )


class FaultBarrier:
    """The last resort: whatever was raised below becomes an opaque answer with a request id, and a log entry."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except HarborGuardError as error:
            if started:
                raise
            await _refusal(error, scope)(scope, receive, send)
        except Exception:
            log.exception("http.unexpected_error")
            if started:
                raise
            hidden = HarborGuardError(ErrorCode.INTERNAL_ERROR, INTERNAL_MESSAGE)
            await _refusal(hidden, scope)(scope, receive, send)


def _refusal(error: HarborGuardError, scope: Scope) -> Response:
    answer = graphql_refusal if scope["path"] == GRAPHQL else error_response
    return answer(error, scope[REQUEST_ID])


class Admission:
    """Makes the caller's context, for calls of the API: who it is, and whether the general budget has room.

    Anonymous callers and failed credentials are counted by address, everybody else by credential. A refusal is counted
    before it is answered, so guessing credentials ends in RATE_LIMITED.
    """

    def __init__(self, app: ASGIApp, *, services: Services, proxies: TrustedProxies, budget: RateBudget) -> None:
        self._app = app
        self._services = services
        self._proxies = proxies
        self._budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or not is_api(scope["path"]):
            await self._app(scope, receive, send)
            return
        context = self._anonymous(scope)
        scope[CONTEXT] = context
        if scope["type"] == "http":
            await self._admit(scope, context)
        await self._app(scope, receive, send)

    def _anonymous(self, scope: Scope) -> RequestContext:
        return RequestContext(
            services=self._services,
            principal_or_none=None,
            request_id=scope[REQUEST_ID],
            client_ip=self._proxies.client_ip(scope),
            user_agent=Headers(scope=scope).get("user-agent", ""),
        )

    async def _admit(self, scope: Scope, context: RequestContext) -> None:
        """Raises HarborGuardError: the 401 or 403 of a credential, or RATE_LIMITED."""
        if scope["path"].startswith(DELIVERIES):
            await context.charge(DELIVERIES_BUDGET)
            return
        budget = PROBE_BUDGET if scope["path"] in PROBES else self._budget
        resolve = partial(authenticate, scope, self._services)
        try:
            context.principal_or_none = await resolve()
        except Exception:
            await context.charge(budget)
            raise
        context.resolve_again = resolve
        await context.charge(budget)


def is_api(path: str) -> bool:
    return path == GRAPHQL or path.startswith("/api/")
