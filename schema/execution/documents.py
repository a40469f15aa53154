"""Documents: parsed, validated and planned once, kept in a bounded cache, executed without any of it again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)

from schema.execution.limits import MAX_TOKENS, DocumentLimits, costs
from schema.execution.plans import Plan

CACHE_SIZE = 512
RULES: tuple[type[ASTValidationRule], ...] = (DocumentLimits, *specified_rules)


@dataclass(frozen=True, slots=True)
class PreparedOperation:
    """One operation of a valid document, and what its executions share."""

    document: DocumentNode
    definition: OperationDefinitionNode
    cost: int  # points, see `limits`
    introspects: bool  # its document asks for `__schema` or `__type`
    plan: Plan

    @property
    def name(self) -> str | None:
        return self.definition.name.value if self.definition.name else None

    @property
    def type(self) -> OperationType:
        return self.definition.operation


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """The operations of a document by name, or the errors that keep all of them from being executed."""

    operations: Mapping[str | None, PreparedOperation] = field(default_factory=dict)
    errors: tuple[GraphQLError, ...] = ()

    def operation(self, name: str | None) -> PreparedOperation | None:
        """The operation of that name, or the only one; None when there is no such thing."""
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        return None if name is None else self.operations.get(name)


class DocumentCache:
    """Least recently used documents by the SHA-256 of their text. `hits` and `misses` are for metrics and tests."""

    def __init__(self, size: int = CACHE_SIZE) -> None:
        self._size = size
        self._prepared: OrderedDict[bytes, PreparedDocument] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._prepared)

    def prepare(self, schema: GraphQLSchema, text: str) -> PreparedDocument:
        key = sha256(text.encode(errors="surrogatepass")).digest()
        prepared = self._prepared.get(key)
        if prepared is not None:
            self.hits += 1
            self._prepared.move_to_end(key)
            return prepared
        self.misses += 1
        prepared = prepare(schema, text)
        self._prepared[key] = prepared
        if len(self._prepared) > self._size:
            self._prepared.popitem(last=False)
        return prepared


def prepare(schema: GraphQLSchema, text: str) -> PreparedDocument:
    try:
        document = parse(text, max_lexical_tokens=MAX_TOKENS)
    except GraphQLSyntaxError as error:
        return PreparedDocument(errors=(error,))
    except RecursionError:
        return PreparedDocument(errors=(GraphQLError("The document is nested too deeply"),))
    errors = validate(schema, document, RULES, hide_suggestions=True)
    if errors:
        return PreparedDocument(errors=tuple(errors))
    points, introspects = costs(schema, document), _introspects(document)
    definitions = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    operations = (
        PreparedOperation(
            document,
            definition,
            cost=points[definition.name.value if definition.name else None],
            introspects=introspects,
            plan=Plan(schema, document, definition),
        )
        for definition in definitions
    )
    return PreparedDocument({operation.name: operation for operation in operations})


class _Introspection(Visitor):
    found = False

    def enter_field(self, node: FieldNode, *_args: object) -> None:
        self.found = self.found or node.name.value in {"__schema", "__type"}


def _introspects(document: DocumentNode) -> bool:
    visitor = _Introspection()
    visit(document, visitor)
    return visitor.found
