"""Mutations, which are executed one after another, and subscriptions, each of whose events is an execution."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, build_schema, parse, subscribe

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan
from tests.schema.execution.runs import described, operation_of, planned

NUMBERS = build_schema("""
    type Query { holder: Holder }
    type Holder { number: Int, sure: Int! }
    type Mutation { now(to: Int): Holder, later(to: Int): Holder, fail(to: Int): Holder, failLater(to: Int): Holder,
                    sure(to: Int): Holder! }
""")


class Root:
    """Keeps a number, and what was begun and finished in which order."""

    def __init__(self) -> None:
        self.number = 6
        self.log: list[str] = []

    def now(self, _info: Any, to: int) -> Any:
        self.log.append(f"now {to}")
        self.number = to
        return _Holder(self)

    async def later(self, _info: Any, to: int) -> Any:
        self.log.append(f"begin {to}")
        await asyncio.sleep(0)
        self.number = to
        self.log.append(f"end {to}")
        return _Holder(self)

    def fail(self, _info: Any, to: int) -> Any:
        raise ValueError(f"cannot change to {to}")

    async def failLater(self, _info: Any, to: int) -> Any:  # noqa: N802 -- the name of a GraphQL field
        await asyncio.sleep(0)
        raise ValueError(f"cannot change to {to}")

    async def sure(self, _info: Any, to: int) -> Any:
        await asyncio.sleep(0)
        return None if to < 0 else await self.later(_info, to)


class _Holder:
    def __init__(self, root: Root) -> None:
        self._root = root

    @property
    def number(self) -> int:
        self._root.log.append(f"read {self._root.number}")
        return self._root.number


async def mutated(text: str) -> tuple[Any, Root]:
    root = Root()
    result = planned(NUMBERS, parse(text), root_value=root)
    return described(result if isinstance(result, ExecutionResult) else await result), root


async def test_mutations_wait_for_each_other() -> None:
    text = """mutation {
        first: now(to: 1) { number } second: later(to: 2) { number }
        third: later(to: 3) { number } fourth: now(to: 4) { number }
    }"""
    (data, errors), root = await mutated(text)

    assert errors == []
    assert data == {name: {"number": n} for n, name in enumerate(["first", "second", "third", "fourth"], 1)}
    assert list(data) == ["first", "second", "third", "fourth"]
    assert root.log == [
        "now 1",
        "read 1",
        "begin 2",
        "end 2",
        "read 2",
        "begin 3",
        "end 3",
        "read 3",
        "now 4",
        "read 4",
    ]


async def test_one_that_fails_does_not_keep_the_others_from_being_executed() -> None:
    text = """mutation {
        a: now(to: 1) { number } b: fail(to: 2) { number } c: failLater(to: 3) { number } d: later(to: 4) { number }
    }"""
    (data, errors), _ = await mutated(text)

    assert data == {"a": {"number": 1}, "b": None, "c": None, "d": {"number": 4}}
    assert [(message, path) for message, path, _ in errors] == [
        ("cannot change to 2", ["b"]),
        ("cannot change to 3", ["c"]),
    ]


async def test_one_that_must_not_be_null_ends_the_request() -> None:
    (data, errors), root = await mutated(
        "mutation { a: sure(to: 1) { number } b: sure(to: -1) { number } c: now(to: 3) { number } }"
    )

    assert data is None
    assert [path for _, path, _ in errors] == [["b"]]
    assert root.log == ["begin 1", "end 1", "read 1"]


async def test_below_the_root_nothing_is_serial() -> None:
    schema = build_schema("type Query { a: Int } type Mutation { row: Row } type Row { slow: Int, quick: Int }")
    log = []

    async def slow(_info: Any) -> int:
        log.append("slow begins")
        await asyncio.sleep(0)
        log.append("slow ends")
        return 1

    async def quick(_info: Any) -> int:
        log.append("quick")
        return 2

    result = await planned(
        schema, parse("mutation { row { slow quick } }"), root_value={"row": {"slow": slow, "quick": quick}}
    )

    assert result.data == {"row": {"slow": 1, "quick": 2}}
    assert log == ["slow begins", "quick", "slow ends"]


# Subscriptions

EVENTS = build_schema("""
    type Query { a: Int }
    type Subscription { mail(from: String = "anybody"): Mail, count: Int! }
    type Mail { subject: String, inbox: [Mail!], unread: Int }
