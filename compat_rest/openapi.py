"""The REST API as an OpenAPI 3.1 document.

It is read off what answers the requests: the table of routes, the variables and the selection set of each document, the
types of the schema with their descriptions and constraints, and the policy of the root field. Only what no operation
says stands here: the envelopes, the errors, the headers and the two probes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphql import (
    GraphQLID,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    TypeInfo,
    TypeInfoVisitor,
    VariableNode,
    Visitor,
    get_named_type,
    visit,
)

from compat_rest.bodies import ARCHIVES, JSON
from compat_rest.endpoints import Endpoint, read_documents
from compat_rest.envelopes import META_FIELDS, STATUS_OF
from compat_rest.events import END
from compat_rest.parameters import MAX_PATH_SEGMENT, Parameter
from compat_rest.routes import ROUTES, Envelope
from compat_rest.shapes import Json, Selected, Shapes, described, object_of
from schema.kernel.errors import ErrorCode
from schema.kernel.idempotency import MAX_KEY_LENGTH
from schema.kernel.operations import Policy
from schema.kernel.pagination import DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE
from schema.kernel.ports import RateBudget
from schema.kernel.principal import ROLE_LEVEL, lowest_role

# Parameters of every paged list, by their name.
_PAGING: Json = {
    "page": {"minimum": 1, "maximum": MAX_PAGE, "default": 1},
    "limit": {"minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
}
_SECURITY: Json = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key, `hg_ak_…`."},
    "bearer": {"type": "http", "scheme": "bearer", "description": "A personal access token or an API key."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "next-auth.session-token",
        "description": "Set by signing in. A request that changes something also needs the header X-HarborGuard-Client.",
    },
}
_HEADERS: Json = {
    "X-Request-Id": {"description": "Names this request in the server's log.", "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Calls a window holds.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Calls left in the window.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "Unix time at which the next call is free.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
    "Location": {"description": "Where to look next.", "schema": {"type": "string", "format": "uri-reference"}},
    "Idempotent-Replayed": {"description": "`true`: the kept answer of an earlier use.", "schema": {"type": "string"}},
    "Content-Disposition": {"description": "The name of the file.", "schema": {"type": "string"}},
}
PROBE_TAG = "health"
_EVERYWHERE = ("X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_PROBLEM_HEADERS = {
    ErrorCode.UNAUTHORIZED: "WWW-Authenticate",
    ErrorCode.RATE_LIMITED: "Retry-After",
    ErrorCode.SERVICE_UNAVAILABLE: "Retry-After",
}
# What can become of any request, whatever it asks for.
_ALWAYS = (
    ErrorCode.BAD_REQUEST,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.SERVICE_UNAVAILABLE,
    ErrorCode.TIMEOUT,
)


def openapi_document(schema: GraphQLSchema, *, version: str, general: RateBudget) -> Json:
    """The document, as JSON. `general` is the budget of operations that have none of their own."""
    texts = read_documents()
    endpoints = [Endpoint.bind(route, schema, texts) for route in ROUTES]
    shapes = Shapes(schema)
    shapes.components |= _envelope_parts(schema.type_map["PageMeta"], shapes)
    operations = {
        endpoint.operation.name: _operation(endpoint, shapes, general) for endpoint in sorted(endpoints, key=_fullness)
    }
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = operations[route.operation]
    tags = [*dict.fromkeys(route.tag for route in ROUTES), PROBE_TAG]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "HarborGuard",
            "version": version,
            "description": "Scans container images and keeps what was found. The same operations are at `/graphql`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in tags],
        "security": [{name: []} for name in _SECURITY],
        "paths": paths | _probes(),
        "components": {
            "schemas": dict(sorted(shapes.components.items())),
            "responses": dict(_problem_responses()),
            "headers": _HEADERS,
            "securitySchemes": _SECURITY,
        },
    }


def _fullness(endpoint: Endpoint) -> tuple[bool, bool]:
    """Sorts what shows one thing to the front, so that the fullest shape of a type has the type's plain name."""
    return endpoint.route.method != "GET", endpoint.route.envelope is not Envelope.SINGLE


