"""What a caller sees of an error: an expected one as it is, anything else masked and logged under the request's id."""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from graphql import ExecutionResult as GraphQLExecutionResult
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.types import ExecutionResult

from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError

log = structlog.get_logger(__name__)
INTERNAL_MESSAGE = "Something went wrong on our side; quote the request id when you report it"


def error_of(error: GraphQLError) -> HarborGuardError:
    """The one translation of a GraphQL error.

    A document's own faults (syntax, validation, unknown operation) are BAD_REQUEST, a variable that does not fit its type
    is VALIDATION_ERROR; what a resolver raised unexpectedly is logged and becomes an opaque INTERNAL_ERROR.
    """
    original = error.original_error
    while isinstance(original, GraphQLError) and original.original_error is not None:
        original = original.original_error
    if isinstance(original, HarborGuardError):
        return original
    if original is None or isinstance(original, GraphQLError):
        if error.message.startswith("Variable "):
            return HarborGuardError(ErrorCode.VALIDATION_ERROR, error.message)
        if error.path is None:
            return HarborGuardError(ErrorCode.BAD_REQUEST, error.message)
    log.error("graphql.unexpected_error", path=error.path, exc_info=original or error)
    return HarborGuardError(ErrorCode.INTERNAL_ERROR, INTERNAL_MESSAGE)


class PresentedError(GraphQLError):
    """An error as the client sees it. Presenting it again changes nothing."""


def presented(error: GraphQLError, request_id: str) -> GraphQLError:
    """The error with `extensions.code` and `extensions.requestId`, and nothing that was not meant to be shown."""
    if isinstance(error, PresentedError):
        return error
    known = error_of(error)
    return PresentedError(
        known.message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions={**known.extensions, "requestId": request_id},
    )


class PresentErrors(SchemaExtension):
    """Applies `presented` to whatever strawberry is about to return, and to every event of a stream."""

    def on_operation(self) -> Iterator[None]:
        yield
        execution = self.execution_context
        self._present(execution.result)
        if execution.pre_execution_errors:
            execution.pre_execution_errors = self._presented(execution.pre_execution_errors)

    def on_stream_result(self, result: object) -> Iterator[None]:
        self._present(result)
        yield

    def _present(self, result: object) -> None:
        if isinstance(result, ExecutionResult | GraphQLExecutionResult) and result.errors:
            result.errors = self._presented(result.errors)

    def _presented(self, errors: list[GraphQLError]) -> list[GraphQLError]:
        context = self.execution_context.context
        request_id = context.request_id if isinstance(context, RequestContext) else ""
        return [presented(error, request_id) for error in errors]
