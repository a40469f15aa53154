"""Constraints of input fields, declared once beside the field.

GraphQL checks them before a mutation runs; the REST adapter checks them together with the shape of the body, so that
one answer names everything that is wrong; OpenAPI prints them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import strawberry
from strawberry.types.base import StrawberryObjectDefinition, has_object_definition

from schema.kernel.errors import Issue, invalid

_METADATA = "constraint"
NO_NUL = "must not contain a NUL character"  # PostgreSQL cannot store one, so no text of ours has one


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """What a value must satisfy beyond its GraphQL type. Lengths in characters, or elements for a list."""

    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    hint: str | None = None  # said instead of the pattern

    def problem(self, value: object) -> str | None:
        """What is wrong with the value, None when nothing is. A value of another type is not this check's business."""
        if isinstance(value, str):
            return self._text_problem(value)
        if isinstance(value, Sequence):
            return self._length_problem(len(value), "element")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number_problem(value)
        return None

    def _text_problem(self, value: str) -> str | None:
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return self.hint or f"must match {self.pattern}"
        return self._length_problem(len(value), "character")

    def _length_problem(self, length: int, unit: str) -> str | None:
        if self.min_length is not None and length < self.min_length:
            return f"must contain at least {_count(self.min_length, unit)}"
        if self.max_length is not None and length > self.max_length:
            return f"must contain at most {_count(self.max_length, unit)}"
        return None

    def _number_problem(self, value: float) -> str | None:
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}"
        return None


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


def constrained(constraint: Constraint, *, description: str, **options: Any) -> Any:
    """Declares an input field with a constraint, next to its type."""
    return strawberry.field(metadata={_METADATA: constraint}, description=description, **options)


def constraint_of(metadata: Mapping[Any, Any]) -> Constraint | None:
    return cast("Constraint | None", metadata.get(_METADATA))


def check_arguments(arguments: Mapping[str, object]) -> None:
    """Raises VALIDATION_ERROR with every issue of every input object and text among the arguments of a field."""
    issues = [
        issue
        for name, value in arguments.items()
        for issue in _issues(value, _camel(name) if isinstance(value, str) else "")
    ]
    if issues:
        raise invalid(*issues)


def _issues(value: object, path: str) -> Iterator[Issue]:
    if isinstance(value, str) and "\x00" in value:
        yield Issue(path, NO_NUL)
    if isinstance(value, list):
        for index, element in enumerate(value):
            yield from _issues(element, f"{path}.{index}" if path else str(index))
    if not has_object_definition(value):
        return
    definition: StrawberryObjectDefinition = value.__strawberry_definition__
    for field in definition.fields:
        inner = getattr(value, field.python_name)
        name = field.graphql_name or _camel(field.python_name)
        inner_path = f"{path}.{name}" if path else name
        constraint = constraint_of(field.metadata)
        if inner is None or inner is strawberry.UNSET:
            continue
        problem = constraint.problem(inner) if constraint else None
        if problem:
            yield Issue(inner_path, problem)
        yield from _issues(inner, inner_path)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def check_future(moment: datetime | None, now: datetime, *, path: str) -> None:
    """An expiry in the past would make a credential that never works: refused, not stored."""
    if moment is not None and moment <= now:
        raise invalid(Issue(path, "must lie in the future"))
