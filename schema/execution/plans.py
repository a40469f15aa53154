"""What all executions of one operation share: the fields it collects, and the functions compiled for them.

Which fields a selection set collects depends on the variables that `@skip` and `@include` name and on nothing else, so an
operation has one variant for each combination of their values that has come up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    OperationDefinitionNode,
    Visitor,
    get_named_type,
    visit,
)
from graphql.execution.collect_fields import (
    CollectedFields,
    FieldDetailsList,
    FragmentDetails,
    collect_fields,
    collect_subfields,
)
from graphql.execution.get_variable_signature import get_variable_signature
from graphql.execution.values import VariableValues, VariableValueSource, get_variable_values
from graphql.language import VariableNode

from schema.execution.compiler import Complete, Dispatch, Selection, Site, compile_list, compile_object
from schema.execution.plain import Reading, reading_of
from schema.kernel.rows import READS

MAX_VARIANTS = 16
MAX_VARIABLE_ERRORS = 50
_DECIDING = frozenset({"skip", "include"})
_INCREMENTAL = frozenset({"defer", "stream"})


class Plan:
    """One operation of a valid document. Kept with the document; bounded by MAX_VARIANTS."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self.schema = schema
        self.operation = operation
        self.fragment_definitions = {
            definition.name.value: definition
            for definition in document.definitions
            if isinstance(definition, FragmentDefinitionNode)
        }
        self.fragments = {name: FragmentDetails(node) for name, node in self.fragment_definitions.items()}
        walk = _Directives()
        visit(document, walk)
        self._definitions = [(node.variable.name.value, node) for node in operation.variable_definitions or ()]
        # What a variable is that was not given and may be left out: it has a source and no value.
        self._absent = {
            name: VariableValueSource(signature)
            for name, node in self._definitions
            if node.default_value is None
            and not isinstance(signature := get_variable_signature(schema, node), GraphQLError)
            and not isinstance(signature.type, GraphQLNonNull)
        }
        self._deciding = tuple(sorted(walk.deciding))
        self._is_by_the_book = walk.is_by_the_book
        self._variants: dict[tuple[Any, ...], Variant] = {}

    def variables(self, given: Mapping[str, Any]) -> VariableValues | list[GraphQLError]:
        """The operation's variables, as graphql-core coerces them, without looking at those that were left out."""
        definitions = [node for name, node in self._definitions if name in given or name not in self._absent]
        values = get_variable_values(
            self.schema, definitions, dict(given), max_errors=MAX_VARIABLE_ERRORS, hide_suggestions=True
        )
        if isinstance(values, list):
            return values
        return VariableValues({**self._absent, **values.sources}, values.coerced)

    def variant(self, variables: VariableValues) -> Variant | None:
        """The variant for these values; None for a document whose fields depend on more than that."""
        if self._is_by_the_book:
            return None
        key = tuple(variables.coerced.get(name) for name in self._deciding)
        variant = self._variants.get(key)
        if variant is None:
            if len(self._variants) >= MAX_VARIANTS:
                self._variants.clear()
            variant = self._variants[key] = Variant(self, _only(variables, self._deciding))
        return variant


def _only(variables: VariableValues, names: tuple[str, ...]) -> VariableValues:
    """These variables alone: what is kept for long must not hold a caller's data."""
    return VariableValues(
        {name: variables.sources[name] for name in names if name in variables.sources},
        {name: variables.coerced[name] for name in names if name in variables.coerced},
    )


