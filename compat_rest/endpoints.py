"""A row of the table bound to the schema: checked when the process starts, then answering requests."""

from __future__ import annotations

import mimetypes
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Formatter
from typing import Any, Self, cast

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLScalarType,
    GraphQLSchema,
    OperationType,
    SelectionSetNode,
    get_named_type,
    type_from_ast,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from compat_rest.bodies import (
    ARCHIVES,
    EVENTS,
    MAX_JSON_BYTES,
    MAX_MESSAGE_BYTES,
    REPORTS,
    read_chunks,
    read_json_object,
    refuse_declared_length,
    require_media_type,
)
from compat_rest.envelopes import JsonResponse, list_body, page_body
from compat_rest.events import END, EventStream
from compat_rest.lines import LineStream
from compat_rest.parameters import Parameter, read_path, read_query
from compat_rest.routes import Envelope, Route
from compat_rest.validation import check_body
from schema.execution.limits import time_limit
from schema.execution.runner import Operation, load_operation, run_operation, stream_operation
from schema.kernel.context import RequestContext
from schema.kernel.errors import bad_request
from schema.kernel.idempotency import MAX_KEY_LENGTH, IdempotencyKey
from schema.kernel.scalars import ByteStream

# Types of a streamed body, and what it may be declared as.
STREAMS = {"Archive": ARCHIVES, "Report": REPORTS, "Delivery": EVENTS}
# Types of JSON bodies that nobody holds against their fields.
MESSAGES = frozenset({"SensorMessage", "VexDocument"})
_SELECTED = {
    Envelope.PAGE: {"items", "meta"},
    Envelope.FILE: {"mediaType", "content"},
    Envelope.LINES: {"lines"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route that can be answered. `json_body` and `stream_body` name the variable a body becomes, and its type."""

    route: Route
    schema: GraphQLSchema
    operation: Operation
    path_parameters: tuple[Parameter, ...]
    query_parameters: tuple[Parameter, ...]
    json_body: tuple[str, GraphQLInputObjectType | GraphQLScalarType] | None
    stream_body: tuple[str, str] | None

    @classmethod
    def bind(cls, route: Route, schema: GraphQLSchema, documents: Mapping[str, str]) -> Self:
        """Raises ValueError naming the row and what is wrong with it or its document."""
        try:
            if route.operation not in documents:
                msg = f"there is no document {route.operation}"
                raise ValueError(msg)  # noqa: TRY301 -- told like everything else that is wrong with a row
            operation = load_operation(schema, documents[route.operation])
            _check(route, operation)
            return cls(route=route, schema=schema, operation=operation, **_bindings(route, schema, operation))
        except ValueError as error:
            msg = f"{route.method} {route.path}: {error}"
            raise ValueError(msg) from None

    async def answer(self, request: Request, context: RequestContext) -> ASGIApp:
        """Checks in the contract's order, runs the operation, wraps what it gave. Raises HarborGuardError."""
        await self.operation.policy.admit(context)
        context.admitted = True
        query = request.query_params.multi_items()
        variables = read_path(self.path_parameters, request.path_params)
        variables |= read_query(self.query_parameters, query)
        if self.route.envelope is Envelope.EVENTS:
            return await self._follow(request, context, variables)
        if self.route.envelope is Envelope.LINES:
            return await self._write_lines(context, variables)
        if self.json_body is not None:
            name, kind = self.json_body
            if isinstance(kind, GraphQLInputObjectType):
                body = await read_json_object(request, max_bytes=MAX_JSON_BYTES)
                check_body(kind, body)
            else:
                body = await read_json_object(request, max_bytes=MAX_MESSAGE_BYTES)
            variables[name] = body
        key = self._idempotency_key(request, context, variables)
        if self.stream_body is not None:
            data = await self._receive(request, context, variables, key)
        else:
            data = await self._run(variables, context, key)
        response = self._envelope(data, request, query)
        if context.replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    async def _run(self, variables: dict[str, Any], context: RequestContext, key: IdempotencyKey | None) -> Any:
        async with time_limit():
            return await run_operation(self.operation, variables, context, idempotency_key=key)

    async def _receive(
        self, request: Request, context: RequestContext, variables: dict[str, Any], key: IdempotencyKey | None
    ) -> Any:
        """No time limit: an archive of gigabytes takes what it takes; its size is limited while it arrives.

        A delivery is small and has one; its headers go along, because they prove whose it is.
        """
        assert self.stream_body is not None
        name, kind = self.stream_body
        limits = context.services.limits
        require_media_type(request, STREAMS[kind])
        if kind == "Delivery":
            refuse_declared_length(request, MAX_JSON_BYTES)
            variables |= {name: ByteStream(read_chunks(request), headers=request.headers)}
            return await self._run(variables, context, key)
        refuse_declared_length(request, limits.max_report_bytes if kind == "Report" else limits.max_upload_bytes)
        variables = variables | {name: ByteStream(read_chunks(request))}
        return await run_operation(self.operation, variables, context, idempotency_key=key)

    async def _follow(self, request: Request, context: RequestContext, variables: dict[str, Any]) -> ASGIApp:
        if request.headers.get("last-event-id") == END:
            return Response(status_code=204)
        events = cast("AsyncGenerator[Any]", stream_operation(self.operation, variables, context))
        async with time_limit():
            return await EventStream.open(events, request_id=context.request_id)

    async def _write_lines(self, context: RequestContext, variables: dict[str, Any]) -> ASGIApp:
        """No time limit once it has begun: every piece is read by itself."""
        assert self.route.filename is not None
        pieces = cast("AsyncGenerator[Any]", stream_operation(self.operation, variables, context))
        async with time_limit():
            return await LineStream.open(pieces, filename=self.route.filename)

    def _idempotency_key(
        self, request: Request, context: RequestContext, variables: dict[str, Any]
    ) -> IdempotencyKey | None:
        key = request.headers.get("idempotency-key")
        if key is None or not self.route.creates or context.principal_or_none is None:
            return None
        if not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable():
            raise bad_request(f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable characters")
        return IdempotencyKey.of(key, self.operation.name, variables, mint=context.services.mint)

    def _envelope(self, data: Any, request: Request, query: list[tuple[str, str]]) -> Response:
        route = self.route
        for name in route.data:
            data = data[name]
        if route.envelope is Envelope.EMPTY:
            return Response(status_code=204)
        if route.envelope is Envelope.PAGE:
            return JsonResponse(page_body(data, path=request.scope["path"], query=query))
        if route.envelope is Envelope.LIST:
            body = list_body(data, path=request.scope["path"], query=query)
            return JsonResponse(body, status_code=route.status)
        if route.envelope is Envelope.FILE:
            return _download(data, route, request.path_params)
        if route.envelope is Envelope.BARE:
            return JsonResponse(data, status_code=route.status)
        headers = {"Location": route.location.format_map(data)} if route.location else None
        if route.additions:
            data |= {name: template.format_map(data) for name, template in route.additions}
        return JsonResponse({"data": data}, status_code=route.status, headers=headers)


def _download(data: Mapping[str, str], route: Route, path_params: Mapping[str, str]) -> Response:
    media_type = data["mediaType"]
    if route.filename is None:
        filename = data["filename"]
    else:
        filename = route.filename.format_map(path_params) + (mimetypes.guess_extension(media_type) or ".txt")
    return Response(
        data["content"],
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{filename}"'},
    )


def read_documents() -> dict[str, str]:
    """The documents of the table, by the name of their file."""
    suffix = ".graphql"
    directory = files("compat_rest") / "operations"
    return {
        entry.name.removesuffix(suffix): entry.read_text()
        for entry in directory.iterdir()
        if entry.name.endswith(suffix)
    }


def _check(route: Route, operation: Operation) -> None:
    """What the envelope will look for must have been selected, and the method must say what the operation does."""
    if operation.name != route.operation:
        msg = f"the document is called {operation.name}"
        raise ValueError(msg)
    wanted = (
        OperationType.SUBSCRIPTION
        if route.envelope in {Envelope.EVENTS, Envelope.LINES}
        else OperationType.QUERY
        if route.method == "GET" and not route.takes
        else OperationType.MUTATION
    )
    if operation.type is not wanted:
        msg = f"the document is a {operation.type.value}, not a {wanted.value}"
        raise ValueError(msg)
    selected = set(_selected(operation, route.data))
    missing = _needed(route) - selected
    if missing:
        msg = f"the document does not select {', '.join(sorted(missing))}"
        raise ValueError(msg)
    names_itself = route.envelope is Envelope.FILE and "filename" in selected
    if route.envelope in {Envelope.FILE, Envelope.LINES} and route.filename is None and not names_itself:
        msg = "a download needs a filename"
        raise ValueError(msg)


def _needed(route: Route) -> set[str]:
    templates = [*(template for _, template in route.additions), route.location or ""]
    fields = {field for template in templates for _, field, _, _ in Formatter().parse(template) if field}
    return _SELECTED.get(route.envelope, set()) | fields


def _selected(operation: Operation, path: tuple[str, ...]) -> dict[str, SelectionSetNode | None]:
    """The response keys at a path below the root field. Raises ValueError when the path is not selected."""
    fragments = {
        definition.name.value: definition.selection_set
        for definition in operation.prepared.document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    root = operation.prepared.definition.selection_set.selections[0]
    keys = _keys(root.selection_set if isinstance(root, FieldNode) else None, fragments)
    for name in path:
        if name not in keys:
            msg = f"the document does not select {'.'.join(path)}"
            raise ValueError(msg)
        keys = _keys(keys[name], fragments)
    return keys


def _keys(
    selections: SelectionSetNode | None, fragments: Mapping[str, SelectionSetNode]
) -> dict[str, SelectionSetNode | None]:
    keys: dict[str, SelectionSetNode | None] = {}
    for node in selections.selections if selections else ():
        if isinstance(node, FieldNode):
            keys[(node.alias or node.name).value] = node.selection_set
        elif isinstance(node, FragmentSpreadNode):
            keys |= _keys(fragments[node.name.value], fragments)
    return keys


def _bindings(route: Route, schema: GraphQLSchema, operation: Operation) -> dict[str, Any]:
    """Where each variable of the document comes from."""
    kinds = _variable_types(schema, operation)
    segments = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    unknown = set(segments) - set(kinds)
    if unknown:
        msg = f"no variable for {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    bodies = {name: kind for name, kind in kinds.items() if _is_body(get_named_type(kind))}
    streams = {name: named for name, kind in kinds.items() if (named := get_named_type(kind).name) in STREAMS}
    if len(bodies) + len(streams) > 1:
        msg = "a request has one body"
        raise ValueError(msg)
    taken = {*segments, *bodies, *streams}
    return {
        "path_parameters": tuple(Parameter.of(name, kinds[name]) for name in segments),
        "query_parameters": tuple(Parameter.of(name, kind) for name, kind in kinds.items() if name not in taken),
        "json_body": next(((name, get_named_type(kind)) for name, kind in bodies.items()), None),
        "stream_body": next(iter(streams.items()), None),
    }


def _is_body(kind: object) -> bool:
    return isinstance(kind, GraphQLInputObjectType) or (isinstance(kind, GraphQLScalarType) and kind.name in MESSAGES)


def _variable_types(schema: GraphQLSchema, operation: Operation) -> dict[str, GraphQLInputType]:
    return {
        node.variable.name.value: cast("GraphQLInputType", type_from_ast(schema, node.type))
        for node in operation.prepared.definition.variable_definitions or ()
    }
