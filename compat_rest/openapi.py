"""The REST API as an OpenAPI 3.1 document.

It is read off what answers the requests: the table of routes, the variables and the selection set of each document, the
types of the schema with their descriptions and constraints, and the policy of the root field. Only what no operation
says stands here and in `answers.py`: the envelopes, the errors, the headers and the two probes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
from graphql import (
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

from compat_rest.answers import HEADERS, OF_ANY, Problems, json_response, problem_examples, problems_of, response
from compat_rest.bodies import JSON
from compat_rest.endpoints import STREAMS, Endpoint, read_documents
from compat_rest.envelopes import INEXACT, META_FIELDS, list_body, page_body
from compat_rest.events import END
from compat_rest.examples import MESSAGES, Examples
from compat_rest.parameters import MAX_PATH_SEGMENT, Parameter
from compat_rest.routes import ROUTES, Envelope, Route
from compat_rest.shapes import Json, Selected, Shapes, described, object_of
from schema.kernel.errors import ErrorCode
from schema.kernel.idempotency import MAX_KEY_LENGTH
from schema.kernel.operations import Policy
from schema.kernel.pagination import DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE
from schema.kernel.ports import RateBudget
from schema.kernel.principal import ROLE_LEVEL, Role

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
PROBE_TAG = "health"

# A report that was made elsewhere, as small as one can be.
_BODIES: Mapping[str, Json] = {
    "Report": {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []},
    "Delivery": {"events": []},  # a Distribution's; each provider has a format of its own
}


def openapi_document(schema: GraphQLSchema, *, version: str, general: RateBudget, probes: RateBudget) -> Json:
    """The document, as JSON. `general` is the budget of operations that have none of their own, `probes` that of
    `/api/health` and `/api/ready`.
    """
    texts = read_documents()
    endpoints = [Endpoint.bind(route, schema, texts) for route in ROUTES]
    shapes = Shapes(schema)
    shapes.components |= _envelope_parts(schema.type_map["PageMeta"], shapes)
    problems = Problems()
    operations = {
        endpoint.operation.name: _operation(endpoint, shapes, problems, general)
        for endpoint in sorted(endpoints, key=_fullness)
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
        "paths": paths | _probes(problems, probes),
        "components": {
            "schemas": dict(sorted(shapes.components.items())),
            "responses": dict(sorted(problems.components.items())),
            "headers": HEADERS,
            "securitySchemes": _SECURITY,
        },
    }


def _fullness(endpoint: Endpoint) -> tuple[bool, bool]:
    """Sorts what shows one thing to the front, so that the fullest shape of a type has the type's plain name."""
    return endpoint.route.method != "GET", endpoint.route.envelope is not Envelope.SINGLE


def _operation(endpoint: Endpoint, shapes: Shapes, problems: Problems, general: RateBudget) -> Json:
    route, operation = endpoint.route, endpoint.operation
    answer = root = shapes.root(operation)
    for key in route.data:
        answer = shapes.below(operation, answer)[key]
    description = answer.field.description or ""
    examples = Examples(shapes.components)
    parameters = [_with_example(each, examples, operation.name) for each in _parameters(endpoint, shapes)]
    return {
        "operationId": operation.name,
        "tags": [route.tag],
        "summary": description.partition(". ")[0].removesuffix("."),
        "description": description,
        "parameters": parameters,
        **_request_body(endpoint, shapes, examples),
        "responses": {
            **_success(endpoint, answer, shapes, _address(route, parameters)),
            **problems.responses(problems_of(endpoint, f"{root.field.description} {description}")),
        },
        **_demands(operation.policy),
        "x-rate-limit": _limit(operation.policy.budget or general),
    }


def _demands(policy: Policy) -> Json:
    """Whom the operation lets in: the lowest role, and the permission that decides; null where none is asked for."""
    if policy.public:
        return {"security": [], "x-required-role": None, "x-required-permission": None}
    open_to = [role for role in Role if policy.is_open_to(role)]
    role = min(open_to, key=ROLE_LEVEL.__getitem__, default=None)
    return {"x-required-role": role and role.value, "x-required-permission": policy.permission}


def _limit(budget: RateBudget) -> Json:
    return {"requests": budget.requests, "windowSeconds": budget.seconds}


def _address(route: Route, parameters: Sequence[Json]) -> str:
    """The path of the route with the examples in it."""
    return route.path.format_map({each["name"]: each["example"] for each in parameters if each["in"] == "path"})


def _with_example(parameter: Json, examples: Examples, operation: str) -> Json:
    """But for a filter by an id, which a page would send as it is shown: nothing of that id is there."""
    is_filter = parameter["in"] == "query" and not parameter.get("required") and parameter["name"].endswith("Id")
    if is_filter or "example" in parameter:
        return parameter
    shape = parameter["schema"] | described(parameter.get("description"))
    return parameter | {"example": examples.of(shape, parameter["name"], operation)}


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
        # One key is of one request, so no two operations show the same.
        example = f"{endpoint.operation.name}-4711"
        yield {"name": "Idempotency-Key", "in": "header", "schema": shape, **about, "example": example}
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


