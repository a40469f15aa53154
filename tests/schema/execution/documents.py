"""Random documents for a schema, the variables they are executed with, and the data they ask for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    get_named_type,
    is_abstract_type,
    is_composite_type,
    is_leaf_type,
    parse,
)
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.schema.execution.recipes import (
    ITERABLES,
    ODD,
    SOURCES,
    WRAPPERS,
    Exactly,
    Items,
    Metal,
    Odd,
    Raised,
    Recipe,
    Size,
    Source,
    Wrapped,
)
from tests.schema.execution.schemas import DIRECTIVE

MAX_DEPTH = 4
_VARIABLES: Mapping[str, str] = {
    "yes": "Boolean!",
    "no": "Boolean = false",
    "maybe": "Boolean = true",
    "n": "Int",
    "tone": "Tone!",
}


@dataclass(frozen=True)
class Query:
    """A document and the operation in it to be executed."""

    text: str
    operation: str

    @cached_property
    def document(self) -> DocumentNode:
        return parse(self.text)

    @cached_property
    def definition(self) -> OperationDefinitionNode:
        return next(
            each
            for each in self.document.definitions
            if isinstance(each, OperationDefinitionNode) and each.name and each.name.value == self.operation
        )


class _Writer:
    """Writes selection sets for the types of a schema."""

    def __init__(self, draw: DrawFn, schema: GraphQLSchema) -> None:
        self._draw = draw
        self._schema = schema
        self.fragments: dict[str, Any] = {}  # by name, the type of each one that is finished
        self._composites = [
            kind
            for name, kind in schema.type_map.items()
            if is_composite_type(kind) and not name.startswith("__") and name not in {"Query", "Mutation"}
        ]

    def chance(self, percent: int) -> bool:
        """Never, in the simplest example."""
        return self._draw(st.integers(0, 99)) >= 100 - percent

    def selections(self, kind: Any, depth: int) -> str:
        count = self._draw(st.integers(1, 4))
        return "{ " + " ".join(self._selection(kind, depth) for _ in range(count)) + " }"

    def _selection(self, kind: Any, depth: int) -> str:
        fields = kind.fields if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) else {}
        if depth >= MAX_DEPTH:
            fields = {name: field for name, field in fields.items() if is_leaf_type(get_named_type(field.type))}
        if not fields or self.chance(8):
            if depth < MAX_DEPTH and self.chance(60):
                return self._fragment(kind, depth)
            return f"{self._draw(st.sampled_from(['', 'name: ', 'b_: ']))}__typename{self._directives()}"
        if depth < MAX_DEPTH and self.chance(15):
            return self._fragment(kind, depth)
        name = self._draw(st.sampled_from(sorted(fields)))
        # What a response key means depends on nothing but itself.
        given = self._draw(st.sampled_from(["", "", "n: 1", "n: $n", "s: [LOW, LIST]", "s: [$tone]"]))
        given = given if given[:1] in fields[name].args else ""
        suffix = "".join(each if each.isalnum() else "_" for each in given)
        alias = f"{name}{suffix}x: " if suffix or self.chance(15) else ""
        arguments = f"({given})" if given else ""
        inner = get_named_type(fields[name].type)
        below = f" {self.selections(inner, depth + 1)}" if is_composite_type(inner) else ""
        meaningless = f" @{DIRECTIVE}" if self.chance(4) else ""
        return f"{alias}{name}{arguments}{self._directives()}{meaningless}{below}"

    def _fragment(self, kind: Any, depth: int) -> str:
        fitting = [name for name, of in self.fragments.items() if self._overlap(of, kind)]
        if fitting and self.chance(50):
            return f"...{self._draw(st.sampled_from(fitting))}{self._directives()}"
        if self.chance(30):
            return f"...{self._directives()} {self.selections(kind, depth + 1)}"
        other = self._draw(st.sampled_from([each for each in (kind, *self._composites) if self._overlap(each, kind)]))
        return f"... on {other.name}{self._directives()} {self.selections(other, depth + 1)}"

    def _overlap(self, one: Any, other: Any) -> bool:
        return bool(self._possible(one) & self._possible(other))

    def _possible(self, kind: Any) -> set[str]:
        return {each.name for each in self._schema.get_possible_types(kind)} if is_abstract_type(kind) else {kind.name}

    def _directives(self) -> str:
        if not self.chance(15):
            return ""
        condition = self._draw(st.sampled_from(["$yes", "$no", "$maybe", "true", "false"]))
        kinds = [
            f" @skip(if: {condition})",
            f" @include(if: {condition})",
            f" @include(if: {condition}) @skip(if: $no)",
        ]
        return self._draw(st.sampled_from(kinds))

    def fragment_definition(self, name: str) -> str:
        kind = self._draw(st.sampled_from(self._composites))
        body = self.selections(kind, 2)
        self.fragments[name] = kind
        return f"fragment {name} on {kind.name} {body}"


@st.composite
def queries(draw: DrawFn, schema: GraphQLSchema) -> Query:
    writer = _Writer(draw, schema)
    fragments = [writer.fragment_definition(name) for name in ("F", "G")[: draw(st.integers(0, 2))]]
    operations = []
    for name in ("One", "Two")[: draw(st.integers(1, 2))]:
        keyword = "mutation" if schema.mutation_type and writer.chance(20) else "query"
        root = schema.mutation_type if keyword == "mutation" else schema.query_type
        operations.append((keyword, name, writer.selections(root, 1)))
    bodies = " ".join([*fragments, *(body for *_, body in operations)])
    variables = ", ".join(f"${name}: {kind}" for name, kind in _VARIABLES.items() if re.search(rf"\${name}\b", bodies))
    declared = f"({variables})" if variables else ""
    written = [f"{keyword} {name}{declared} {body}" for keyword, name, body in operations]
    text = "\n".join([*written, *fragments])
    return Query(text, draw(st.sampled_from([name for _, name, _ in operations])))


@st.composite
def variables(draw: DrawFn) -> dict[str, Any]:
    """Some are left out where they may be; a null stands where `@skip` cannot take one."""
    values: dict[str, Any] = {"yes": draw(st.booleans()), "tone": draw(st.sampled_from(["LOW", "LIST"]))}
    for name, choices in (("no", [True, False, None]), ("maybe", [True, False, None]), ("n", [7, None])):
        if draw(st.booleans()):
            values[name] = draw(st.sampled_from(choices))
    return values


class _Asked:
    """Which fields a document selects of an object type, whatever is skipped."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }

    def of(self, kind: GraphQLObjectType, nodes: Sequence[Any]) -> dict[str, list[FieldNode]]:
        found: dict[str, list[FieldNode]] = defaultdict(list)
        for node in nodes:
            self._visit(kind, node.selection_set.selections, found)
        return found

    def _visit(self, kind: GraphQLObjectType, selections: Sequence[Any], found: dict[str, list[FieldNode]]) -> None:
        for each in selections:
            if isinstance(each, FieldNode):
                found[each.name.value].append(each)
                continue
            fragment = self._fragments[each.name.value] if isinstance(each, FragmentSpreadNode) else each
            assert isinstance(fragment, FragmentDefinitionNode | InlineFragmentNode)
            condition = fragment.type_condition
            if condition is None or self._applies(condition.name.value, kind):
                self._visit(kind, fragment.selection_set.selections, found)

    def _applies(self, name: str, kind: GraphQLObjectType) -> bool:
        conditional = self._schema.type_map[name]
        return conditional is kind or (is_abstract_type(conditional) and self._schema.is_sub_type(conditional, kind))


