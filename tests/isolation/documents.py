"""Operations made from the schema itself, so that a field added tomorrow is asked tomorrow."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
)
from graphql.type import GraphQLInputField, GraphQLNonNull

from schema.kernel.ids import IdPrefix
from tests.factories.statements import new_key, public_pem

MAX_DEPTH = 4
# Fields that make a whole file, and an error where there is none: asked of the one thing an id names, not of a list.
_DOWNLOADS = {"engineOutput", "document", "sbom"}
_PREFIX = re.compile(r"`([a-z]+)-…`")
# Ids among inputs whose description names no prefix.
INPUT_IDS = {
    "registryId": IdPrefix.REGISTRY,
    "uploadId": IdPrefix.UPLOAD,
    "organizationId": IdPrefix.ORGANIZATION,
    "batchId": IdPrefix.SCAN_BATCH,
}
# What else a required input needs to be valid.
INPUT_VALUES: dict[str, Any] = {
    "id": "CVE-canary-omega",
    "suppressed": True,
    "pem": public_pem(new_key()),
    "document": {"@context": "https://openvex.dev/ns/v0.2.0", "statements": []},
    "images": "stranger.example/*",
    "image": "stranger.example/app:1",
    "name": "stranger",
    "email": "nobody@example.com",
    "password": "correct horse battery",
    "organization": "Stranger",
    "token": "hg_setup_none",
    "url": "https://stranger.example",
    "provider": "harbor",
    "message": {},
    "by": "FLAW",
    "field": "cveId",
    "status": "WONT_FIX",
    "cveId": "CVE-canary-omega",
    "package": "canary-omega-package",
    "reason": "because",
    "scope": {"type": "blanket"},
    "query": "severity=CRITICAL",
}


@dataclass(frozen=True)
class IdPlace:
    """Where an operation takes an id: the argument, and the field of its input object if it is one."""

    argument: str
    field: str | None
    prefix: IdPrefix


def root_fields(schema: GraphQLSchema) -> Iterator[tuple[str, str, GraphQLField]]:
    for kind, root in (
        ("query", schema.query_type),
        ("mutation", schema.mutation_type),
        ("subscription", schema.subscription_type),
    ):
        assert root is not None
        for name, field in root.fields.items():
            yield kind, name, field


def id_places(field: GraphQLField) -> Iterator[IdPlace]:
    """Every id the field takes. Raises KeyError for one whose kind cannot be told: describe it with its prefix."""
    for name, argument in field.args.items():
        named = get_named_type(argument.type)
        if named.name == "ID":
            yield IdPlace(name, None, prefix_of(name, argument))
        elif isinstance(named, GraphQLInputObjectType):
            for inner_name, inner in named.fields.items():
                if get_named_type(inner.type).name == "ID":
                    yield IdPlace(name, inner_name, prefix_of(inner_name, inner))


def prefix_of(name: str, argument: GraphQLArgument | GraphQLInputField) -> IdPrefix:
    match = _PREFIX.search(argument.description or "")
    return IdPrefix(match[1]) if match else INPUT_IDS[name]


def document(kind: str, name: str, field: GraphQLField) -> str:
    """An operation that asks for everything the field can show without further arguments."""
    free = {argument: argument_.type for argument, argument_ in field.args.items() if argument != "limit"}
    declared = ", ".join(f"${argument}: {kind_}" for argument, kind_ in free.items())
    passed = ", ".join([f"{argument}: ${argument}" for argument in free] + ["limit: 5"] * ("limit" in field.args))
    variables = f"({declared})" if declared else ""
    arguments = f"({passed})" if passed else ""
    return f"{kind} Asked{variables} {{ {name}{arguments}{_selection(field, 0)} }}"


def _selection(field: GraphQLField, depth: int) -> str:
    named = get_named_type(field.type)
    if is_leaf_type(named):
        return ""
    assert isinstance(named, GraphQLObjectType)
    parts = [
        f"{name}{_arguments(inner)}{_selection(inner, depth + 1)}"
        for name, inner in named.fields.items()
        if depth < MAX_DEPTH and (is_leaf_type(get_named_type(inner.type)) or depth + 1 < MAX_DEPTH)
        if name not in _DOWNLOADS or depth == 0
    ]
    return f" {{ {' '.join(parts)} }}"


def _arguments(field: GraphQLField) -> str:
    """Small pages, and the first value of a required enum."""
    given = []
    for name, argument in field.args.items():
        if name == "limit":
            given.append("limit: 5")
        elif is_required_argument(argument):
            named = get_named_type(argument.type)
            assert isinstance(named, GraphQLEnumType), f"{name} needs a value to be asked with"
            given.append(f"{name}: {'syft' if 'syft' in named.values else next(iter(named.values))}")
    return f"({', '.join(given)})" if given else ""


def required_values(field: GraphQLField) -> dict[str, Any]:
    """Values for the required arguments that are no ids."""
    values: dict[str, Any] = {}
    for name, argument in field.args.items():
        named = get_named_type(argument.type)
        if isinstance(named, GraphQLInputObjectType):
            values[name] = {
                inner_name: _value(inner_name, inner)
                for inner_name, inner in named.fields.items()
                if isinstance(inner.type, GraphQLNonNull)
            }
        elif is_required_argument(argument) and named.name not in {"ID", "Archive", "Report", "Delivery"}:
            values[name] = INPUT_VALUES[name]
    return values


def _value(name: str, field: GraphQLInputField) -> Any:
    if name in INPUT_VALUES:
        return INPUT_VALUES[name]
    named = get_named_type(field.type)
    if isinstance(named, GraphQLEnumType):
        first = "syft" if "syft" in named.values else next(iter(named.values))
        nullable = field.type.of_type if isinstance(field.type, GraphQLNonNull) else field.type
        return [first] if is_list_type(nullable) else first
    raise KeyError(name)
