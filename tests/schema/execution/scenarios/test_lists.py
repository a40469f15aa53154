"""Lists: what counts as one, and what an item or a list that is null or fails does to what is around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from graphql import build_schema, parse

from tests.schema.execution.runs import described, planned, run

FORMS = ("list", "tuple", "generator", "awaited list", "awaited items", "stream")
NULL = "Cannot return null for non-nullable field Query.numbers."


def error(index: int | None, message: str) -> tuple[str, list[Any], list[dict[str, int]]]:
    return message, ["numbers"] if index is None else ["numbers", index], [{"line": 1, "column": 3}]


async def _after_a_while(value: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(value, Exception):
        raise value
    return value


async def _stream(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item


def _generated(items: list[Any]) -> Iterator[Any]:
    yield from items


MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "generator": _generated,
    "awaited list": _after_a_while,
    "awaited items": lambda items: [_after_a_while(item) for item in items],
    "stream": _stream,
}


def outcome(kind: str, value: Callable[[], Any]) -> Any:
    schema = build_schema(f"type Query {{ numbers: {kind} }}")
    return described(run(schema, "{ numbers }", {"numbers": lambda _info: value()}))


def in_form(form: str, items: list[Any]) -> Callable[[], Any]:
    return lambda: MAKERS[form](items)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["[Int]", "[Int]!", "[Int!]", "[Int!]!"])
def test_a_list_of_values(form: str, kind: str) -> None:
    assert outcome(kind, in_form(form, [1, 2])) == ({"numbers": [1, 2]}, [])
    assert outcome(kind, in_form(form, [])) == ({"numbers": []}, [])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "data", "errors"),
    [
        ("[Int]", {"numbers": [1, None, 2]}, []),
        ("[Int]!", {"numbers": [1, None, 2]}, []),
        ("[Int!]", {"numbers": None}, [error(1, NULL)]),
        ("[Int!]!", None, [error(1, NULL)]),
    ],
)
def test_a_null_in_a_list(form: str, kind: str, data: Any, errors: list[Any]) -> None:
    assert outcome(kind, in_form(form, [1, None, 2])) == (data, errors)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("[Int]", {"numbers": [1, None, 2]}),
        ("[Int]!", {"numbers": [1, None, 2]}),
        ("[Int!]", {"numbers": None}),
        ("[Int!]!", None),
    ],
)
def test_an_item_that_fails(form: str, kind: str, data: Any) -> None:
    assert outcome(kind, in_form(form, [1, ValueError("bad"), 2])) == (data, [error(1, "bad")])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("kind", "data"), [("[Int]", {"numbers": [1, None]}), ("[Int!]!", None)])
def test_an_item_that_is_no_number(form: str, kind: str, data: Any) -> None:
    message = "Int cannot represent non-integer value: 'two'"
    assert outcome(kind, in_form(form, [1, "two"])) == (data, [error(1, message)])


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(
    ("kind", "data", "errors"),
    [
        ("[Int]", {"numbers": None}, []),
        ("[Int]!", None, [error(None, NULL)]),
        ("[Int!]", {"numbers": None}, []),
        ("[Int!]!", None, [error(None, NULL)]),
    ],
)
def test_a_null_for_a_list(*, wait: bool, kind: str, data: Any, errors: list[Any]) -> None:
    assert outcome(kind, lambda: _after_a_while(None) if wait else None) == (data, errors)


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize(("kind", "data"), [("[Int]", {"numbers": None}), ("[Int!]!", None)])
def test_a_list_that_fails(*, wait: bool, kind: str, data: Any) -> None:
    failure = ValueError("bad")
    assert outcome(kind, lambda: _after_a_while(failure) if wait else failure) == (data, [error(None, "bad")])


@pytest.mark.parametrize("value", [1, "a text", b"bytes", {"a": 1}, object()], ids=lambda value: type(value).__name__)
def test_what_is_no_list(value: Any) -> None:
    message = "Expected Iterable, but did not find one for field 'Query.numbers'."
    assert outcome("[Int]", lambda: value) == ({"numbers": None}, [error(None, message)])


@pytest.mark.parametrize(
    "value", [{1}, frozenset({1}), {1: 2}.keys(), range(1, 2)], ids=lambda value: type(value).__name__
)
def test_what_else_is_a_list(value: Any) -> None:
    assert outcome("[Int]", lambda: value) == ({"numbers": [1]}, [])


def test_lists_in_lists() -> None:
    assert outcome("[[Int!]]!", lambda: [[1], None, (2, 3), []]) == ({"numbers": [[1], None, [2, 3], []]}, [])
    data, errors = outcome("[[Int!]]!", lambda: [[1, None], [2]])
    assert (data, [(each[0], each[1]) for each in errors]) == ({"numbers": [None, [2]]}, [(NULL, ["numbers", 0, 1])])


def test_a_stream_that_fails_after_its_items_fails_as_a_whole() -> None:
    async def failing() -> AsyncIterator[int]:
        yield 1
        await asyncio.sleep(0)
        raise ValueError("the source is gone")

    assert outcome("[Int]", failing) == ({"numbers": None}, [error(None, "the source is gone")])


def test_the_rest_of_a_stream_is_not_waited_for_when_an_item_makes_the_list_null() -> None:
    closed = []

    async def endless() -> AsyncIterator[int | None]:
        try:
            while True:
                yield None
        finally:
            closed.append(True)

    assert outcome("[Int!]", endless) == ({"numbers": None}, [error(0, NULL)])
    assert closed == [True] * 3  # `run` executes three times


async def test_awaitables_left_in_a_list_that_has_failed_are_settled() -> None:
    settled = []

    async def late(value: int) -> int:
        await asyncio.sleep(0)
        settled.append(value)
        return value

    schema = build_schema("type Query { row: Row } type Row { numbers: [Int!] }")
    root = {"row": {"numbers": [late(1), None, late(2)]}}
    result = planned(schema, parse("{ row { numbers } }"), root_value=root)
    assert result.data == {"row": {"numbers": None}}
    assert settled == []
    for _ in range(3):
        await asyncio.sleep(0)

    assert settled == [1, 2]
