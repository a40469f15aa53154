from __future__ import annotations

from typing import Any

import pytest
from graphql import GraphQLInputObjectType
from hypothesis import given
from hypothesis import strategies as st

from compat_rest.validation import MAX_ISSUES, check_body
from schema.kernel.errors import ErrorCode, HarborGuardError
from tests.compat_rest.notebook import SCHEMA, good_note

KIND = SCHEMA._schema.type_map["NoteInput"]
assert isinstance(KIND, GraphQLInputObjectType)
NOTE: GraphQLInputObjectType = KIND


def issues(body: Any) -> list[tuple[str, str]]:
    try:
        check_body(NOTE, body)
    except HarborGuardError as error:
        return [(issue.path, issue.message) for issue in error.issues]
    return []


@pytest.mark.parametrize(
    "body",
    [
        good_note(),
        good_note(rating=None, place=None),
        good_note(rating=3.0),
        good_note(rating=5, weight=1, pinned=False, due="2026-04-26T14:22:11Z", place={"street": "Elm", "number": 7}),
    ],
)
def test_good_body_has_no_issues(body: Any) -> None:
    assert issues(body) == []


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"title": None}, "title", "must not be null"),
        ({"title": 7}, "title", "must be text"),
        ({"title": ""}, "title", "must contain at least 1 character"),
        ({"title": "x" * 21}, "title", "must contain at most 20 characters"),
        ({"title": "a\x00b"}, "title", "must not contain a NUL character"),
        ({"colours": []}, "colours", "must contain at least 1 element"),
        ({"colours": "RED"}, "colours", "must be a list"),
        ({"colours": ["RED", "BLUE"]}, "colours.1", "must be one of RED, GREEN"),
        ({"colours": [None]}, "colours.0", "must not be null"),
        ({"colours": [["RED"]]}, "colours.0", "must be one of RED, GREEN"),
        ({"rating": 0}, "rating", "must be at least 1"),
        ({"rating": 6}, "rating", "must be at most 5"),
        ({"rating": "5"}, "rating", "must be a whole number"),
        ({"rating": 1.5}, "rating", "must be a whole number"),
        ({"rating": True}, "rating", "must be a whole number"),
        ({"weight": "1"}, "weight", "must be a number"),
        ({"pinned": "yes"}, "pinned", "must be true or false"),
        ({"pinned": 1}, "pinned", "must be true or false"),
        ({"due": "tomorrow"}, "due", "must be an ISO 8601 date and time, like 2026-04-26T14:22:11Z"),
        ({"due": 1}, "due", "must be an ISO 8601 date and time"),
        ({"place": []}, "place", "must be an object"),
        ({"place": {}}, "place.street", "Required"),
        ({"place": {"street": "Elm", "zip": 1}}, "place.zip", "unknown field"),
        ({"isAdmin": True}, "isAdmin", "unknown field"),
        ({"x" * 500: 1}, "x" * 100, "unknown field"),
    ],
)
def test_one_problem_is_one_issue_at_its_path(changes: Any, path: str, message: str) -> None:
    assert issues(good_note(**changes)) == [(path, message)]


def test_all_problems_come_in_one_answer_and_are_joined_as_documented() -> None:
    with pytest.raises(HarborGuardError) as caught:
        check_body(NOTE, {"colours": [], "rating": 9, "x": 1})

    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.message == (
        "title: Required, colours: must contain at least 1 element, rating: must be at most 5, x: unknown field"
    )


def test_number_out_of_the_range_of_a_graphql_int_is_an_issue() -> None:
    [(path, message)] = issues(good_note(place={"street": "Elm", "number": 2**40}))

    assert path == "place.number"
    assert "32-bit" in message


def test_number_of_issues_is_bounded() -> None:
    assert len(issues({f"field{number}": 1 for number in range(10_000)})) == MAX_ISSUES


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from([*NOTE.fields, "unknown"])


@given(st.dictionaries(FIELDS, JSON, max_size=8))
def test_any_json_object_is_judged_without_another_error(body: dict[str, Any]) -> None:
    found = issues(body)

    assert found or {"title", "colours"} <= set(body)