_FITTING: Mapping[str, Sequence[Any]] = {
    "String": ["a text", "", "ä"],
    "Int": [1, 0, -(2**31), 2**31 - 1],
    "Float": [1.5, 0, -1.0],
    "Boolean": [True, False],
    "ID": ["id-1", 7],
    "Metal": [Metal.IRON, "gold", Metal.GOLD, "IRON"],
    "Size": [Size.SMALL, 2, Size.LARGE],
    "DateTime": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)],
    "Tone": ["low", 1, "LOW", [1, "two", None], "NULL"],
}
_ANYTHING = ["a text", 1, {"a": 1}]


class _Cook:
    """Draws recipes for the values of a schema's types. `oddness` in percent."""

    def __init__(
        self, draw: DrawFn, schema: GraphQLSchema, document: DocumentNode, *, oddness: int, usual_source: str
    ) -> None:
        self._draw = draw
        self._schema = schema
        self._asked = _Asked(schema, document)
        self._oddness = oddness
        self._usual_source = usual_source

    def value(self, kind: GraphQLOutputType, nodes: Sequence[FieldNode]) -> Recipe:
        odd = self._draw(st.integers(0, 99)) - (99 - self._oddness)
        if odd > 0:
            return self._odd_value(kind, nodes, odd % 6)
        if isinstance(kind, GraphQLNonNull):
            return self._fitting(kind.of_type, nodes)
        return Exactly(None) if self._draw(st.integers(0, 9)) == 9 else self._fitting(kind, nodes)

    def _odd_value(self, kind: GraphQLOutputType, nodes: Sequence[FieldNode], choice: int) -> Recipe:
        if choice == 0:
            return Exactly(None)
        if choice == 1:
            return Raised("raised or given")
        if choice in {2, 3}:
            return Wrapped(self._draw(st.sampled_from(sorted(WRAPPERS))), self.value(kind, nodes))
        return Odd(self._draw(st.sampled_from(sorted(ODD))))

    def _fitting(self, kind: GraphQLOutputType, nodes: Sequence[FieldNode]) -> Recipe:
        if isinstance(kind, GraphQLNonNull):
            return self._fitting(kind.of_type, nodes)
        if isinstance(kind, GraphQLList):
            items = tuple(self.value(kind.of_type, nodes) for _ in range(self._draw(st.integers(0, 3))))
            return Items(self._usual("list", ITERABLES), items)
        if is_leaf_type(kind):
            return Exactly(self._draw(st.sampled_from(_FITTING.get(kind.name, _ANYTHING))))
        if is_abstract_type(kind):
            return self.source(self._draw(st.sampled_from(self._schema.get_possible_types(kind))), nodes)
        assert isinstance(kind, GraphQLObjectType)
        return self.source(kind, nodes)

    def source(self, kind: GraphQLObjectType, nodes: Sequence[Any]) -> Source:
        fields = tuple(
            (name, self.value(kind.fields[name].type, below))
            for name, below in sorted(self._asked.of(kind, nodes).items())
            if name in kind.fields and (not self._oddness or self._draw(st.integers(0, 19)) < 19)
        )
        typename = kind.name if self._draw(st.integers(0, 19)) < 18 else self._draw(st.sampled_from([None, "A", "Int"]))
        return Source(self._usual(self._usual_source, SOURCES), typename, fields)

    def _usual(self, usual: str, table: Mapping[str, Any]) -> str:
        """As often as the oddness says, something else."""
        is_usual = self._draw(st.integers(0, 99)) < 85 - 2 * self._oddness
        return usual if is_usual else self._draw(st.sampled_from(sorted(table)))


@st.composite
def data(draw: DrawFn, schema: GraphQLSchema, query: Query, *, usual_source: str = "dict") -> Source:
    """A root source with what the document asks for; every third time nothing in it is odd."""
    root = schema.get_root_type(query.definition.operation)
    assert root is not None
    oddness = draw(st.sampled_from([0, 6, 15]))
    cook = _Cook(draw, schema, query.document, oddness=oddness, usual_source=usual_source)
    source = cook.source(root, [query.definition])
    return Source(
        usual_source if source.shape in {"error", "callable"} else source.shape, source.typename, source.fields
    )
