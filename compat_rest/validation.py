"""Judges a JSON body by the GraphQL input type it becomes: every problem in one answer, with its dotted path.

GraphQL would refuse the same bodies, but one problem at a time and in words about variables. The type says which fields
there are and what they hold; the constraints declared beside them say the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLError,
    GraphQLInputField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
    Undefined,
)

from schema.kernel.errors import Issue, invalid
from schema.kernel.validation import NO_NUL, Constraint, constraint_of

MAX_ISSUES = 50
MAX_NAME = 100  # characters of an unknown field that an answer repeats
REQUIRED = "Required"


def check_body(kind: GraphQLInputObjectType, body: Mapping[str, Any]) -> None:
    """Raises VALIDATION_ERROR with every issue of the body, at most MAX_ISSUES of them."""
    issues = tuple(issue for issue, _ in zip(_object_issues(kind, body, ""), range(MAX_ISSUES), strict=False))
    if issues:
        raise invalid(*issues)


def _object_issues(kind: GraphQLInputObjectType, body: Mapping[str, Any], path: str) -> Iterator[Issue]:
    for name, field in kind.fields.items():
        inner = f"{path}.{name}" if path else name
        if name not in body:
            if isinstance(field.type, GraphQLNonNull) and field.default_value is Undefined:
                yield Issue(inner, REQUIRED)
            continue
        yield from _issues(field.type, body[name], inner, constraint=field_constraint(field))
    for name in body:
        if name not in kind.fields:
            shown = name[:MAX_NAME]
            yield Issue(f"{path}.{shown}" if path else shown, "unknown field")


def field_constraint(field: GraphQLInputField) -> Constraint | None:
    definition = field.extensions.get("strawberry-definition")
    return None if definition is None else constraint_of(definition.metadata)


def _issues(kind: GraphQLInputType, value: Any, path: str, *, constraint: Constraint | None) -> Iterator[Issue]:
    if isinstance(kind, GraphQLNonNull):
        if value is None:
            yield Issue(path, "must not be null")
            return
        kind = kind.of_type
    if value is None:
        return
    if isinstance(kind, GraphQLList):
        yield from _list_issues(kind, value, path, constraint=constraint)
    elif isinstance(kind, GraphQLInputObjectType):
        if isinstance(value, dict):
            yield from _object_issues(kind, value, path)
        else:
            yield Issue(path, "must be an object")
    else:
        problem = leaf_problem(kind, value) or (constraint.problem(value) if constraint else None)
        if problem:
            yield Issue(path, problem)


def _list_issues(kind: GraphQLList[Any], value: Any, path: str, *, constraint: Constraint | None) -> Iterator[Issue]:
    if not isinstance(value, list):
        yield Issue(path, "must be a list")
        return
    problem = constraint.problem(value) if constraint else None
    if problem:
        yield Issue(path, problem)
    for index, element in enumerate(value):
        yield from _issues(kind.of_type, element, f"{path}.{index}", constraint=None)


def leaf_problem(kind: GraphQLEnumType | GraphQLScalarType, value: Any) -> str | None:
    """What is wrong with a scalar or the name of an enum's member, None when nothing is."""
    if isinstance(kind, GraphQLEnumType):
        fits = isinstance(value, str) and value in kind.values
        return None if fits else f"must be one of {', '.join(kind.values)}"
    if kind.name == "Int" and isinstance(value, float) and value.is_integer():
        value = int(value)  # 3.0 is a whole number to JSON Schema and to GraphQL
    if kind.name in _JSON_TYPES:
        types, wanted = _JSON_TYPES[kind.name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            return f"must be {wanted}"
        if isinstance(value, str) and "\x00" in value:
            return NO_NUL
    try:
        kind.parse_value(value)
    except (ValueError, TypeError, GraphQLError) as error:
        return str(error)
    return None


_JSON_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "String": ((str,), "text"),
    "ID": ((str,), "text"),
    "Int": ((int,), "a whole number"),
    "Float": ((int, float), "a number"),
    "Boolean": ((bool,), "true or false"),
}