def _operation(endpoint: Endpoint, shapes: Shapes, general: RateBudget) -> Json:
    route, operation = endpoint.route, endpoint.operation
    answer = shapes.root(operation)
    for key in route.data:
        answer = shapes.below(operation, answer)[key]
    description = answer.field.description or ""
    budget = operation.policy.budget or general
    problems = {str(STATUS_OF[code]): _problem_reference(code) for code in _problems(endpoint)}
    return {
        "operationId": operation.name,
        "tags": [route.tag],
        "summary": description.partition(". ")[0].removesuffix("."),
        "description": description,
        "parameters": [*_parameters(endpoint, shapes)],
        **_request_body(endpoint, shapes),
        "responses": _success(endpoint, answer, shapes) | dict(sorted(problems.items())),
        **_demands(operation.policy),
        "x-rate-limit": {"requests": budget.requests, "windowSeconds": budget.seconds},
    }


def _demands(policy: Policy) -> Json:
    if policy.public:
        return {"security": []}
    if policy.permission is None:
        return {"x-required-role": min(ROLE_LEVEL, key=ROLE_LEVEL.__getitem__).value}
    role = lowest_role(policy.permission)
    return {"x-required-role": role and role.value, "x-required-permission": policy.permission}


def _parameters(endpoint: Endpoint, shapes: Shapes) -> Iterator[Json]:
    descriptions = _argument_descriptions(endpoint)
    for parameter in endpoint.path_parameters:
        shape = shapes.leaf(parameter.leaf)
        if "$ref" not in shape:
            shape |= {"minLength": 1, "maxLength": MAX_PATH_SEGMENT}
        about = described(descriptions.get(parameter.name))
        yield {"name": parameter.name, "in": "path", "required": True, "schema": shape, **about}
    for parameter in endpoint.query_parameters:
        about = described(descriptions.get(parameter.name))
        yield {"name": parameter.name, "in": "query", **about, **_query_shape(parameter, shapes)}
    if endpoint.route.creates:
        about = described("Creates once, however often it is sent; of your choice, kept for a day.")
        shape = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[ -~]+$"}
        yield {"name": "Idempotency-Key", "in": "header", "schema": shape, **about}
    if endpoint.route.envelope is Envelope.EVENTS:
        about = described(f"What the browser saw last; after `{END}` there is no more.")
        yield {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}, **about}


def _query_shape(parameter: Parameter, shapes: Shapes) -> Json:
    shape = shapes.leaf(parameter.leaf) | _PAGING.get(parameter.name, {})
    required = {"required": True} if parameter.required else {}
    if parameter.is_list:
        return {"style": "form", "explode": False, "schema": {"type": "array", "items": shape}, **required}
    if parameter.required:
        shape |= {"minLength": 1}  # without a text it counts as missing
    return {"schema": shape, **required}


def _argument_descriptions(endpoint: Endpoint) -> dict[str, str | None]:
    """What the schema says about each argument that a variable of the document fills."""
    info = TypeInfo(endpoint.schema)
    found: dict[str, str | None] = {}

    class Reader(Visitor):
        def enter_variable(self, node: VariableNode, *_: Any) -> None:
            argument = info.get_argument()
            if argument is not None:
                found[node.name.value] = argument.description

    visit(endpoint.operation.prepared.document, TypeInfoVisitor(info, Reader()))
    return found


def _request_body(endpoint: Endpoint, shapes: Shapes) -> Json:
    if endpoint.json_body is not None:
        media_types, schema = JSON, shapes.taken(GraphQLNonNull(endpoint.json_body[1]))
    elif endpoint.stream_body is not None:
        media_types, schema = ARCHIVES, {"type": "string", "format": "binary"}
    else:
        return {}
    content = {media_type: {"schema": schema} for media_type in sorted(media_types)}
    return {"requestBody": {"required": True, "content": content}}


def _success(endpoint: Endpoint, answer: Selected, shapes: Shapes) -> Json:
    """The answers that are no errors, by status."""
    route, operation = endpoint.route, endpoint.operation
    meaning = get_named_type(answer.field.type).description or ""
    if route.envelope is Envelope.EMPTY:
        return {"204": _response("Done.")}
    if route.envelope is Envelope.FILE:
        return {"200": _response(meaning, "Content-Disposition", content={"*/*": {}})}
    if route.envelope is Envelope.EVENTS:
        data = {"anyOf": [shapes.answer(operation, answer), _schema_reference("Error"), {"const": {}}]}
        event = {
            "id": {"type": "string", "description": f"Counts from 1; the last one is `{END}`."},
            "event": {"enum": ["progress", "error", END]},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        }
        return {
            "200": _response(meaning, content={"text/event-stream": {"schema": object_of(event)}}),
            "204": _response("There are no more events."),
        }
    if route.envelope is Envelope.SINGLE:
        data = shapes.answer(operation, answer)
        if route.additions:
            data = {"allOf": [data, object_of({name: {"type": "string"} for name, _ in route.additions})]}
        headers = ["Location"] * bool(route.location) + ["Idempotent-Replayed"] * route.creates
        return {str(route.status): _json_response(meaning, *headers, schema=object_of({"data": data}))}
    items = shapes.below(operation, answer)["items"] if route.envelope is Envelope.PAGE else answer
    parts = {name: _schema_reference(name.capitalize()) for name in ("meta", "links")}
    return {"200": _json_response(meaning, schema=object_of({"data": shapes.answer(operation, items), **parts}))}


