"""Runs prepared operations: once, as a stream, and for an adapter with idempotency in one transaction."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from graphql import ExecutionResult, FieldNode, GraphQLError, GraphQLSchema, OperationType, subscribe
from sqlalchemy.exc import IntegrityError

from schema.execution.documents import PreparedOperation, prepare
from schema.execution.errors import error_of
from schema.execution.executor import CompiledExecutor
from schema.kernel.context import RequestContext
from schema.kernel.errors import HarborGuardError
from schema.kernel.idempotency import IdempotencyKey, recall, remember
from schema.kernel.operations import Policy, policy_of


async def execute_operation(
    operation: PreparedOperation, variables: Mapping[str, Any] | None, context: RequestContext
) -> ExecutionResult:
    """The result of a query or mutation, with errors as they were raised."""
    executor = CompiledExecutor.planned(operation.plan, variables or {}, context)
    if isinstance(executor, list):
        return ExecutionResult(None, executor)
    outcome = executor.execute_operation()
    return cast("ExecutionResult", await outcome if inspect.isawaitable(outcome) else outcome)


async def open_stream(
    operation: PreparedOperation, variables: Mapping[str, Any] | None, context: RequestContext
) -> AsyncGenerator[ExecutionResult, None]:
    """The results of a subscription, with errors as they were raised. What its source raises comes as it is."""
    outcome = subscribe(
        operation.plan.schema,
        operation.document,
        context_value=context,
        variable_values=cast("dict[str, Any]", variables),
        operation_name=operation.name,
        executor_class=CompiledExecutor,
        hide_suggestions=True,
        plan=operation.plan,
    )
    stream = await outcome if inspect.isawaitable(outcome) else outcome
    if isinstance(stream, ExecutionResult):
        yield stream
        return
    # graphql-core promises an iterator; what a subscription gives is a generator, which must not outlive its listener.
    async with aclosing(cast("AsyncGenerator[ExecutionResult, None]", stream)) as results:
        async for result in results:
            yield result


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A named document with exactly one root field, checked when the process starts."""

    name: str
    prepared: PreparedOperation
    root_field: str
    response_key: str
    policy: Policy

    @property
    def type(self) -> OperationType:
        return self.prepared.type


def load_operation(schema: GraphQLSchema, text: str) -> Operation:
    """Raises ValueError naming the operation and what is wrong with it, so that the process does not start with it."""
    document = prepare(schema, text)
    prepared = document.operation(None)
    if prepared is None or prepared.name is None:
        problems = "; ".join(error.message for error in document.errors) or "it must hold one named operation"
        msg = f"operation {text[:60]!r}: {problems}"
        raise ValueError(msg)
    selections = prepared.definition.selection_set.selections
    root, root_type = selections[0], schema.get_root_type(prepared.type)
    if len(selections) != 1 or not isinstance(root, FieldNode) or root_type is None:
        msg = f"operation {text[:60]!r}: it must select one root field"
        raise ValueError(msg)
    field = schema.get_field(root_type, root.name.value)
    assert field is not None, "validation has seen the field"
    return Operation(
        name=prepared.name,
        prepared=prepared,
        root_field=root.name.value,
        response_key=(root.alias or root.name).value,
        policy=policy_of(field.extensions["strawberry-definition"]),
    )


async def run_operation(
    operation: Operation,
    variables: dict[str, Any],
    context: RequestContext,
    *,
    idempotency_key: IdempotencyKey | None = None,
) -> Any:
    """The data under the operation's root field. Raises HarborGuardError; a failed mutation leaves nothing behind."""
    if operation.type is not OperationType.MUTATION or idempotency_key is None:
        return await _execute(operation, variables, context)
    try:
        if operation.policy.own_transaction:
            return await _execute_and_remember(operation, variables, context, idempotency_key)
        return await _execute_once(operation, variables, context, idempotency_key)
    except IntegrityError:
        # Two requests with one key at the same moment: the first has committed, and its answer is ours.
        kept = await _recall(context, idempotency_key)
        if kept is None:
            raise
        return kept


async def _execute_once(
    operation: Operation, variables: dict[str, Any], context: RequestContext, key: IdempotencyKey
) -> Any:
    async with context.write() as session:
        kept = await _recall(context, key)
        if kept is not None:
            return kept
        data = await _execute(operation, variables, context)
        await remember(session, key, context.principal, data, keys=context.services.keys, now=context.now())
        return data


async def _execute_and_remember(
    operation: Operation, variables: dict[str, Any], context: RequestContext, key: IdempotencyKey
) -> Any:
    """For a mutation that receives a body for minutes: no transaction is held meanwhile.

    A crash right after its own commit makes a repetition create once more; nothing is lost by that.
    """
    kept = await _recall(context, key)
    if kept is not None:
        return kept
    data = await _execute(operation, variables, context)
    async with context.write() as session:
        await remember(session, key, context.principal, data, keys=context.services.keys, now=context.now())
    return data


async def _recall(context: RequestContext, key: IdempotencyKey) -> Any:
    async with context.write() as session:
        kept = await recall(session, key, context.principal, keys=context.services.keys, now=context.now())
    context.replayed = kept is not None
    return kept


async def _execute(operation: Operation, variables: dict[str, Any], context: RequestContext) -> Any:
    return _data(await execute_operation(operation.prepared, variables, context), operation)


async def stream_operation(
    operation: Operation, variables: dict[str, Any], context: RequestContext
) -> AsyncIterator[Any]:
    """The events of a subscription, each the data under its root field. Raises HarborGuardError."""
    async with aclosing(open_stream(operation.prepared, variables, context)) as results:
        try:
            async for result in results:
                yield _data(result, operation)
        except HarborGuardError:
            raise
        except Exception as error:
            raise error_of(GraphQLError("", original_error=error)) from error


def _data(result: ExecutionResult, operation: Operation) -> Any:
    errors: list[GraphQLError] | None = result.errors
    if errors:
        raise error_of(errors[0])
    assert result.data is not None, "a result without errors has data"
    return result.data[operation.response_key]
