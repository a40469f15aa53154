"""The compiling executor against graphql-core's own, on random schemas, documents, variables and data.

`make fuzz` runs the same for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    Executor,
    GraphQLSchema,
    NoUnusedFragmentsRule,
    NoUnusedVariablesRule,
    execute,
    specified_rules,
    validate,
)
from hypothesis import given, note, settings
from hypothesis import strategies as st
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan
from tests.schema.execution.documents import Query, data, queries, variables
from tests.schema.execution.outcomes import Outcome, look_at_everything, observe
from tests.schema.execution.recipes import Source, build
from tests.schema.execution.schemas import blueprints
from tests.schema.execution.strawberry_schemas import CONFIGS, strawberry_schema

EXAMPLES = settings().max_examples  # of the profile: 100, or many more
DATA_SETS = 3  # of each example, all of them executed by one plan, without and with an event loop


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()
    look_at_everything()


class Case:
    """A schema, a document, and the plan all executions of it share."""

    def __init__(self, schema: GraphQLSchema, query: Query, reference: type[Executor[Any]]) -> None:
        self._schema = schema
        self._query = query
        self._reference = reference
        self._plan = Plan(schema, query.document, query.definition)

    def expected(self, values: dict[str, Any], root: Source, loop: asyncio.AbstractEventLoop | None) -> Outcome:
        return self._observe(values, root, loop, executor_class=self._reference)

    def compiled(self, values: dict[str, Any], root: Source, loop: asyncio.AbstractEventLoop | None) -> Outcome:
        return self._observe(values, root, loop, executor_class=CompiledExecutor, plan=self._plan)

    def _observe(
        self, values: dict[str, Any], root: Source, loop: asyncio.AbstractEventLoop | None, **how: Any
    ) -> Outcome:
        def run() -> Any:
            return execute(
                self._schema,
                self._query.document,
                root_value=build(root),
                variable_values=values,
                operation_name=self._query.operation,
                hide_suggestions=True,
                **how,
            )

        return observe(run, loop)


RULES = [rule for rule in specified_rules if rule not in {NoUnusedFragmentsRule, NoUnusedVariablesRule}]


@given(draw=st.data())
@settings(max_examples=EXAMPLES)
def test_generated_documents_are_valid(draw: st.DataObject) -> None:
    blueprint = draw.draw(blueprints())
    query = draw.draw(queries(blueprint.schema))
    assert validate(blueprint.schema, query.document, RULES) == []


@given(draw=st.data())
@settings(max_examples=8 * EXAMPLES)
def test_results_are_those_of_the_reference(draw: st.DataObject, loop: asyncio.AbstractEventLoop) -> None:
    blueprint = draw.draw(blueprints(), "schema")
    query = draw.draw(queries(blueprint.schema), "document")
    case = Case(blueprint.schema, query, Executor)
    for _ in range(DATA_SETS):
        values = draw.draw(variables(), "variables")
        root = draw.draw(data(blueprint.schema, query), "data")
        for within in (None, loop):
            note(f"expected: {(expected := case.expected(values, root, within))}")
            assert case.compiled(values, root, within) == expected


@pytest.mark.parametrize("config", sorted(CONFIGS))
@given(draw=st.data())
@settings(max_examples=3 * EXAMPLES)
def test_results_of_strawberry_schemas_are_those_of_the_reference(
    config: str, draw: st.DataObject, loop: asyncio.AbstractEventLoop
) -> None:
    schema = strawberry_schema(config)
    query = draw.draw(queries(schema), "document")
    case = Case(schema, query, StrawberryGraphQLCoreExecutionContext)
    for _ in range(DATA_SETS):
        values = draw.draw(variables(), "variables")
        root = draw.draw(data(schema, query, usual_source="instance"), "data")
        for within in (None, loop):
            note(f"expected: {(expected := case.expected(values, root, within))}")
            assert case.compiled(values, root, within) == expected