def _problems(endpoint: Endpoint) -> Iterator[ErrorCode]:
    """What can go wrong, by what the route takes and demands."""
    yield from _ALWAYS
    writes = endpoint.route.method != "GET"
    body = endpoint.json_body
    ids_within = body is not None and any(get_named_type(each.type) is GraphQLID for each in body[1].fields.values())
    if endpoint.operation.policy.permission or writes:  # a cookie without the client header may not write
        yield ErrorCode.FORBIDDEN
    if endpoint.path_parameters or ids_within:
        yield ErrorCode.NOT_FOUND
    if writes:
        yield ErrorCode.CONFLICT
    if body is not None or endpoint.stream_body is not None:
        yield ErrorCode.PAYLOAD_TOO_LARGE
        yield ErrorCode.UNSUPPORTED_MEDIA_TYPE


def _envelope_parts(meta: GraphQLNamedType, shapes: Shapes) -> Json:
    assert isinstance(meta, GraphQLObjectType)
    issue = object_of({"path": {"type": "string", "description": "Where, dotted."}, "message": {"type": "string"}})
    error = {
        "code": {"type": "string", "enum": [code.value for code in ErrorCode]},
        "message": {"type": "string", "description": "What is wrong and what to do."},
        "requestId": {"type": "string"},
        "issues": {"type": "array", "items": issue, "description": "Everything that is wrong with the body."},
    }
    link = {"type": "string", "format": "uri-reference"}
    return {
        "Error": object_of({"error": object_of(error, required=["code", "message", "requestId"])}),
        "Links": object_of(dict.fromkeys(("self", "next", "prev"), link), required=["self"]),
        "Meta": object_of(
            {
                name: shapes.leaf(get_named_type(field.type)) | described(field.description)
                for name, field in meta.fields.items()
                if name in META_FIELDS
            }
        ),
    }


def _problem_responses() -> Iterator[tuple[str, Json]]:
    for status in sorted(set(STATUS_OF.values())):
        codes = [code for code in ErrorCode if STATUS_OF[code] == status]
        headers = [_PROBLEM_HEADERS[code] for code in codes if code in _PROBLEM_HEADERS]
        description = " or ".join(f"`{code}`" for code in codes)
        yield _name(codes[0]), _json_response(description, *headers, schema=_schema_reference("Error"))


def _problem_reference(code: ErrorCode) -> Json:
    first = next(each for each in ErrorCode if STATUS_OF[each] == STATUS_OF[code])
    return {"$ref": f"#/components/responses/{_name(first)}"}


def _name(code: ErrorCode) -> str:
    return "".join(word.capitalize() for word in code.split("_"))


def _probes() -> Json:
    """The two routes that are no operations: for whoever watches the process, without a credential."""
    checks = {"type": "object", "additionalProperties": {"enum": ["ok", "failed"]}}
    health = object_of({"status": {"const": "ok"}})
    readiness = object_of({"status": {"enum": ["ready", "unavailable"]}, "checks": checks})
    problems = (ErrorCode.UNAUTHORIZED, ErrorCode.RATE_LIMITED, ErrorCode.INTERNAL_ERROR)
    return {
        path: {
            "get": {
                "operationId": name,
                "tags": [PROBE_TAG],
                "summary": summary,
                "responses": {status: _json_response(meaning, schema=schema) for status, meaning in answers.items()}
                | {str(STATUS_OF[code]): _problem_reference(code) for code in problems},
                "security": [],
            }
        }
        for path, name, summary, schema, answers in (
            ("/api/health", "getHealth", "The process answers", health, {"200": "It does."}),
            ("/api/ready", "getReadiness", "The process can work", readiness, {"200": "It can.", "503": "It cannot."}),
        )
    }


def _json_response(description: str, *headers: str, schema: Json) -> Json:
    return _response(description, *headers, content={"application/json": {"schema": schema}})


def _response(description: str, *headers: str, content: Json | None = None) -> Json:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in (*_EVERYWHERE, *headers)}
    return {"description": description, "headers": named} | ({"content": content} if content else {})


def _schema_reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
