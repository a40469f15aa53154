"""Documents: parsed and validated once, kept in a bounded cache, executed without parsing again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from graphql import (
    ASTValidationRule,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    parse,
    specified_rules,
    validate,
)
from strawberry.extensions import SchemaExtension

from schema.execution.limits import MAX_TOKENS, DocumentLimits

CACHE_SIZE = 512
RULES: tuple[type[ASTValidationRule], ...] = (DocumentLimits, *specified_rules)


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A parsed document, or the errors that keep it from being executed."""

    document: DocumentNode | None
    errors: tuple[GraphQLError, ...]


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
    return PreparedDocument(document, tuple(validate(schema, document, RULES)))


class CachedDocuments(SchemaExtension):
    """Hands strawberry the prepared document, so that neither parsing nor validation runs again.

    One instance of the cache per schema: see `build_schema`.
    """

    def __init__(self, cache: DocumentCache) -> None:
        self._cache = cache

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        graphql_schema = context.schema._schema  # noqa: SLF001 -- strawberry has no public name for it
        prepared = self._cache.prepare(graphql_schema, context.query or "")
        if prepared.document is None:
            raise prepared.errors[0]
        context.graphql_document = prepared.document
        # A list, even an empty one, tells strawberry that validation has run.
        context.pre_execution_errors = list(prepared.errors)
        yield
