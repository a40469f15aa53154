"""The REST routes as a Starlette application can mount them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from graphql import GraphQLSchema
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
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
        if reading is not None and reading.route.envelope is not Envelope.EVENTS and not reading.route.takes:
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


class Directory(BaseRoute):
    """Every path of the table as one route: found by its segments, however many rows there are.

    A literal segment is preferred to a `{parameter}`: `/api/images/upload` is not the image called upload.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = tuple(resources)
        self._root = _Node()
        for resource in self.resources:
            node = self._root
            for segment in resource.path.split("/")[1:]:
                node = node.child(segment)
            node.resource = resource

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self._root.find(scope["path"].split("/")[1:], 0)
        if found is None:
            return Match.NONE, {}
        resource, parameters = found
        return Match.FULL, {"endpoint": resource, "path_params": parameters}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await scope["endpoint"](scope, receive, send)

    def url_path_for(self, name: str, /, **_path_params: object) -> URLPath:
        raise NoMatchFound(name, {})  # the table's templates say where a thing is


class _Node:
    """A place in the tree of segments."""

    def __init__(self) -> None:
        self.resource: Resource | None = None
        self._literals: dict[str, _Node] = {}
        self._parameters: dict[str, _Node] = {}  # one, unless rows call the same segment differently

    def child(self, segment: str) -> _Node:
        children, name = self._literals, segment
        if segment.startswith("{"):
            children, name = self._parameters, segment[1:-1]
        return children.setdefault(name, _Node())

    def find(self, segments: Sequence[str], position: int) -> tuple[Resource, dict[str, str]] | None:
        """What is at the end of the segments, with the values of parameters on the way."""
        if position == len(segments):
            return None if self.resource is None else (self.resource, {})
        segment = segments[position]
        literal = self._literals.get(segment)
        found = None if literal is None else literal.find(segments, position + 1)
        if found is None and segment:
            for name, node in self._parameters.items():
                found = node.find(segments, position + 1)
                if found is not None:
                    found[1][name] = segment
                    break
        return found


def method_not_allowed(allowed: Iterable[str], request_id: str) -> Response:
    methods = ", ".join(sorted(allowed))
    error = HarborGuardError(ErrorCode.METHOD_NOT_ALLOWED, f"The method is not allowed here; allowed: {methods}")
    return error_response(error, request_id, headers={"Allow": methods})


def bind_routes(
    schema: GraphQLSchema, rows: Iterable[Route] = ROUTES, *, documents: Mapping[str, str] | None = None
) -> Directory:
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
    return Directory(Resource(path, endpoints) for path, endpoints in paths.items())
