from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLList, GraphQLNonNull, GraphQLString

from compat_rest.parameters import Parameter, read_path, read_query
from schema.kernel.errors import ErrorCode, HarborGuardError
from tests.compat_rest.notebook import SCHEMA

TYPES = SCHEMA._schema.type_map


def parameter(name: str, kind: str, *, is_list: bool = False, required: bool = False) -> Parameter:
    found: Any = TYPES.get(kind, GraphQLString)
    made: Any = GraphQLList(found) if is_list else found
    return Parameter.of(name, GraphQLNonNull(made) if required else made)


PARAMETERS = [
    parameter("page", "Int"),
    parameter("limit", "Int"),
    parameter("colour", "Colour", is_list=True),
    parameter("pinned", "Boolean"),
    parameter("text", "String"),
]


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ([], {}),
        ([("page", "2"), ("limit", "200")], {"page": 2, "limit": 200}),
        ([("colour", "RED")], {"colour": ["RED"]}),
        ([("colour", "RED,GREEN")], {"colour": ["RED", "GREEN"]}),
        ([("pinned", "true")], {"pinned": True}),
        ([("pinned", "false")], {"pinned": False}),
        ([("text", "a,b=c&d")], {"text": "a,b=c&d"}),
        ([("text", ""), ("colour", "")], {}),
    ],
)
def test_query_becomes_variables(query: list[tuple[str, str]], variables: dict[str, Any]) -> None:
    assert read_query(PARAMETERS, query) == variables


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ([("limit", "201")], "limit must be between 1 and 200"),
        ([("limit", "0")], "limit must be between 1 and 200"),
        ([("limit", "-1")], "limit must be between 1 and 200"),
        ([("page", "0")], "page must be between 1 and 1000000"),
        ([("page", "1.5")], "page must be a whole number"),
        ([("page", "1_0")], "page must be a whole number"),
        ([("page", " 1")], "page must be a whole number"),
        ([("page", "٣")], "page must be a whole number"),
        ([("page", "1" * 5000)], "page must be a whole number"),
        ([("colour", "BLUE")], "colour must be one of RED, GREEN"),
        ([("colour", "RED,")], "colour must be one of RED, GREEN"),
        ([("colour", "red")], "colour must be one of RED, GREEN"),
        ([("pinned", "1")], "pinned must be true or false"),
        ([("text", "a\x00")], "text must not contain a NUL character"),
        ([("page", "1"), ("page", "2")], "page is given more than once"),
        ([("text", ""), ("text", "a")], "text is given more than once"),
        (
            [("colur", "RED")],
            "Unknown query parameter 'colur'; this route takes: page, limit, colour, pinned, text",
        ),
    ],
)
def test_bad_query_is_refused(query: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(HarborGuardError) as caught:
        read_query(PARAMETERS, query)

    assert (caught.value.code, caught.value.message) == (ErrorCode.BAD_REQUEST, message)


def test_required_parameter_has_to_be_there() -> None:
    with pytest.raises(HarborGuardError, match="The query parameter image is required"):
        read_query([parameter("image", "String", required=True)], [("image", "")])


def test_route_without_parameters_says_so() -> None:
    with pytest.raises(HarborGuardError, match="this route takes: none"):
        read_query([], [("a", "b")])


def test_path_becomes_variables() -> None:
    segments = [parameter("noteId", "ID", required=True), parameter("colour", "Colour", required=True)]

    assert read_path(segments, {"noteId": "note-1", "colour": "RED"}) == {"noteId": "note-1", "colour": "RED"}


@pytest.mark.parametrize("values", [{"id": "a\x00b"}, {"id": "a\nb"}, {"id": "a" * 201}])
def test_segment_that_names_nothing_is_not_found(values: dict[str, str]) -> None:
    with pytest.raises(HarborGuardError) as caught:
        read_path([parameter("id", "ID")], values)

    assert caught.value.code is ErrorCode.NOT_FOUND


def test_segment_that_is_no_member_of_its_enum_is_not_found() -> None:
    with pytest.raises(HarborGuardError) as caught:
        read_path([parameter("colour", "Colour")], {"colour": "BLUE"})

    assert caught.value.code is ErrorCode.NOT_FOUND


def test_input_object_is_no_parameter() -> None:
    with pytest.raises(ValueError, match=r"\$place"):
        parameter("place", "Place")
