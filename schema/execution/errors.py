"""What a caller sees of an error: an expected one as it is, anything else masked and logged under the request's id."""

from __future__ import annotations

import structlog
from graphql import GraphQLError

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
    if isinstance(original, ValueError) and error.path is None and error.nodes:
        original = None  # a scalar's word on a literal, which validation has put into a sentence of its own
    if original is None or isinstance(original, GraphQLError):
        if error.message.startswith("Variable "):
            return HarborGuardError(ErrorCode.VALIDATION_ERROR, error.message)
        if error.path is None:
            return HarborGuardError(ErrorCode.BAD_REQUEST, error.message)
    log.error("graphql.unexpected_error", path=error.path, exc_info=original or error)
    return HarborGuardError(ErrorCode.INTERNAL_ERROR, INTERNAL_MESSAGE)


def presented(error: GraphQLError, request_id: str) -> GraphQLError:
    """The error with `extensions.code` and `extensions.requestId`, and nothing that was not meant to be shown."""
    known = error_of(error)
    return GraphQLError(
        known.message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        original_error=known,
        extensions={**known.extensions, "requestId": request_id},
    )


def refused(error: HarborGuardError, request_id: str) -> GraphQLError:
    """An error of ours as GraphQL shows it, when there is no place in a document where it happened."""
    return presented(GraphQLError(error.message, original_error=error), request_id)