""")


async def _mails(*subjects: Any) -> AsyncIterator[Any]:
    for index, subject in enumerate(subjects):
        await asyncio.sleep(0)
        inbox = [{"subject": each} for each in subjects[:index]]
        yield {"mail": subject if isinstance(subject, Exception) else {"subject": subject, "inbox": inbox}}


async def opened(text: str, source: Any, schema: GraphQLSchema = EVENTS, **options: Any) -> Any:
    document = parse(text)
    plan = Plan(schema, document, operation_of(document))
    outcome = subscribe(schema, document, {"mail": source}, executor_class=CompiledExecutor, plan=plan, **options)
    return outcome if hasattr(outcome, "__aiter__") or isinstance(outcome, ExecutionResult) else await outcome


async def test_every_event_is_executed() -> None:
    stream = await opened(
        "subscription ($n: Boolean!) { mail { subject inbox { subject @skip(if: $n) } } }",
        lambda _info, **_: _mails("one", "two", "three"),
        variable_values={"n": False},
    )
    subjects = ["one", "two", "three"]
    assert [described(event) async for event in stream] == [
        ({"mail": {"subject": subject, "inbox": [{"subject": each} for each in subjects[:index]]}}, [])
        for index, subject in enumerate(subjects)
    ]


async def test_an_event_that_fails_does_not_end_the_stream_and_its_errors_are_its_own() -> None:
    stream = await opened(
        "subscription { mail { subject } }", lambda _info, **_: _mails("one", ValueError("lost"), "three")
    )
    events = [described(event) async for event in stream]

    assert [data for data, _ in events] == [
        {"mail": {"subject": "one"}},
        {"mail": None},
        {"mail": {"subject": "three"}},
    ]
    assert [[message for message, *_ in errors] for _, errors in events] == [[], ["lost"], []]


async def test_a_source_that_fails_ends_the_stream() -> None:
    async def failing(_info: Any, **_: Any) -> AsyncIterator[Any]:
        yield {"mail": {"subject": "one"}}
        raise ValueError("the source is gone")

    stream = await opened("subscription { mail { subject } }", failing)

    assert (await anext(stream)).data == {"mail": {"subject": "one"}}
    with pytest.raises(ValueError, match="the source is gone"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def _refuse_later(_info: Any, **_: Any) -> Any:
    await asyncio.sleep(0)
    raise GraphQLError("refused")


def _refuse(_info: Any, **_: Any) -> Any:
    raise GraphQLError("refused")


@pytest.mark.parametrize("source", [_refuse, _refuse_later])
async def test_a_subscription_that_cannot_be_opened_is_a_result_with_the_error(source: Callable[..., Any]) -> None:
    result = await opened("subscription { mail { subject } }", source)

    assert isinstance(result, ExecutionResult)
    assert result.data is None
    assert [(error.message, error.path) for error in result.errors or ()] == [("refused", ["mail"])]


async def test_a_source_that_is_no_stream_is_an_error() -> None:
    result = await opened("subscription { mail { subject } }", "a text")
    assert isinstance(result, ExecutionResult)
    assert result.errors is not None
    assert "must return" in result.errors[0].message
    assert "'a text'" in result.errors[0].message


async def test_the_source_is_given_the_fields_arguments_and_closed_with_the_stream() -> None:
    log: list[Any] = []

    async def source(_info: Any, **given: Any) -> AsyncIterator[Any]:
        log.append(given)
        try:
            while True:
                yield {"mail": {"subject": "again"}}
        finally:
            log.append("closed")

    stream = await opened('subscription { mail(from: "me") { subject } }', source)
    assert (await anext(stream)).data == {"mail": {"subject": "again"}}
    await stream.aclose()

    assert log == [{"from": "me"}, "closed"]
