from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest
from graphql import GraphQLInputObjectType, GraphQLNonNull
from hypothesis import given
from hypothesis import strategies as st

from compat_rest.shapes import Shapes
from compat_rest.validation import check_body
from schema.execution.runner import load_operation
from schema.kernel.errors import HarborGuardError
from tests.compat_rest.notebook import SCHEMA, good_note

GRAPHQL = SCHEMA._schema
KIND = GRAPHQL.type_map["NoteInput"]
assert isinstance(KIND, GraphQLInputObjectType)
NOTE: GraphQLInputObjectType = KIND


def answer(text: str, shapes: Shapes) -> Any:
    operation = load_operation(GRAPHQL, text)
    return shapes.answer(operation, shapes.root(operation))


def test_selection_is_an_object_with_its_aliases_all_of_them_required() -> None:
    shapes = Shapes(GRAPHQL)

    reference = answer(
        """query read($id: ID!) { note(id: $id) { name: title ...Rest } }
        fragment Rest on Note { colour writtenAt tags }""",
        shapes,
    )

    assert reference == {"$ref": "#/components/schemas/Note"}
    assert shapes.components["Note"] == {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "colour": {"$ref": "#/components/schemas/Colour"},
            "writtenAt": {"type": ["string", "null"], "format": "date-time"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["name", "colour", "writtenAt", "tags"],
    }
    assert shapes.components["Colour"] == {"type": "string", "enum": ["RED", "GREEN"]}


def test_same_selection_is_described_once_and_another_one_under_a_name_of_its_own() -> None:
    shapes = Shapes(GRAPHQL)

    first = answer("query read($id: ID!) { note(id: $id) { id } }", shapes)
    same = answer("query readAgain($id: ID!) { note(id: $id) { id } }", shapes)
    other = answer("query readTitle($id: ID!) { note(id: $id) { title } }", shapes)

    assert first == same
    assert other == {"$ref": "#/components/schemas/ReadTitleNote"}
    assert set(shapes.components) == {"Note", "ReadTitleNote"}


def test_two_selections_of_one_type_in_one_operation_are_refused_when_neither_has_the_name() -> None:
    shapes = Shapes(GRAPHQL)
    answer("query read($id: ID!) { note(id: $id) { id } }", shapes)
    answer("query other($id: ID!) { note(id: $id) { title } }", shapes)

    with pytest.raises(ValueError, match="OtherNote has two shapes"):
        answer("query other($id: ID!) { note(id: $id) { id title } }", shapes)


def validator() -> jsonschema_rs.Validator:
    shapes = Shapes(GRAPHQL)
    schema = shapes.taken(GraphQLNonNull(NOTE))
    return jsonschema_rs.validator_for({**schema, "components": {"schemas": shapes.components}})


VALIDATOR = validator()
# Text without NUL, which JSON Schema has no short word for, and moments left to `format`, which it does not assert.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats(-3, 9)
    | st.sampled_from(["", "RED", "GREEN", "x" * 20, "x" * 21]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["street", "number", "x"]), inner, max_size=3)
    ),
    max_leaves=4,
)
FIELDS = st.sampled_from([name for name in NOTE.fields if name != "due"] + ["unknown"])


@given(st.dictionaries(FIELDS, VALUES, max_size=3))
def test_described_is_what_is_checked(changes: dict[str, Any]) -> None:
    body = good_note(**changes)
    try:
        check_body(NOTE, body)
    except HarborGuardError:
        accepted = False
    else:
        accepted = True

    assert VALIDATOR.is_valid(body) is accepted
