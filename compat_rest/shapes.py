"""Types of the GraphQL schema as JSON Schema (draft 2020-12, the dialect of OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    SelectionSetNode,
    Undefined,
    get_named_type,
)

from compat_rest.validation import field_constraint
from schema.execution.runner import Operation
from schema.kernel.validation import Constraint

Json: TypeAlias = dict[str, Any]

_SCALARS: Mapping[str, Json] = {
    "String": {"type": "string"},
    "ID": {"type": "string"},
    "Int": {"type": "integer", "format": "int32"},
    "Long": {"type": "integer", "format": "int64"},
    "Float": {"type": "number"},
    "Boolean": {"type": "boolean"},
    "DateTime": {"type": "string", "format": "date-time"},
    "SensorMessage": {"type": "object"},
    "VexDocument": {"type": "object"},
}


@dataclass(frozen=True, slots=True)
class Selected:
    """A field of a document, and what the document selects below it."""

    field: GraphQLField
    selections: SelectionSetNode | None


class Shapes:
    """What has a name in the schema is described once, in `components`, and referred to from everywhere else."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self.components: dict[str, Json] = {}

    def root(self, operation: Operation) -> Selected:
        kind = self._schema.get_root_type(operation.type)
        assert kind is not None
        return self._within(operation, kind, operation.prepared.definition.selection_set)[operation.response_key]

    def below(self, operation: Operation, selected: Selected) -> dict[str, Selected]:
        """By response key, what is selected of an object or of the objects of a list."""
        kind = get_named_type(selected.field.type)
        assert isinstance(kind, GraphQLObjectType)
        return self._within(operation, kind, selected.selections)

    def _within(
        self, operation: Operation, kind: GraphQLObjectType, selections: SelectionSetNode | None
    ) -> dict[str, Selected]:
        found: dict[str, Selected] = {}
        for node in selections.selections if selections else ():
            if isinstance(node, FieldNode):
                field = self._schema.get_field(kind, node.name.value)
                assert field is not None, "validation has seen the field"
                found[(node.alias or node.name).value] = Selected(field, node.selection_set)
            elif isinstance(node, FragmentSpreadNode):
                found |= self._within(operation, kind, _fragment(operation, node.name.value))
        return found

    def answer(self, operation: Operation, selected: Selected) -> Json:
        """What a field answers with. All that is selected is always there, if only as null."""

        def shape(named: Any) -> Json:
            if not isinstance(named, GraphQLObjectType):
                return self.leaf(named)
            properties = {
                key: self.answer(operation, inner) | described(inner.field.description)
                for key, inner in self.below(operation, selected).items()
            }
            schema = object_of(properties) | described(named.description)
            return self._refer(named.name, f"{operation.name[0].upper()}{operation.name[1:]}{named.name}", schema)

        return _wrapped(selected.field.type, shape)

    def taken(self, kind: GraphQLInputType, constraint: Constraint | None = None) -> Json:
        """What an input of the type has to look like."""

        def shape(named: Any) -> Json:
            if not isinstance(named, GraphQLInputObjectType):
                return self.leaf(named)
            required = [
                name
                for name, field in named.fields.items()
                if isinstance(field.type, GraphQLNonNull) and field.default_value is Undefined
            ]
            properties = {
                name: self.taken(field.type, field_constraint(field)) | described(field.description)
                for name, field in named.fields.items()
            }
            schema = object_of(properties, required=required) | described(named.description)
            return self._refer(named.name, named.name, schema | {"additionalProperties": False})

        schema = _wrapped(kind, shape)
        return schema if constraint is None else schema | _keywords(constraint, is_list="items" in schema)

    def leaf(self, kind: GraphQLScalarType | GraphQLEnumType) -> Json:
        if isinstance(kind, GraphQLEnumType):
            return self._refer(
                kind.name, kind.name, {"type": "string", "enum": [*kind.values], **described(kind.description)}
            )
        return dict(_SCALARS[kind.name])

    def _refer(self, name: str, longer: str, schema: Json) -> Json:
        """The first shape of a type has its name; another selection of it is named after the operation as well."""
        if self.components.setdefault(name, schema) != schema:
            name = longer
            if self.components.setdefault(name, schema) != schema:
                msg = f"{name} has two shapes"
                raise ValueError(msg)
        return {"$ref": f"#/components/schemas/{name}"}


def object_of(properties: Json, *, required: Sequence[str] | None = None) -> Json:
    """Everything is required that is not said to be optional."""
    names = [*(properties if required is None else required)]
    return {"type": "object", "properties": properties} | (
        {"required": names} if names else {}
    )  # OpenAPI 3.0: never empty


def described(description: str | None) -> Json:
    return {"description": description} if description else {}


def _wrapped(kind: Any, shape: Callable[[Any], Json]) -> Json:
    """The shape of a type within its list and its null."""
    nullable = not isinstance(kind, GraphQLNonNull)
    inner = kind if nullable else kind.of_type
    schema = (
        {"type": "array", "items": _wrapped(inner.of_type, shape)} if isinstance(inner, GraphQLList) else shape(inner)
    )
    if not nullable:
        return schema
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema | {"type": [schema["type"], "null"]}


def _keywords(constraint: Constraint, *, is_list: bool) -> Json:
    unit = "Items" if is_list else "Length"
    keywords = {
        f"min{unit}": constraint.min_length,
        f"max{unit}": constraint.max_length,
        "minimum": constraint.minimum,
        "maximum": constraint.maximum,
        "pattern": None if constraint.pattern is None else f"^(?:{constraint.pattern})$",  # a whole match, as ours is
    }
    return {name: value for name, value in keywords.items() if value is not None}


def _fragment(operation: Operation, name: str) -> SelectionSetNode:
    return next(
        node.selection_set
        for node in operation.prepared.document.definitions
        if isinstance(node, FragmentDefinitionNode) and node.name.value == name
    )
