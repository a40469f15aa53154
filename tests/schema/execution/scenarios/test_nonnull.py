"""Non-null: where a null or an error ends up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graphql import build_schema

from tests.schema.execution.runs import described, only_error, run

SCHEMA = build_schema("""
    type Query { sync: String, syncSure: String!, late: String, lateSure: String!,
                 nest: Query, nestSure: Query!, lateNest: Query, lateNestSure: Query! }
""")


class Source:
    """Every leaf fails, or is null, at once or after a while; every nest is another one of the same."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    def sync(self, _info: Any) -> None:
        if self._fails:
            raise ValueError("sync")

    syncSure = sync  # noqa: N815 -- names of GraphQL fields

    async def late(self, _info: Any) -> None:
        await asyncio.sleep(0)
        if self._fails:
            raise ValueError("late")

    lateSure = late  # noqa: N815

    def nest(self, _info: Any) -> Source:
        return Source(fails=self._fails)

    nestSure = nest  # noqa: N815

    async def lateNest(self, _info: Any) -> Source:  # noqa: N802
        await asyncio.sleep(0)
        return Source(fails=self._fails)

    lateNestSure = lateNest  # noqa: N815


def outcome(text: str, *, fails: bool) -> tuple[Any, list[Any]]:
    data, errors = described(run(SCHEMA, text, Source(fails=fails)))
    return data, [(message, path) for message, path, _ in errors]


def reason(field: str, *, fails: bool) -> str:
    return field.removesuffix("Sure") if fails else f"Cannot return null for non-nullable field Query.{field}."


@pytest.mark.parametrize("field", ["sync", "late"])
def test_a_nullable_field_that_fails_or_is_null(field: str) -> None:
    assert outcome(f"{{ {field} }}", fails=True) == ({field: None}, [(field, [field])])
    assert outcome(f"{{ {field} }}", fails=False) == ({field: None}, [])


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("field", ["syncSure", "lateSure"])
@pytest.mark.parametrize("nest", ["nest", "lateNest"])
def test_a_non_null_field_makes_the_object_it_stands_in_null(nest: str, field: str, *, fails: bool) -> None:
    expected = ({nest: None}, [(reason(field, fails=fails), [nest, field])])
    assert outcome(f"{{ {nest} {{ {field} }} }}", fails=fails) == expected


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("field", ["syncSure", "lateSure"])
def test_a_chain_of_non_null_objects_is_null_up_to_the_first_nullable_one(field: str, *, fails: bool) -> None:
    text = f"{{ nest {{ nestSure {{ lateNestSure {{ nestSure {{ {field} }} }} }} }} }}"
    path = ["nest", "nestSure", "lateNestSure", "nestSure", field]
    assert outcome(text, fails=fails) == ({"nest": None}, [(reason(field, fails=fails), path)])


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("field", ["syncSure", "lateSure"])
def test_without_a_nullable_one_there_is_no_data(field: str, *, fails: bool) -> None:
    assert outcome(f"{{ {field} }}", fails=fails) == (None, [(reason(field, fails=fails), [field])])
    text = f"{{ nestSure {{ {field} }} }}"
    assert outcome(text, fails=fails) == (None, [(reason(field, fails=fails), ["nestSure", field])])


def test_a_tree_of_nullable_fields_keeps_its_shape() -> None:
    text = "{ sync late nest { sync late nest { sync late } lateNest { sync } } lateNest { late nest { sync late } } }"
    data, errors = outcome(text, fails=True)

    assert data == {
        "sync": None,
        "late": None,
        "nest": {"sync": None, "late": None, "nest": {"sync": None, "late": None}, "lateNest": {"sync": None}},
        "lateNest": {"late": None, "nest": {"sync": None, "late": None}},
    }
    assert sorted(path for _, path in errors) == sorted(
        [
            ["sync"],
            ["late"],
            ["nest", "sync"],
            ["nest", "late"],
            ["nest", "nest", "sync"],
            ["nest", "nest", "late"],
            ["nest", "lateNest", "sync"],
            ["lateNest", "late"],
            ["lateNest", "nest", "sync"],
            ["lateNest", "nest", "late"],
        ]
    )


def test_one_null_is_reported_once_however_many_fields_have_failed_below_it() -> None:
    data, errors = outcome("{ nest { a: syncSure b: syncSure c: lateSure } sync }", fails=True)

    assert data == {"nest": None, "sync": None}
    assert errors == [("sync", ["nest", "a"]), ("sync", ["sync"])]


ARGUMENTS = build_schema("type Query { echo(text: String!): String }")


def _echo(_info: Any, **arguments: Any) -> str:
    return f"it was {arguments['text']}"


def test_a_non_null_argument_is_given_as_a_literal_or_a_variable() -> None:
    root = {"echo": _echo}
    assert run(ARGUMENTS, '{ echo(text: "literal") }', root).data == {"echo": "it was literal"}
    text = 'query ($text: String! = "default") { echo(text: $text) }'
    assert run(ARGUMENTS, text, root).data == {"echo": "it was default"}
    assert run(ARGUMENTS, text, root, {"text": "given"}).data == {"echo": "it was given"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{ echo }", "Argument 'text' of required type 'String!' was not provided."),
        ("query ($text: String) { echo(text: $text) }", None),
        ("{ echo(text: null) }", None),
    ],
)
def test_without_it_the_field_is_an_error_and_its_resolver_not_called(text: str, message: str | None) -> None:
    result = run(ARGUMENTS, text, {"echo": _echo})

    assert result.data == {"echo": None}
    error = only_error(result)
    assert error.path == ["echo"]
    assert message is None or error.message == message
