"""The one error root. GraphQL and REST each map it once; nothing else decides a status code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorCode(StrEnum):
    """Codes of the public contract (docs/reference/errors). A code, once published, is never renamed."""

    BAD_REQUEST = "BAD_REQUEST"
    VALIDATION_ERROR = "VALIDATION_ERROR"
    UNAUTHORIZED = "UNAUTHORIZED"
    PLAN_LIMIT = "PLAN_LIMIT"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    RATE_LIMITED = "RATE_LIMITED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    TIMEOUT = "TIMEOUT"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing wrong with an input: `path` is the dotted path in the body, `message` says what to change."""

    path: str
    message: str


class HarborGuardError(Exception):
    """An expected failure a caller can act on: a code of the contract, a message, and the issues of an input."""

    def __init__(self, code: ErrorCode, message: str, issues: tuple[Issue, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.issues = issues

    @property
    def extensions(self) -> dict[str, object]:
        """What a GraphQL error carries beside its message; graphql-core copies it from the original exception."""
        extensions: dict[str, object] = {"code": self.code.value}
        if self.issues:
            extensions["issues"] = [{"path": issue.path, "message": issue.message} for issue in self.issues]
        return extensions


def not_found(resource: str) -> HarborGuardError:
    """The answer for a missing row and for another organization's row alike, so neither can be told apart."""
    return HarborGuardError(ErrorCode.NOT_FOUND, f"{resource} not found")


def invalid(*issues: Issue) -> HarborGuardError:
    """A VALIDATION_ERROR whose message joins its issues, as the contract documents."""
    message = ", ".join(f"{issue.path}: {issue.message}" if issue.path else issue.message for issue in issues)
    return HarborGuardError(ErrorCode.VALIDATION_ERROR, message, issues)


def conflict(message: str) -> HarborGuardError:
    return HarborGuardError(ErrorCode.CONFLICT, message)


def bad_request(message: str) -> HarborGuardError:
    return HarborGuardError(ErrorCode.BAD_REQUEST, message)
