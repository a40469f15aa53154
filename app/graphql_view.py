"""`/graphql`: queries and mutations over HTTP, everything over graphql-transport-ws, and the GraphiQL page.

Strawberry speaks the WebSocket protocol and executes; what a request may look like, who asks and how long it may take
is decided here. Answers follow the GraphQL convention: 200 with `errors`, another status only when the request itself
was refused.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson
import strawberry
from graphql import ExecutionResult, GraphQLError, OperationType
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter, GraphQL
from strawberry.http.exceptions import NonJsonMessageReceived, NonTextMessageReceived, WebSocketDisconnected
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler, Operation
from strawberry.subscriptions.protocols.graphql_transport_ws.types import ConnectionInitMessage, Message

from app.authentication import authenticate_socket
from app.headers import PAGE_POLICY
from app.metrics import Metrics
from compat_rest.adapter import CONTEXT, ROUTE
from compat_rest.bodies import MAX_JSON_BYTES, read_json_object
from compat_rest.envelopes import STATUS_OF, JsonResponse, error_headers
from schema.execution.errors import presented, refused
from schema.execution.executable import ExecutableSchema
from schema.execution.executable import Request as GraphQLRequest
from schema.execution.limits import time_limit
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError, bad_request
from schema.kernel.ports import RateBudget
from schema.kernel.principal import ActorKind

PATH = "/graphql"
METHODS = ("GET", "HEAD", "POST")
PAGE = Path(__file__).parent / "static/graphiql/index.html"
MAX_OPERATIONS_PER_SOCKET = 10
INIT_SECONDS = 10.0
UNAUTHORIZED_CLOSE, FORBIDDEN_CLOSE, TOO_LARGE_CLOSE = 4401, 4403, 1009


def graphql_refusal(error: HarborGuardError, request_id: str) -> Response:
    """A request that was not executed, in the form a GraphQL client reads."""
    headers = error_headers(error)
    if error.code is ErrorCode.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(METHODS)
    body = {"errors": [refused(error, request_id).formatted]}
    return JsonResponse(body, status_code=STATUS_OF[error.code], headers=headers)


class Socket(ASGIWebSocketAdapter):
    """Text frames of at most MAX_JSON_BYTES, both as the protocol wants them."""

    ws: WebSocket

    async def iter_json(self, *, ignore_parsing_errors: bool = False) -> AsyncGenerator[object, None]:
        del ignore_parsing_errors
        try:
            while self.ws.application_state is not WebSocketState.DISCONNECTED:
                text = await self.ws.receive_text()
                if len(text.encode()) > MAX_JSON_BYTES:
                    await self.close(TOO_LARGE_CLOSE, "The message is too large")
                    return
                try:
                    message = orjson.loads(text)
                except orjson.JSONDecodeError as error:
                    raise NonJsonMessageReceived from error
                if not isinstance(message, dict):
                    raise NonJsonMessageReceived
                yield message
        except KeyError as error:
            raise NonTextMessageReceived from error
        except WebSocketDisconnect:
            return

    async def send_json(self, message: Mapping[str, object]) -> None:
        if self.ws.application_state is WebSocketState.DISCONNECTED:
            raise WebSocketDisconnected
        try:
            await self.ws.send_text(orjson.dumps(message).decode())
        except WebSocketDisconnect as error:
            raise WebSocketDisconnected from error


class SocketHandler(BaseGraphQLTransportWSHandler[RequestContext, None]):
    """Asks who the caller is when the connection begins, and again for every operation on it."""

    view: GraphQLView
    websocket: Socket
    _payload: object = None

    async def handle_message(self, message: Message) -> None:
        if _is_well_formed(message):
            await super().handle_message(message)
        else:
            await self.handle_invalid_message("Failed to parse message")

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        self._payload = message.get("payload")
        try:
            _ = (await self._caller()).principal
        except HarborGuardError as error:
            code = FORBIDDEN_CLOSE if error.code is ErrorCode.FORBIDDEN else UNAUTHORIZED_CLOSE
            await self.websocket.close(code, error.message[:120])
            return
        await super().handle_connection_init(message)

    async def _caller(self) -> RequestContext:
        """A context of its own for one operation. Raises HarborGuardError."""
        connection = self.context
        resolve = partial(authenticate_socket, self.websocket.ws.scope, self._payload, connection.services)
        return RequestContext(
            services=connection.services,
            principal_or_none=await resolve(),
            request_id=connection.request_id,
            client_ip=connection.client_ip,
            user_agent=connection.user_agent,
            resolve_again=resolve,
        )

    async def run_operation(self, operation: Operation[RequestContext, None]) -> None:
        refusal = None
        try:
            failed = await self._run(operation)
        except HarborGuardError as error:
            refusal = refused(error, self.context.request_id)
        except WebSocketDisconnected:
            return
        except Exception as error:  # noqa: BLE001 -- a task of its own: nobody above would see it
            refusal = presented(GraphQLError("", original_error=error), self.context.request_id)
        if refusal is not None:
            failed = True
            with suppress(WebSocketDisconnected):
                await operation.send_initial_errors([refusal])
        self.view.metrics.count_operation(operation.operation_name, failed=failed)

    async def _run(self, operation: Operation[RequestContext, None]) -> bool:
        """Sends what comes; the first result has to come in time. Whether any had errors. Raises HarborGuardError."""
        context = await self._caller()
        await context.charge(self.view.budget)
        schema = self.view.executable
        request = GraphQLRequest(operation.query, operation.variables, operation.operation_name)
        prepared = schema.operation(request, context)
        if isinstance(prepared, list):
            await operation.send_initial_errors(prepared)
            return True
        failed = False
        async with aclosing(schema.stream(prepared, operation.variables, context)) as stream:
            async with time_limit():
                result = await anext(stream, None)
            while result is not None:
                failed = failed or bool(result.errors)
                await operation.send_next(cast("strawberry.types.ExecutionResult", result))  # it has the same members
                result = await anext(stream, None)
        await operation.send_operation_message({"id": operation.id, "type": "complete"})
        return failed


class GraphQLView(GraphQL[RequestContext, None]):
    """An ASGI application for `/graphql`, HTTP and WebSocket."""

    websocket_adapter_class = Socket
    graphql_transport_ws_handler_class = SocketHandler

    def __init__(self, schema: ExecutableSchema, *, metrics: Metrics, budget: RateBudget) -> None:
        super().__init__(
            schema.declared,
            graphql_ide=None,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=INIT_SECONDS),
            max_subscriptions_per_connection=MAX_OPERATIONS_PER_SOCKET,
        )
        self.executable = schema
        self.metrics = metrics
        self.budget = budget

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope[CONTEXT]
        if scope["type"] == "websocket":
            await self._open_socket(scope, receive, send)
            return
        scope[ROUTE] = PATH
        try:
            response = await self._answer(Request(scope, receive), context)
        except HarborGuardError as error:
            response = graphql_refusal(error, context.request_id)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> RequestContext:
        del response
        return cast("RequestContext", request.scope[CONTEXT])

    async def _open_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext = scope[CONTEXT]
        try:
            await context.charge(self.budget)
        except HarborGuardError:
            await WebSocket(scope, receive, send).close()
            return
        await super().__call__(scope, receive, send)

    async def _answer(self, request: Request, context: RequestContext) -> Response:
        if request.method not in METHODS:
            raise HarborGuardError(ErrorCode.METHOD_NOT_ALLOWED, "GraphQL takes GET and POST")
        if request.method != "POST":
            if "query" not in request.query_params and "text/html" in request.headers.get("accept", ""):
                return FileResponse(PAGE, headers={"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"})
            given = _from_query(request, context)
            allowed = {OperationType.QUERY}
        else:
            given = await read_json_object(request)
            allowed = {OperationType.QUERY, OperationType.MUTATION}
        result = await self._execute(given, context, allowed)
        return JsonResponse(result.formatted)

    async def _execute(
        self, given: Mapping[str, Any], context: RequestContext, allowed: Collection[OperationType]
    ) -> ExecutionResult:
        query, variables, name = _text(given, "query"), given.get("variables"), _text(given, "operationName")
        if not query:
            raise bad_request("The request has no query")
        if not isinstance(variables, dict | None):
            raise bad_request("variables must be an object")
        request = GraphQLRequest(query, variables, name)
        operation = self.executable.operation(request, context, allowed=allowed)
        if isinstance(operation, list):
            result = ExecutionResult(None, operation)
        else:
            try:
                async with time_limit():
                    result = await self.executable.execute(operation, variables, context)
            except HarborGuardError as error:
                result = ExecutionResult(None, [refused(error, context.request_id)])
        self.metrics.count_operation(name, failed=bool(result.errors))
        return result


def _is_well_formed(message: Mapping[str, Any]) -> bool:
    """Strawberry reads these members without looking at their types first."""
    kind, number = message.get("type"), message.get("id")
    if kind not in ("subscribe", "complete"):
        return isinstance(kind, str)
    if kind == "complete" or not isinstance(number, str):
        return isinstance(number, str)
    payload = message.get("payload")
    return (
        isinstance(payload, dict)
        and isinstance(payload.get("query"), str)
        and isinstance(payload.get("variables"), dict | None)
        and isinstance(payload.get("operationName"), str | None)
    )


def _from_query(request: Request, context: RequestContext) -> dict[str, Any]:
    caller = context.principal_or_none
    if caller is not None and caller.actor_kind is ActorKind.USER:
        # A link on a foreign page would be followed with the cookie.
        raise bad_request("With the session cookie, send queries by POST")
    given: dict[str, Any] = dict(request.query_params)
    if given.get("variables"):
        try:
            given["variables"] = orjson.loads(given["variables"])
        except orjson.JSONDecodeError:
            raise bad_request("variables must be a JSON object") from None
    else:
        given.pop("variables", None)
    return given


def _text(given: Mapping[str, Any], name: str) -> str | None:
    value = given.get(name)
    if not isinstance(value, str | None):
        raise bad_request(f"{name} must be text")
    return value
