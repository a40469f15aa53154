"""What is wrong with a row or its document is found when the process starts, and named."""

from __future__ import annotations

from typing import Any

import pytest

from compat_rest.adapter import bind_routes
from compat_rest.endpoints import Endpoint
from compat_rest.routes import Envelope, Route
from tests.compat_rest.notebook import DOCUMENTS, ROWS, SCHEMA, row


def bind(route: Route, **documents: str) -> Endpoint:
    return Endpoint.bind(route, SCHEMA._schema, {**DOCUMENTS, **documents})


@pytest.mark.parametrize(
    ("route", "documents", "message"),
    [
        (row("GET", "/x", "missing"), {}, "GET /x: there is no document missing"),
        (row("GET", "/x", "a"), {"a": "query a { notes { "}, "Syntax Error"),
        (row("GET", "/x", "a"), {"a": "query a { note(id: 1) { titel } }"}, "Cannot query field 'titel'"),
        (row("GET", "/x", "a"), {"a": "query b { note(id: 1) { id } }"}, "the document is called b"),
        (row("GET", "/x", "a"), {"a": "query a { x: note(id: 1) { id } y: note(id: 1) { id } }"}, "one root field"),
        (row("POST", "/x/{noteId}", "getNote"), {}, "the document is a query, not a mutation"),
        (row("GET", "/x", "writeNote"), {}, "the document is a mutation, not a query"),
        (row("GET", "/x/{noteId}", "getNote", envelope=Envelope.EVENTS), {}, "not a subscription"),
        (row("GET", "/x/{id}", "getNote"), {}, "no variable for id"),
        (row("GET", "/x/{noteId}", "getNote", envelope=Envelope.PAGE), {}, "does not select items, meta"),
        (row("GET", "/x/{noteId}", "getNote", data=("pages",)), {}, "does not select pages"),
        (row("GET", "/x/{noteId}", "getNote", location="/x/{number}"), {}, "does not select number"),
        (row("GET", "/x/{noteId}", "getNote", additions=(("a", "{b}"),)), {}, "does not select b"),
        (
            row("GET", "/x/{noteId}/{colour}", "downloadNote", envelope=Envelope.FILE, data=("attachment",)),
            {},
            "a download needs a filename",
        ),
        (
            row("POST", "/x", "a"),
            {"a": "mutation a($one: Place!, $two: Place) { knock(input: $one, other: $two) }"},
            "a request has one body",
        ),
    ],
)
def test_row_that_cannot_work_stops_the_process(route: Route, documents: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=r"^(GET|POST) /x") as caught:
        bind(route, **documents)

    assert message in str(caught.value)


def test_same_route_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="GET /api/notes is declared twice"):
        bind_routes(SCHEMA._schema, [ROWS[0], ROWS[0]], documents=DOCUMENTS)


def test_fragments_count_as_selected() -> None:
    document = "query a($noteId: ID!) { note(id: $noteId) { ...All } } fragment All on Note { id title }"

    assert bind(row("GET", "/x/{noteId}", "a", location="/x/{title}"), a=document).operation.name == "a"


@pytest.mark.parametrize(
    ("operation", "path", "query", "json", "stream"),
    [
        ("listNotes", [], ["page", "limit", "colour", "pinned", "rating", "text"], None, None),
        ("listNotePages", ["noteId"], ["page", "limit"], None, None),
        ("writeNote", [], [], "input", None),
        ("sendNote", [], ["name"], None, ("archive", "Archive")),
    ],
)
def test_variables_come_from_where_their_type_and_the_path_say(
    operation: str, path: list[str], query: list[str], json: str | None, stream: str | None
) -> None:
    endpoint: Any = bind(next(route for route in ROWS if route.operation == operation))

    assert [parameter.name for parameter in endpoint.path_parameters] == path
    assert [parameter.name for parameter in endpoint.query_parameters] == query
    assert (endpoint.json_body and endpoint.json_body[0]) == json
    assert endpoint.stream_body == stream
