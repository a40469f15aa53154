"""The REST routes as a Starlette application can mount them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graphql import GraphQLSchema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send

from compat_rest.endpoints import Endpoint, read_documents
from compat_rest.envelopes import error_response
from compat_rest.routes import ROUTES, Envelope, Route
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError

# Keys of an ASGI scope: the caller's context is put there for us, what we answered with is read there afterwards.
CONTEXT = "harborguard.context"
ROUTE = "harborguard.route"
OPERATION = "harborguard.operation"


class Resource:
    """Everything at one path, as an ASGI application: finds the row by its method."""

    def __init__(self, path: str, endpoints: Mapping[str, Endpoint]) -> None:
        self.path = path
        self.endpoints = dict(endpoints)
        reading = self.endpoints.get("GET")
        if reading is not None and reading.route.envelope is not Envelope.EVENTS:
            self.endpoints["HEAD"] = reading  # the server leaves the body out

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self.path
        context: RequestContext = scope[CONTEXT]
        endpoint = self.endpoints.get(scope["method"])
        if endpoint is None:
            await method_not_allowed(self.endpoints, context.request_id)(scope, receive, send)
            return
        scope[OPERATION] = endpoint.operation.name
        try:
            response = await endpoint.answer(Request(scope, receive), context)
        except HarborGuardError as error:
            response = error_response(error, context.request_id)
        await response(scope, receive, send)


def method_not_allowed(allowed: Iterable[str], request_id: str) -> Response:
    methods = ", ".join(sorted(allowed))
    error = HarborGuardError(ErrorCode.METHOD_NOT_ALLOWED, f"The method is not allowed here; allowed: {methods}")
    return error_response(error, request_id, headers={"Allow": methods})


def bind_routes(
    schema: GraphQLSchema, rows: Iterable[Route] = ROUTES, *, documents: Mapping[str, str] | None = None
) -> list[StarletteRoute]:
    """Every row bound to the schema, grouped by path. Raises ValueError for a row that cannot work.

    `documents` are texts by operation name; without them, those of the table.
    """
    texts = read_documents() if documents is None else documents
    paths: dict[str, dict[str, Endpoint]] = {}
    for row in rows:
        methods = paths.setdefault(row.path, {})
        if row.method in methods:
            msg = f"{row.method} {row.path} is declared twice"
            raise ValueError(msg)
        methods[row.method] = Endpoint.bind(row, schema, texts)
    return [StarletteRoute(path, Resource(path, endpoints)) for path, endpoints in paths.items()]