def _request_body(endpoint: Endpoint, shapes: Shapes, examples: Examples) -> Json:
    if endpoint.json_body is not None:
        schema = shapes.taken(GraphQLNonNull(endpoint.json_body[1]))
        example = MESSAGES.get(endpoint.operation.name) or examples.of(schema)
        content = {each: {"schema": schema, "example": example} for each in sorted(JSON)}
    elif endpoint.stream_body is not None:
        kind = endpoint.stream_body[1]
        example = MESSAGES.get(endpoint.operation.name) or _BODIES.get(kind)
        content = {each: _streamed(each, example) for each in sorted(STREAMS[kind])}
    else:
        return {}
    return {"requestBody": {"required": True, "content": content}}


def _streamed(media_type: str, example: Json | None) -> Json:
    """A body that is taken as it is; what is in it the operation's description says."""
    if media_type.endswith("json"):
        return {"schema": {"type": "object"}, "example": example}
    return {"schema": {"type": "string", "format": "binary"}}


_CSV = {"schema": {"type": "string"}, "example": "name,type,versions\r\nopenssl,deb,3.0.11-1~deb12u2\r\n"}
_DOWNLOADS: Mapping[Envelope, Json] = {Envelope.FILE: {"*/*": {}}, Envelope.LINES: {"text/csv": _CSV}}


def _success(endpoint: Endpoint, answer: Selected, shapes: Shapes, address: str) -> Json:
    """The answers that are no errors, by status."""
    route, operation = endpoint.route, endpoint.operation
    meaning = get_named_type(answer.field.type).description or ""
    examples = Examples(shapes.components)
    if route.envelope is Envelope.EMPTY:
        return {"204": response("Done.")}
    if route.envelope in _DOWNLOADS:
        return {"200": response(meaning, "Content-Disposition", content=_DOWNLOADS[route.envelope])}
    if route.envelope is Envelope.EVENTS:
        state = shapes.answer(operation, answer)
        data = {"anyOf": [state, _schema_reference("Error"), {"const": {}}]}
        event = {
            "id": {"type": "string", "description": f"Counts from 1; the last one is `{END}`."},
            "event": {"enum": ["progress", "error", END]},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        }
        example = {"id": "1", "event": "progress", "data": orjson.dumps(examples.of(state)).decode()}
        return {
            "200": response(meaning, content={"text/event-stream": {"schema": object_of(event), "example": example}}),
            "204": response("There are no more events."),
        }
    if route.envelope is Envelope.BARE:
        data = shapes.answer(operation, answer)
        return {str(route.status): json_response(meaning, schema=data, example=examples.of(data))}
    if route.envelope is Envelope.SINGLE:
        data = shapes.answer(operation, answer)
        shown = examples.of(data)
        if route.additions:
            data = {"allOf": [data, object_of({name: {"type": "string"} for name, _ in route.additions})]}
            shown |= {name: template.format_map(shown) for name, template in route.additions}
        headers = ["Location"] * bool(route.location) + ["Idempotent-Replayed"] * route.creates
        schema = object_of({"data": data})
        return {str(route.status): json_response(meaning, *headers, schema=schema, example={"data": shown})}
    paged = route.envelope is Envelope.PAGE
    items = shapes.answer(operation, shapes.below(operation, answer)["items"] if paged else answer)
    parts = {name: _schema_reference(name.capitalize()) for name in ("meta", "links")}
    shown = examples.of(items)
    place = {"page": 1, "pageSize": DEFAULT_LIMIT, "total": 1, "totalPages": 1, "hasNext": False, "hasPrev": False}
    place[INEXACT] = True
    body = (
        page_body({"items": shown, "meta": place}, path=address, query=())
        if paged
        else list_body(shown, path=address, query=())
    )
    return {str(route.status): json_response(meaning, schema=object_of({"data": items, **parts}), example=body)}


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
                if name in (*META_FIELDS, INEXACT)
            },
            required=META_FIELDS,
        ),
    }


def _probes(problems: Problems, budget: RateBudget) -> Json:
    """The two routes that are no operations: for whoever watches the process."""
    checks = {"type": "object", "additionalProperties": {"enum": ["ok", "failed"]}}
    health = object_of({"status": {"const": "ok"}})
    readiness = object_of({"status": {"enum": ["ready", "unavailable"]}, "checks": checks})
    ready = {"status": "ready", "checks": {"database": "ok"}}
    unready = {"status": "unavailable", "checks": {"database": "failed"}}
    unavailable = json_response(
        "It cannot, or nobody could tell whose credential this is: `SERVICE_UNAVAILABLE`.",
        schema={"anyOf": [readiness, _schema_reference("Error")]},
        examples={"unavailable": {"value": unready}, **problem_examples([ErrorCode.SERVICE_UNAVAILABLE])},
    )
    return {
        path: {
            "get": {
                "operationId": name,
                "tags": [PROBE_TAG],
                "summary": summary,
                "description": f"{summary}.",
                "parameters": [],
                "responses": dict(sorted({**problems.responses(OF_ANY), **answers}.items())),
                **_demands(Policy(permission=None, public=True)),
                "x-rate-limit": _limit(budget),
            }
        }
        for path, name, summary, answers in (
            (
                "/api/health",
                "getHealth",
                "The process answers",
                {"200": json_response("It does.", schema=health, example={"status": "ok"})},
            ),
            (
                "/api/ready",
                "getReadiness",
                "The process can work",
                {"200": json_response("It can.", schema=readiness, example=ready), "503": unavailable},
            ),
        )
    }


def _schema_reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
