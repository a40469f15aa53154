"""The schema as it is executed: one way from a document to a result, for `/graphql`, for sockets and for REST operations.

Strawberry declares the schema; its own `execute` is not used, because it parses, validates and wraps for every request
what here is prepared once for a document.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import strawberry
from graphql import ExecutionResult, GraphQLError, GraphQLField, GraphQLObjectType, GraphQLSchema, OperationType

from schema.execution.documents import DocumentCache, PreparedOperation
from schema.execution.errors import presented, refused
from schema.execution.limits import MAX_COST
from schema.execution.runner import execute_operation, open_stream
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError

EVERY_TYPE = frozenset(OperationType)


@dataclass(frozen=True, slots=True)
class Request:
    """What a GraphQL client sends."""

    query: str
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None


class ExecutableSchema:
    """One per process. `documents` are those that clients sent; REST operations are prepared apart from them."""

    def __init__(self, declared: strawberry.Schema) -> None:
        self.declared = declared
        self.graphql: GraphQLSchema = declared._schema  # noqa: SLF001 -- strawberry has no public name for it
        for kind in self.graphql.type_map.values():
            if isinstance(kind, GraphQLObjectType):
                for field in kind.fields.values():
                    _leave_nulls_out(field)
        self.documents = DocumentCache()

    def operation(
        self, request: Request, context: RequestContext, *, allowed: Collection[OperationType] = EVERY_TYPE
    ) -> PreparedOperation | list[GraphQLError]:
        """The operation that is asked for, or the errors of its document as the caller may see them.

        Raises BAD_REQUEST when it is not there or of a type that is not allowed here.
        """
        prepared = self.documents.prepare(self.graphql, request.query)
        if prepared.errors:
            return [presented(error, context.request_id) for error in prepared.errors]
        operation = prepared.operation(request.operation_name)
        if operation is None:
            raise HarborGuardError(ErrorCode.BAD_REQUEST, _no_operation(request.operation_name))
        if operation.type not in allowed:
            raise HarborGuardError(ErrorCode.BAD_REQUEST, _MISPLACED[operation.type])
        if operation.introspects and context.principal_or_none is None:
            error = HarborGuardError(ErrorCode.UNAUTHORIZED, "Introspection needs authentication")
            return [refused(error, context.request_id)]
        return operation

    async def execute(
        self, operation: PreparedOperation, variables: Mapping[str, Any] | None, context: RequestContext
    ) -> ExecutionResult:
        """The answer to a query or mutation, with errors as the caller may see them and what it cost."""
        result = await execute_operation(operation, variables, context)
        _present(result, context)
        result.extensions = {"cost": {"requested": operation.cost, "maximum": MAX_COST}}
        return result

    async def stream(
        self, operation: PreparedOperation, variables: Mapping[str, Any] | None, context: RequestContext
    ) -> AsyncGenerator[ExecutionResult, None]:
        """The events of a subscription, or the one answer to anything else. To be closed by whoever stops listening."""
        if operation.type is not OperationType.SUBSCRIPTION:
            yield await self.execute(operation, variables, context)
            return
        async with aclosing(open_stream(operation, variables, context)) as results:
            try:
                async for result in results:
                    _present(result, context)
                    yield result
            except Exception as error:  # noqa: BLE001 -- what its source raises is a subscription's last result
                yield ExecutionResult(None, [presented(GraphQLError("", original_error=error), context.request_id)])


def _leave_nulls_out(field: GraphQLField) -> None:
    """An optional argument that is null is not passed on: the resolver's own default says the same.

    Strawberry converts every argument it is given, and a list has a dozen that nobody uses.
    """
    resolve = field.resolve
    optional = {argument.out_name or name for name, argument in field.args.items() if argument.default_value is None}
    if resolve is None or not optional:
        return

    def resolve_given(source: Any, info: Any, **arguments: Any) -> Any:
        given = {name: value for name, value in arguments.items() if value is not None or name not in optional}
        return resolve(source, info, **given)

    field.resolve = resolve_given


def _present(result: ExecutionResult, context: RequestContext) -> None:
    if result.errors:
        result.errors = [presented(error, context.request_id) for error in result.errors]


_MISPLACED = {
    OperationType.QUERY: "A query has no place here",
    OperationType.MUTATION: "Mutations need POST",
    OperationType.SUBSCRIPTION: "Subscriptions need a WebSocket with the protocol graphql-transport-ws",
}


def _no_operation(name: str | None) -> str:
    if name is None:
        return "Name the operation to execute in operationName: the document has several"
    return f'Unknown operation named "{name}".'
