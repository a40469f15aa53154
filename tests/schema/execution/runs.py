"""Runs a document by a plan in every position it can have, for tests that state an outcome."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    execute,
    parse,
)

from schema.execution.executor import CompiledExecutor
from schema.execution.plans import Plan


def operation_of(document: DocumentNode, name: str | None = None) -> OperationDefinitionNode:
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    return next(each for each in operations if name is None or (each.name and each.name.value == name))


def planned(schema: GraphQLSchema, document: DocumentNode, name: str | None = None, **options: Any) -> Any:
    """The executor's own answer, awaitable or not."""
    plan = Plan(schema, document, operation_of(document, name))
    return execute(schema, document, operation_name=name, executor_class=CompiledExecutor, plan=plan, **options)


def run(
    schema: GraphQLSchema,
    text: str,
    root: Any = None,
    variables: Mapping[str, Any] | None = None,
    **options: Any,
) -> ExecutionResult:
    """The result of a query: executed twice by one plan, and once as a part of a larger one, where it is compiled whole.

    The root type's fields go by the book; what is one level below them does not. So the larger query asks for the same
    selections one level down, and the result there has to be the same one.
    """
    document = parse(text)
    operation = operation_of(document)
    plan = Plan(schema, document, operation)
    common = {"variable_values": variables, "executor_class": CompiledExecutor, **options}
    first, again = (_arrived(execute(schema, document, root, plan=plan, **common)) for _ in range(2))
    assert described(again) == described(first)
    if operation.operation is OperationType.QUERY:
        lowered_document = lowered(document)
        lower_schema = _lower_schema(schema)
        lower_plan = Plan(lower_schema, lowered_document, operation_of(lowered_document))
        outer = {"inner": {} if root is None else root}
        below = _arrived(execute(lower_schema, lowered_document, outer, plan=lower_plan, **common))
        assert described(below) == _lowered_result(described(first))
    return first


def _arrived(result: Any) -> ExecutionResult:
    if inspect.isawaitable(result):

        async def wait() -> Any:
            return await result

        result = asyncio.run(wait())
    assert isinstance(result, ExecutionResult)
    return result


def described(result: ExecutionResult) -> tuple[Any, list[Any]]:
    """Data, and message, path and locations of each error."""
    return result.data, [
        (error.message, error.path, [location.formatted for location in error.locations or ()])
        for error in result.errors or ()
    ]


def only_error(result: ExecutionResult) -> GraphQLError:
    assert result.errors is not None
    assert len(result.errors) == 1
    return result.errors[0]


def lowered(document: DocumentNode) -> DocumentNode:
    """The document with its query one field deeper. Nodes keep their places in the text."""

    def lower(definition: Any) -> Any:
        if not isinstance(definition, OperationDefinitionNode):
            return definition
        field = FieldNode(
            name=NameNode(value="inner"), arguments=(), directives=(), selection_set=definition.selection_set
        )
        return OperationDefinitionNode(
            operation=definition.operation,
            name=definition.name,
            variable_definitions=definition.variable_definitions,
            directives=definition.directives,
            selection_set=SelectionSetNode(selections=(field,)),
        )

    return DocumentNode(definitions=tuple(lower(definition) for definition in document.definitions))


def _lower_schema(schema: GraphQLSchema) -> GraphQLSchema:
    assert schema.query_type is not None
    outer = GraphQLObjectType("Outer", {"inner": GraphQLField(schema.query_type)})
    return GraphQLSchema(outer, types=list(schema.type_map.values()), directives=schema.directives)


def _lowered_result(description: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
    data, errors = description
    return {"inner": data}, [(message, ["inner", *(path or ())], locations) for message, path, locations in errors]
