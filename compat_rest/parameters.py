"""How a path and a query string become the variables of a document.

Nothing is declared twice: the document's variables say which query parameters a route has and what they hold. A list
is written with commas, `severity=CRITICAL,HIGH`. An empty value means the parameter was not given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphql import GraphQLEnumType, GraphQLInputType, GraphQLList, GraphQLNonNull, GraphQLScalarType

from compat_rest.validation import leaf_problem
from schema.kernel.errors import ErrorCode, HarborGuardError, bad_request
from schema.kernel.pagination import page_request

MAX_PATH_SEGMENT = 200
_BOOLEANS = {"true": True, "false": False}
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One variable that is filled from the path or the query string."""

    name: str
    leaf: GraphQLScalarType | GraphQLEnumType
    is_list: bool
    required: bool

    @classmethod
    def of(cls, name: str, kind: GraphQLInputType) -> Parameter:
        """Raises ValueError for a type that a query string cannot carry."""
        required = isinstance(kind, GraphQLNonNull)
        kind = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        is_list = isinstance(kind, GraphQLList)
        kind = kind.of_type if isinstance(kind, GraphQLList) else kind
        kind = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
        if not isinstance(kind, GraphQLScalarType | GraphQLEnumType):
            msg = f"${name}: a query parameter holds a scalar, an enum, or a list of them"
            raise ValueError(msg)  # noqa: TRY004 -- the message is about a document, not about a Python type
        return cls(name=name, leaf=kind, is_list=is_list, required=required)

    def read(self, text: str) -> Any:
        """The variable's value. Raises BAD_REQUEST."""
        if self.is_list:
            return [self._read_one(part) for part in text.split(",")]
        return self._read_one(text)

    def _read_one(self, text: str) -> Any:
        value = _typed(self.leaf, text)
        problem = leaf_problem(self.leaf, value)
        if problem:
            raise bad_request(f"{self.name} {problem}")
        return value


def _typed(leaf: GraphQLScalarType | GraphQLEnumType, text: str) -> Any:
    """The text as JSON would carry it; unchanged where it does not fit, for `leaf_problem` to say so."""
    if leaf.name == "Boolean":
        return _BOOLEANS.get(text, text)
    if leaf.name in {"Int", "Long"} and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    if leaf.name == "Float" and _NUMBER.fullmatch(text):
        return float(text)
    return text


def read_path(parameters: Sequence[Parameter], values: Mapping[str, str]) -> dict[str, Any]:
    """Variables from the path. Raises NOT_FOUND for a segment that cannot name anything."""
    variables = {}
    for parameter in parameters:
        text = values[parameter.name]
        if len(text) > MAX_PATH_SEGMENT or not text.isprintable() or leaf_problem(parameter.leaf, text):
            raise HarborGuardError(ErrorCode.NOT_FOUND, "Not found")
        variables[parameter.name] = text
    return variables


def read_query(parameters: Sequence[Parameter], query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Variables from the query string. Raises BAD_REQUEST for a parameter that is unknown, repeated, missing or bad."""
    known = {parameter.name: parameter for parameter in parameters}
    variables: dict[str, Any] = {}
    seen: set[str] = set()
    for name, text in query:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise bad_request(f"Unknown query parameter {name[:50]!r}; this route takes: {allowed}")
        if name in seen:
            raise bad_request(f"{name} is given more than once")
        seen.add(name)
        if text:
            variables[name] = known[name].read(text)
    for parameter in parameters:
        if parameter.required and parameter.name not in variables:
            raise bad_request(f"The query parameter {parameter.name} is required")
    if "page" in known or "limit" in known:
        page_request(page=variables.get("page"), limit=variables.get("limit"), sort=None)
    return variables
