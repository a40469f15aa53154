"""Executors, resolvers and predicates of the caller's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from graphql import AbortedGraphQLExecutionError, ExecutionHooks, build_schema, execute, parse
from graphql.pyutils import AbortController, is_awaitable

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan
from tests.schema.execution.runs import operation_of, planned, run

SCHEMA = build_schema("""
    type Query { row: Row, pets: [Pet] }
    type Row { text: String }
    interface Pet { name: String }
    type Dog implements Pet { name: String }
""")


def test_a_field_resolver_is_asked_for_every_field() -> None:
    asked = []

    def resolve(_source: Any, info: Any) -> Any:
        asked.append(info.path.as_list())
        return {} if info.field_name == "row" else "resolved"

    result = planned(SCHEMA, parse("{ row { text } }"), field_resolver=resolve)

    assert result.data == {"row": {"text": "resolved"}}
    assert asked == [["row"], ["row", "text"]]


def test_a_type_resolver_is_asked_for_every_abstract_value_whatever_it_says_itself() -> None:
    root = {"pets": [{"__typename": "Nowhere", "name": "Odie"}, {"name": "Rex"}]}
    result = run(SCHEMA, "{ pets { __typename name } }", root, type_resolver=lambda *_: "Dog")
    assert result.data == {"pets": [{"__typename": "Dog", "name": "Odie"}, {"__typename": "Dog", "name": "Rex"}]}


def test_a_predicate_for_awaitables_decides() -> None:
    class Box:
        text = "in a box"

    seen: list[type] = []

    def is_boxed_or_awaitable(value: Any) -> Any:
        seen.append(type(value))
        return is_awaitable(value)

    result = planned(SCHEMA, parse("{ row { text } }"), root_value={"row": Box()}, is_awaitable=is_boxed_or_awaitable)

    assert result.data == {"row": {"text": "in a box"}}
    assert {Box, str} <= set(seen)


def test_an_executor_of_a_subclass_executes_every_field_it_changes() -> None:
    class Shouting(CompiledExecutor):
        def execute_field(self, *args: Any) -> Any:
            result = super().execute_field(*args)
            return result.upper() if isinstance(result, str) else result

    document = parse("{ row { text } }")
    root = {"row": {"text": "quiet"}}
    by_the_book: Any = execute(SCHEMA, document, root, executor_class=Shouting)
    assert by_the_book.data == {"row": {"text": "QUIET"}}

    # With a plan, plain fields are not executed one by one: that is what a plan is for.
    plan = Plan(SCHEMA, document, operation_of(document))
    by_plan: Any = execute(SCHEMA, document, root, executor_class=Shouting, plan=plan)
    assert by_plan.data == {"row": {"text": "quiet"}}


async def test_an_abort_signal_ends_an_execution() -> None:
    controller, reason = AbortController(), ValueError("enough")

    async def abort(_info: Any) -> str:
        controller.abort(reason)
        await asyncio.sleep(0)
        return "too late"

    outcome = planned(
        SCHEMA, parse("{ row { text } }"), root_value={"row": {"text": abort}}, abort_signal=controller.signal
    )
    with pytest.raises(AbortedGraphQLExecutionError) as raised:
        await outcome
    assert raised.value.__cause__ is reason


async def test_the_hook_runs_once_when_all_work_is_done() -> None:
    for text in ("quick", _slow):
        finished: list[Any] = []
        hooks = ExecutionHooks(async_work_finished=finished.append)
        result = planned(SCHEMA, parse("{ row { text } }"), root_value={"row": {"text": text}}, hooks=hooks)
        assert (await result if is_awaitable(result) else result).data == {
            "row": {"text": "done" if text is _slow else "quick"}
        }
        await asyncio.sleep(0)
        assert len(finished) == 1


async def _slow(_info: Any) -> str:
    await asyncio.sleep(0)
    return "done"
