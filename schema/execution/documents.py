"""Documents: parsed and validated once, kept in a bounded cache, executed without parsing again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from graphql import (
    ASTValidationRule,
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    Visitor,
    parse,
    specified_rules,
    validate,
    visit,
)
from strawberry.extensions import SchemaExtension
from strawberry.types.graphql import OperationType

from schema.execution.limits import MAX_COST, MAX_TOKENS, DocumentLimits, costs
from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError

CACHE_SIZE = 512
RULES: tuple[type[ASTValidationRule], ...] = (DocumentLimits, *specified_rules)
# Stands in for a document that could not be parsed; never executed, because the errors are there.
_NO_DOCUMENT = parse("{ __typename }")


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A parsed document, or the errors that keep it from being executed."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...]
    introspects: bool = False  # asks for `__schema` or `__type`
    costs: Mapping[str | None, int] = field(default_factory=dict)  # points by operation name; empty with errors


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
        document = parse(text, max_lexical_tokens=MAX_TOKENS, no_location=False)
    except GraphQLSyntaxError as error:
        return PreparedDocument(None, (error,))
    except RecursionError:
        return PreparedDocument(None, (GraphQLError("The document is nested too deeply"),))
    errors = validate(schema, document, RULES, hide_suggestions=True)
    if errors:
        return PreparedDocument(document, tuple(errors))
    return PreparedDocument(document, (), introspects=_introspects(document), costs=costs(schema, document))


class _Introspection(Visitor):
    found = False

    def enter_field(self, node: FieldNode, *_args: object) -> None:
        self.found = self.found or node.name.value in {"__schema", "__type"}


def _introspects(document: DocumentNode) -> bool:
    visitor = _Introspection()
    visit(document, visitor)
    return visitor.found


class CachedDocuments(SchemaExtension):
    """Hands strawberry the prepared document, so that neither parsing nor validation runs again.

    Introspection is for authenticated callers; anybody may read the schema as text instead. The answer tells what the
    operation cost and what it may cost, in `extensions.cost`. One instance of the cache per schema: see `build_schema`.
    """

    def __init__(self, cache: DocumentCache) -> None:
        self._cache = cache
        self._costs: Mapping[str | None, int] = {}

    def on_parse(self) -> Iterator[None]:
        execution = self.execution_context
        graphql_schema = execution.schema._schema  # noqa: SLF001 -- strawberry has no public name for it
        prepared = self._cache.prepare(graphql_schema, execution.query or "")
        self._costs = prepared.costs
        # A list, even an empty one, tells strawberry that validation has run. Errors are handed over this way rather
        # than raised, because only then do the other extensions see them.
        execution.pre_execution_errors = list(prepared.errors)
        if prepared.document is None:
            execution.graphql_document = _NO_DOCUMENT
            execution._provided_operation_name = None  # noqa: SLF001 -- whatever was asked for, it is not in there
        else:
            execution.graphql_document = prepared.document
        if prepared.introspects and _is_anonymous(execution.context):
            refusal = HarborGuardError(ErrorCode.UNAUTHORIZED, "Introspection needs authentication")
            execution.pre_execution_errors.append(GraphQLError(refusal.message, original_error=refusal))
        yield

    def get_results(self) -> dict[str, Any]:
        cost = self._costs.get(self.execution_context.operation_name)
        # Events of a subscription would repeat it each time.
        if cost is None or self.execution_context.operation_type is OperationType.SUBSCRIPTION:
            return {}
        return {"cost": {"requested": cost, "maximum": MAX_COST}}


def _is_anonymous(context: object) -> bool:
    return isinstance(context, RequestContext) and context.principal_or_none is None
