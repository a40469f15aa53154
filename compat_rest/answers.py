"""Responses of the OpenAPI document: their headers, and the errors an operation can give.

What a route takes and demands tells most of its errors. Whatever else the rules behind an operation may refuse, its
description in the schema names by its code: "CONFLICT when it has ended".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby

from graphql import GraphQLID, GraphQLInputObjectType, get_named_type

from compat_rest.endpoints import Endpoint
from compat_rest.envelopes import STATUS_OF, UNAVAILABLE_RETRY_SECONDS, error_body
from compat_rest.examples import example_id
from compat_rest.shapes import Json
from schema.execution.errors import INTERNAL_MESSAGE
from schema.kernel.errors import ErrorCode, HarborGuardError, Issue, bad_request, conflict, invalid, not_found
from schema.kernel.ids import IdPrefix

_REQUEST_ID = "req-353229d312874fa27b94d8ea"
_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
HEADERS: Json = {
    name: {"description": description, "schema": schema, "example": example}
    for name, description, schema, example in (
        ("X-Request-Id", "Names this request in the server's log.", _TEXT, _REQUEST_ID),
        ("X-RateLimit-Limit", "Calls a window holds.", _NUMBER, 600),
        ("X-RateLimit-Remaining", "Calls left in the window.", _NUMBER, 599),
        ("X-RateLimit-Reset", "Unix time at which the next call is free.", _NUMBER, 1_777_213_331),
        ("Retry-After", "Seconds to wait.", _NUMBER, UNAVAILABLE_RETRY_SECONDS),
        ("WWW-Authenticate", "`Bearer`.", _TEXT, "Bearer"),
        (
            "Location",
            "Where to look next.",
            {"type": "string", "format": "uri-reference"},
            f"/api/scans/{example_id(IdPrefix.SCAN)}/status",
        ),
        ("Idempotent-Replayed", "`true`: the kept answer of an earlier use.", _TEXT, "true"),
        ("Content-Disposition", "The name of the file.", _TEXT, 'attachment; filename="scan-trivy.json"'),
    )
}
_EVERYWHERE = ("X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_PROBLEM_HEADERS = {
    ErrorCode.UNAUTHORIZED: "WWW-Authenticate",
    ErrorCode.RATE_LIMITED: "Retry-After",
    ErrorCode.SERVICE_UNAVAILABLE: "Retry-After",
}
# What can become of any request: of a probe, too, because a credential is looked at wherever it comes along.
OF_ANY = (
    ErrorCode.UNAUTHORIZED,
    ErrorCode.RATE_LIMITED,
    ErrorCode.INTERNAL_ERROR,
    ErrorCode.SERVICE_UNAVAILABLE,
    ErrorCode.TIMEOUT,
)
# One of each, as a caller gets to see it.
_EXAMPLES: Mapping[ErrorCode, HarborGuardError] = {
    error.code: error
    for error in (
        bad_request("Unknown query parameter 'colour'; this route takes: page, limit, sort"),
        invalid(Issue("image", "Required"), Issue("scanners", "must contain at least 1 element")),
        HarborGuardError(ErrorCode.UNAUTHORIZED, "Invalid or expired credential"),
        HarborGuardError(ErrorCode.PLAN_LIMIT, "Your plan holds no more of this; delete some, or change the plan"),
        HarborGuardError(ErrorCode.FORBIDDEN, "Your role viewer lacks the permission scans:create"),
        not_found("Scan"),
        HarborGuardError(ErrorCode.METHOD_NOT_ALLOWED, "The method is not allowed here; allowed: GET, HEAD"),
        conflict("The scan is COMPLETE; only a queued or running scan can be cancelled"),
        HarborGuardError(ErrorCode.PAYLOAD_TOO_LARGE, "The body is larger than 524288 bytes"),
        HarborGuardError(ErrorCode.UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding"),
        HarborGuardError(ErrorCode.RATE_LIMITED, "Too many requests"),
        HarborGuardError(ErrorCode.INTERNAL_ERROR, INTERNAL_MESSAGE),
        HarborGuardError(ErrorCode.SERVICE_UNAVAILABLE, "The database is busy; retry shortly"),
        HarborGuardError(ErrorCode.TIMEOUT, "The operation took too long; ask for less at a time"),
    )
}


def response(description: str, *headers: str, content: Json | None = None) -> Json:
    named = {name: {"$ref": f"#/components/headers/{name}"} for name in (*_EVERYWHERE, *headers)}
    return {"description": description, "headers": named} | ({"content": content} if content else {})


def json_response(description: str, *headers: str, **content: Json) -> Json:
    """`content` is what a Media Type Object has: `schema`, `example` or `examples`."""
    return response(description, *headers, content={"application/json": content})


class Problems:
    """What can go wrong, once for each set of codes that share a status, and referred to from the operations."""

    def __init__(self) -> None:
        self.components: dict[str, Json] = {}

    def responses(self, codes: Iterable[ErrorCode]) -> dict[str, Json]:
        """By status, references to the responses for the codes."""
        together = groupby(sorted(set(codes), key=_place), key=STATUS_OF.__getitem__)
        return {str(status): self._reference([*same]) for status, same in together}

    def _reference(self, codes: list[ErrorCode]) -> Json:
        name = "Or".join("".join(word.capitalize() for word in code.split("_")) for code in codes)
        if name not in self.components:
            headers = [_PROBLEM_HEADERS[code] for code in codes if code in _PROBLEM_HEADERS]
            description = " or ".join(f"`{code}`" for code in codes)
            schema = {"$ref": "#/components/schemas/Error"}
            self.components[name] = json_response(
                description, *headers, schema=schema, examples=problem_examples(codes)
            )
        return {"$ref": f"#/components/responses/{name}"}


def problem_examples(codes: Iterable[ErrorCode]) -> Json:
    return {code.value: {"value": error_body(_EXAMPLES[code], _REQUEST_ID)} for code in codes}


def _place(code: ErrorCode) -> tuple[int, int]:
    return STATUS_OF[code], [*ErrorCode].index(code)


def problems_of(endpoint: Endpoint, description: str) -> Iterator[ErrorCode]:
    """What can go wrong, by what the route takes and demands, and by what the operation's description says."""
    yield from OF_ANY
    yield ErrorCode.BAD_REQUEST  # a query parameter nobody knows
    named = set(re.findall(r"[A-Z_]+", description))
    yield from (code for code in ErrorCode if code in named)
    writes = endpoint.route.method != "GET"
    policy, body = endpoint.operation.policy, endpoint.json_body
    ids_within = (
        body is not None
        and isinstance(body[1], GraphQLInputObjectType)
        and any(get_named_type(each.type) is GraphQLID for each in body[1].fields.values())
    )
    # Not every role is let in, a sensor hardly anywhere; and a cookie without the client header may not write.
    if not policy.public or writes:
        yield ErrorCode.FORBIDDEN
    if endpoint.path_parameters or (ids_within and not policy.public):  # strangers do not learn what there is
        yield ErrorCode.NOT_FOUND
    if endpoint.route.creates:  # the Idempotency-Key of another request
        yield ErrorCode.CONFLICT
    if body is not None or endpoint.stream_body is not None:
        yield ErrorCode.VALIDATION_ERROR
        yield ErrorCode.PAYLOAD_TOO_LARGE
        yield ErrorCode.UNSUPPORTED_MEDIA_TYPE
