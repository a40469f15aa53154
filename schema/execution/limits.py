"""What a document may ask for, decided in one walk before anything runs.

One rule class at module level: strawberry's own limiters are made per request, which makes every request miss the
validation cache. Costs are counted in objects: a field that returns an object costs one, a list multiplies what is below
it by its `limit` (the largest allowed one where the document leaves it to a variable), so 5,000 points are 5,000 objects.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValidationRule,
    get_named_type,
    is_list_type,
)
from graphql.type import GraphQLNonNull, is_leaf_type
from graphql.validation import ValidationContext

from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.pagination import DEFAULT_LIMIT, MAX_LIMIT

MAX_TOKENS = 2_000
MAX_DEPTH = 10
MAX_INTROSPECTION_DEPTH = 15
MAX_ALIASES = 30
MAX_ROOT_FIELDS = 20
MAX_DIRECTIVES = 50
MAX_FRAGMENTS = 50
MAX_COST = 5_000
EXECUTION_SECONDS = 10.0
# A list without a `limit` argument is one the domain bounds itself (engines of a scan, counts by severity).
UNPAGED_LIST = 10


@asynccontextmanager
async def time_limit() -> AsyncIterator[None]:
    """Gives an operation EXECUTION_SECONDS; what it began is rolled back. Raises TIMEOUT."""
    try:
        async with asyncio.timeout(EXECUTION_SECONDS):
            yield
    except TimeoutError:
        raise HarborGuardError(ErrorCode.TIMEOUT, "The operation took too long; ask for less at a time") from None


@dataclass(slots=True)
class _Tally:
    aliases: int = 0
    directives: int = 0
    depth: int = 0
    cost: int = 0


class DocumentLimits(ValidationRule):
    """Refuses a document over one of the limits above, naming the limit and what was asked for."""

    context: ValidationContext

    def enter_document(self, node: DocumentNode, *_args: Any) -> None:
        fragments = _fragments(node)
        if len(fragments) > MAX_FRAGMENTS:
            self._refuse(f"The document has {len(fragments)} fragments; at most {MAX_FRAGMENTS} are allowed")
            return
        for definition in node.definitions:
            if isinstance(definition, OperationDefinitionNode):
                self._check(definition, fragments)

    def _check(self, operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode]) -> None:
        root = self.context.schema.get_root_type(operation.operation)
        if root is None:
            return
        tally = _Tally()
        walk = _Walk(self.context.schema, fragments, tally)
        try:
            root_fields = walk.count(operation.selection_set, root, depth=0, weight=1, spreading=())
        except RecursionError:
            return  # a fragment cycle; the standard rule says so with its path
        tally.directives += len(operation.directives or ())
        depth_limit = MAX_INTROSPECTION_DEPTH if walk.introspects_only else MAX_DEPTH
        for what, value, limit in (
            ("root fields", root_fields, 1 if operation.operation is OperationType.SUBSCRIPTION else MAX_ROOT_FIELDS),
            ("levels of depth", tally.depth, depth_limit),
            ("aliases", tally.aliases, MAX_ALIASES),
            ("directives", tally.directives, MAX_DIRECTIVES),
            ("points of cost", tally.cost, MAX_COST),
        ):
            if value > limit:
                self._refuse(f"The operation has {value} {what}; at most {limit} are allowed")

    def _refuse(self, message: str) -> None:
        self.context.report_error(GraphQLError(message))


def costs(schema: GraphQLSchema, document: DocumentNode) -> dict[str | None, int]:
    """The points of each operation of a valid document, by its name."""
    fragments = _fragments(document)
    found: dict[str | None, int] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            tally, root = _Tally(), schema.get_root_type(definition.operation)
            _Walk(schema, fragments, tally).count(definition.selection_set, root, depth=0, weight=1, spreading=())
            found[definition.name.value if definition.name else None] = tally.cost
    return found


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }


class _Walk:
    """Counts one operation, following fragments where they are spread (so a fragment used twice counts twice)."""

    def __init__(self, schema: GraphQLSchema, fragments: dict[str, FragmentDefinitionNode], tally: _Tally) -> None:
        self._schema = schema
        self._fragments = fragments
        self._tally = tally
        self.introspects_only = True

    def count(
        self,
        selections: SelectionSetNode,
        parent: GraphQLObjectType | GraphQLInterfaceType | None,
        *,
        depth: int,
        weight: int,
        spreading: tuple[str, ...],
    ) -> int:
        """Returns the number of fields of this selection set; raises RecursionError at a fragment cycle."""
        tally, fields = self._tally, 0
        for node in selections.selections:
            tally.directives += len(node.directives or ())
            if isinstance(node, FieldNode):
                fields += 1
                self._count_field(node, parent, depth=depth, weight=weight, spreading=spreading)
            elif isinstance(node, InlineFragmentNode):
                fields += self.count(node.selection_set, parent, depth=depth, weight=weight, spreading=spreading)
            elif isinstance(node, FragmentSpreadNode):
                name = node.name.value
                if name in spreading:
                    raise RecursionError
                fragment = self._fragments.get(name)
                if fragment is not None:
                    fields += self.count(
                        fragment.selection_set, parent, depth=depth, weight=weight, spreading=(*spreading, name)
                    )
            # Fragments can repeat work exponentially; stop as soon as the verdict is certain.
            if tally.cost > MAX_COST or tally.aliases > MAX_ALIASES or tally.depth > MAX_INTROSPECTION_DEPTH:
                break
        return fields

    def _count_field(
        self,
        node: FieldNode,
        parent: GraphQLObjectType | GraphQLInterfaceType | None,
        *,
        depth: int,
        weight: int,
        spreading: tuple[str, ...],
    ) -> None:
        tally = self._tally
        tally.depth = max(tally.depth, depth + 1)
        tally.aliases += node.alias is not None
        if depth == 0 and not node.name.value.startswith("__"):
            self.introspects_only = False
        definition = None if parent is None else self._schema.get_field(parent, node.name.value)
        if node.selection_set is None:
            return
        if node.name.value.startswith("__") or definition is None or is_leaf_type(get_named_type(definition.type)):
            child, child_weight = None, weight
        else:
            named = get_named_type(definition.type)
            child = named if isinstance(named, GraphQLObjectType | GraphQLInterfaceType) else None
            child_weight = weight * _multiplier(node, definition)
            tally.cost += child_weight
        self.count(node.selection_set, child, depth=depth + 1, weight=child_weight, spreading=spreading)


def _multiplier(node: FieldNode, definition: GraphQLField) -> int:
    """How many objects the field yields at most: its `limit` for a page, a small bound for another list, else one."""
    if "limit" in definition.args:
        for argument in node.arguments or ():
            if argument.name.value == "limit":
                value = argument.value
                return min(int(value.value), MAX_LIMIT) if isinstance(value, IntValueNode) else MAX_LIMIT
        return DEFAULT_LIMIT
    kind = definition.type.of_type if isinstance(definition.type, GraphQLNonNull) else definition.type
    # `items` of a page was multiplied at the page already.
    return UNPAGED_LIST if is_list_type(kind) and node.name.value != "items" else 1
