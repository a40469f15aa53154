"""Variables and arguments: given, left out, null, of the wrong type; every execution by one plan has its own."""

from __future__ import annotations

from typing import Any

import pytest
from graphql import build_schema, execute, parse

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan
from tests.schema.execution.runs import operation_of, run

SCHEMA = build_schema("""
    type Query { row: Row }
    type Row {
        text(input: String): String, sure(input: String!): String, defaulted(input: String! = "Hello"): String,
        list(input: [String]): String, sureList(input: [String!]!): String,
        object(input: Box): String, level(input: Level): String, one(input: OneOf): String
    }
    input Box { a: String, b: [String], c: String!, d: Box }
    input OneOf @oneOf { a: String, b: Int }
    enum Level { LOW HIGH }
""")


def echo(_source: Any, info: Any, **given: Any) -> str:
    return f"{info.field_name} {given}"


for _field in SCHEMA.type_map["Row"].fields.values():  # type: ignore[attr-defined]
    _field.resolve = echo
ROOT: dict[str, Any] = {"row": {}}


def row(selection: str, declared: str = "", variables: dict[str, Any] | None = None) -> Any:
    result = run(SCHEMA, f"query {declared} {{ row {{ result: {selection} }} }}", ROOT, variables)
    assert not result.errors, result.errors
    assert result.data is not None
    return result.data["row"]["result"].partition(" ")[2]


def refused(selection: str, declared: str = "", variables: dict[str, Any] | None = None) -> Any:
    """The first error: its message, and its path when the rest of the request was executed."""
    result = run_at_root(f"query {declared} {{ row {{ result: {selection} }} }}", variables)
    assert result.errors
    return result.errors[0].message, result.errors[0].path


def run_at_root(text: str, variables: dict[str, Any] | None) -> Any:
    document = parse(text)
    plan = Plan(SCHEMA, document, operation_of(document))
    return execute(
        SCHEMA,
        document,
        ROOT,
        variable_values=variables,
        executor_class=CompiledExecutor,
        plan=plan,
        hide_suggestions=True,
    )


def test_literals() -> None:
    assert row('text(input: "x")') == "{'input': 'x'}"
    assert row("text(input: null)") == "{'input': None}"
    assert row("text") == "{}"
    assert row("defaulted") == "{'input': 'Hello'}"
    assert row('list(input: "one")') == "{'input': ['one']}"
    assert row('object(input: {a: "x", b: "y", c: "z", d: {c: "w"}})') == (
        "{'input': {'a': 'x', 'b': ['y'], 'c': 'z', 'd': {'c': 'w'}}}"
    )
    assert row("level(input: LOW)") == "{'input': 'LOW'}"
    assert row("one(input: {b: 1})") == "{'input': {'b': 1}}"


def test_variables() -> None:
    assert row("text(input: $v)", "($v: String)", {"v": "x"}) == "{'input': 'x'}"
    assert row("text(input: $v)", "($v: String)", {"v": None}) == "{'input': None}"
    assert row("text(input: $v)", "($v: String)") == "{}"
    assert row("text(input: $v)", '($v: String = "d")') == "{'input': 'd'}"
    assert row("text(input: $v)", '($v: String = "d")', {"v": None}) == "{'input': None}"
    assert row("defaulted(input: $v)", "($v: String)") == "{'input': 'Hello'}"
    assert row("list(input: $v)", "($v: [String])", {"v": "one"}) == "{'input': ['one']}"
    assert row("list(input: [$v, $w])", "($v: String, $w: String)", {"v": "one"}) == "{'input': ['one', None]}"
    assert row("object(input: {a: $a, c: $c})", "($a: String, $c: String!)", {"c": "z"}) == "{'input': {'c': 'z'}}"
    assert row("object(input: $v)", "($v: Box)", {"v": {"a": None, "b": ["y", None], "c": "z"}}) == (
        "{'input': {'a': None, 'b': ['y', None], 'c': 'z'}}"
    )
    assert row("level(input: $v)", "($v: Level)", {"v": "HIGH"}) == "{'input': 'HIGH'}"
    assert row("one(input: $v)", "($v: OneOf)", {"v": {"a": "x"}}) == "{'input': {'a': 'x'}}"


@pytest.mark.parametrize(
    ("selection", "declared", "variables"),
    [
        ("text(input: $v)", "($v: String)", {"v": 1}),
        ("text(input: $v)", "($v: String)", {"v": ["x"]}),
        ("sure(input: $v)", "($v: String!)", None),
        ("sure(input: $v)", "($v: String!)", {"v": None}),
        ("sureList(input: $v)", "($v: [String!]!)", {"v": ["x", None]}),
        ("object(input: $v)", "($v: Box)", {"v": {"a": "x"}}),
        ("object(input: $v)", "($v: Box)", {"v": {"c": "x", "unknown": 1}}),
        ("object(input: $v)", "($v: Box)", {"v": {"c": "x", "d": {"a": "x"}}}),
        ("object(input: $v)", "($v: Box)", {"v": "text"}),
        ("level(input: $v)", "($v: Level)", {"v": "MIDDLE"}),
        ("one(input: $v)", "($v: OneOf)", {"v": {"a": "x", "b": 1}}),
        ("text(input: $v)", "($v: Nowhere)", {"v": "x"}),
    ],
)
def test_a_variable_of_the_wrong_type_is_an_error_of_the_request(
    selection: str, declared: str, variables: dict[str, Any] | None
) -> None:
    message, path = refused(selection, declared, variables)
    assert "'$v'" in message
    assert path is None


@pytest.mark.parametrize(
    ("selection", "declared", "variables"),
    [
        ("sure", "", None),
        ("sure(input: null)", "", None),
        ("sure(input: $v)", "($v: String)", None),
        ("sure(input: $v)", "($v: String)", {"v": None}),
        ("text(input: 1)", "", None),
        ('object(input: ["x"])', "", None),
        ("level(input: MIDDLE)", "", None),
        ('one(input: {a: "x", b: 1})', "", None),
    ],
)
def test_an_argument_of_the_wrong_type_is_an_error_of_its_field(
    selection: str, declared: str, variables: dict[str, Any] | None
) -> None:
    message, path = refused(selection, declared, variables)
    assert "Argument 'input'" in message
    assert path == ["row", "result"]


def test_errors_of_variables_are_all_reported_up_to_a_limit() -> None:
    text = "query ($v: [String!]!) { row { sureList(input: $v) } }"
    many = run_at_root(text, {"v": [0] * 100})
    assert len(many.errors) == 51
    assert many.errors[-1].message == "Too many errors processing variables, error limit reached. Execution aborted."


def test_executions_by_one_plan_have_their_own_variables() -> None:
    document = parse("query ($v: String, $no: Boolean!) { row { text(input: $v) sure(input: $v) @skip(if: $no) } }")
    plan = Plan(SCHEMA, document, operation_of(document))

    def data(**variables: Any) -> Any:
        result: Any = execute(
            SCHEMA, document, ROOT, variable_values=variables, executor_class=CompiledExecutor, plan=plan
        )
        return result.data["row"], len(result.errors or ())

    given = {"text": "text {'input': 'x'}", "sure": "sure {'input': 'x'}"}
    assert data(v="x", no=False) == (given, 0)
    assert data(v="y", no=True) == ({"text": "text {'input': 'y'}"}, 0)
    assert data(no=False) == ({"text": "text {}", "sure": None}, 1)
    assert data(v="x", no=False) == (given, 0)