class _Directives(Visitor):
    """Finds the variables that decide which fields are collected.

    By the book goes what wants its answer in parts, and what has fragments with variables of their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.deciding: set[str] = set()
        self.is_by_the_book = False

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_args: object) -> None:
        self.is_by_the_book = self.is_by_the_book or bool(node.variable_definitions)

    def enter_directive(self, node: DirectiveNode, *_args: object) -> None:
        self.is_by_the_book = self.is_by_the_book or node.name.value in _INCREMENTAL
        if node.name.value in _DECIDING:
            for argument in node.arguments or ():
                if isinstance(argument.value, VariableNode):
                    self.deciding.add(argument.value.name.value)


class Variant:
    """The fields of an operation for one choice of what is skipped and included, and the functions made for them.

    Lists of field details keep their identity here from one execution to the next; everything is found by it.
    """

    def __init__(self, plan: Plan, variables: VariableValues) -> None:
        self.schema = plan.schema
        self._plan = plan
        self._variables = variables
        self._root: CollectedFields | None = None
        # The details are kept with what was found for them, so that no other list can be given their identity.
        self._below: dict[tuple[GraphQLObjectType, int], tuple[FieldDetailsList, CollectedFields]] = {}
        self._objects: dict[tuple[GraphQLObjectType, int, bool, bool], Complete] = {}
        self._lists: dict[tuple[GraphQLOutputType, int], Complete] = {}
        self._dispatches: dict[tuple[GraphQLOutputType, int], Dispatch] = {}
        self._details: dict[int, FieldDetailsList] = {}  # by the identity of the first node
        self._attributes: dict[tuple[int, tuple[str, ...]], frozenset[str]] = {}

    def root(self, root_type: GraphQLObjectType) -> CollectedFields:
        if self._root is None:
            plan = self._plan
            self._root = collect_fields(plan.schema, plan.fragments, self._variables, root_type, plan.operation, True)
            self._remember(self._root)
        return self._root

    def below(self, kind: GraphQLObjectType, details: FieldDetailsList) -> CollectedFields:
        """The fields selected of an object type below a field."""
        found = self._below.get((kind, id(details)))
        if found is None:
            plan = self._plan
            collected = collect_subfields(
                plan.schema, plan.fragments, self._variables, plan.operation, kind, details, True
            )
            found = self._below[kind, id(details)] = (details, collected)
            self._remember(collected)
        return found[1]

    def _remember(self, collected: CollectedFields) -> None:
        self._details |= {id(details[0].node): details for details in collected.grouped_field_set.values()}

    def attributes(self, kind: GraphQLOutputType, node: FieldNode, path: tuple[str, ...]) -> frozenset[str] | None:
        """Python names of what is read off the sources of a field's objects, or of those at a path of fields below.

        None for a node that was not collected here, or for an interface: anything may be read.
        """
        key = (id(node), path)
        found = self._attributes.get(key)
        if found is None:
            named, details = get_named_type(kind), self._details.get(id(node))
            if details is None or not isinstance(named, GraphQLObjectType):
                return None
            found = self._attributes[key] = frozenset(self._read(named, details, path))
        return found

    def _read(self, kind: GraphQLObjectType, details: FieldDetailsList, path: tuple[str, ...]) -> Iterator[str]:
        for each in self.below(kind, details).grouped_field_set.values():
            name = each[0].node.name.value
            if name.startswith("__") or (path and name != path[0]):
                continue
            definition = self._site(kind, each).definition
            inner, reading = get_named_type(definition.type), reading_of(definition)
            if path:
                if isinstance(inner, GraphQLObjectType):
                    yield from self._read(inner, each, path[1:])
            elif reading is None:
                yield from definition.extensions["strawberry-definition"].metadata.get(READS, ())
            elif reading[0] is Reading.SOURCE and isinstance(inner, GraphQLObjectType):
                yield from self._read(inner, each, ())
            else:
                yield reading[1]

    def dispatch(self, kind: GraphQLOutputType, parent_type: GraphQLObjectType, details: FieldDetailsList) -> Dispatch:
        """What completes values of a type at a field. The details are ones that this variant has collected."""
        key = (kind, id(details))
        found = self._dispatches.get(key)
        if found is None:
            found = self._dispatches[key] = Dispatch(self, kind, self._site(parent_type, details))
        return found

    def object_function(
        self, kind: GraphQLObjectType, details: FieldDetailsList, *, from_mapping: bool, tested: bool
    ) -> Complete:
        """What completes sources as what is selected of an object type below a field. See `compile_object`."""
        key = (kind, id(details), from_mapping, tested)
        found = self._objects.get(key)
        if found is None:
            fields = self.below(kind, details).grouped_field_set
            selection = Selection(kind, tuple(fields), tuple(self._site(kind, each) for each in fields.values()))
            found = self._objects[key] = compile_object(self, selection, from_mapping=from_mapping, tested=tested)
        return found

    def list_function(self, item_kind: GraphQLOutputType, site: Site) -> Complete:
        """What completes a list or tuple of items of a type."""
        key = (item_kind, id(site.details))
        found = self._lists.get(key)
        if found is None:
            found = self._lists[key] = compile_list(self, item_kind, site)
        return found

    def _site(self, kind: GraphQLObjectType, details: FieldDetailsList) -> Site:
        definition = self.schema.get_field(kind, details[0].node.name.value)
        assert definition is not None, "validation has seen the field"
        return Site(kind, definition, details)
