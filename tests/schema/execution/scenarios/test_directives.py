"""`@skip` and `@include`: on fields, on fragments and together, with literals and with variables."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import build_schema

from tests.schema.execution.runs import described, run

SCHEMA = build_schema("directive @odd on FIELD\n type Query { a: String, b: String, c: Query }")
ROOT: dict[str, Any] = {"a": "a", "b": "b", "c": {"a": "c.a", "b": "c.b"}}
BOTH, ONE = {"a": "a", "b": "b"}, {"a": "a"}


@pytest.mark.parametrize(
    "selection",
    [
        "b {}",
        "... {} {{ b }}",
        "... on Query {} {{ b }}",
        "...F {}",
        "... {{ ... {} {{ b }} }}",
    ],
)
@pytest.mark.parametrize(
    ("directives", "is_there"),
    [
        ("", True),
        ("@include(if: true)", True),
        ("@include(if: false)", False),
        ("@skip(if: false)", True),
        ("@skip(if: true)", False),
        ("@include(if: true) @skip(if: false)", True),
        ("@include(if: true) @skip(if: true)", False),
        ("@include(if: false) @skip(if: false)", False),
        ("@include(if: false) @skip(if: true)", False),
    ],
)
def test_literals_and_variables_decide_the_same(selection: str, directives: str, *, is_there: bool) -> None:
    fragment = "fragment F on Query { b }"
    expected: Any = (BOTH if is_there else ONE, [])
    assert described(run(SCHEMA, f"{{ a {selection.format(directives)} }} {fragment}", ROOT)) == expected

    with_variables = directives.replace("include(if: true", "include(if: $i").replace(
        "include(if: false", "include(if: $i"
    )
    with_variables = with_variables.replace("skip(if: true", "skip(if: $s").replace("skip(if: false", "skip(if: $s")
    variables = {"i": "include(if: true" in directives, "s": "skip(if: true" in directives}
    text = f"query ($i: Boolean!, $s: Boolean!) {{ a {selection.format(with_variables)} }} {fragment}"
    assert described(run(SCHEMA, text, ROOT, variables)) == expected


def test_one_of_two_selections_of_a_field_is_enough() -> None:
    text = (
        "query ($no: Boolean!) { c { a @skip(if: $no) a @include(if: $no) ... @skip(if: $no) { b } b @skip(if: $no) } }"
    )
    assert run(SCHEMA, text, ROOT, {"no": True}).data == {"c": {"a": "c.a"}}
    assert run(SCHEMA, text, ROOT, {"no": False}).data == {"c": {"a": "c.a", "b": "c.b"}}


def test_skipped_fields_are_not_resolved() -> None:
    calls: list[str] = []
    root = {"c": {"a": lambda _info: calls.append("a"), "b": lambda _info: calls.append("b")}}
    run(SCHEMA, "query ($no: Boolean = true) { c { a b @skip(if: $no) } }", root)
    assert calls == ["a"] * 3  # `run` executes three times


def test_nothing_may_be_left() -> None:
    assert run(SCHEMA, "{ c { a @skip(if: true) } }", ROOT).data == {"c": {}}


def test_a_null_decides_nothing_and_is_an_error_where_the_fields_are_collected() -> None:
    text = "query ($no: Boolean = false) { a c { a @skip(if: $no) } }"
    data, errors = described(run(SCHEMA, text, ROOT, {"no": None}))
    assert data == {"a": "a", "c": None}
    assert [path for _, path, _ in errors] == [["c"]]


def test_a_directive_of_another_kind_leaves_the_field_as_it_is() -> None:
    assert run(SCHEMA, "{ c { a @odd b } }", ROOT).data == {"c": {"a": "c.a", "b": "c.b"}}
