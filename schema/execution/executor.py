"""How strawberry and the runner execute a document."""

from __future__ import annotations

from typing import Any

from graphql import GraphQLError
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext


class DocumentExecutor(StrawberryGraphQLCoreExecutionContext):
    """Strawberry's executor without "Did you mean …?": a message must not help to guess names."""

    @classmethod
    def build(cls, *args: Any, **kwargs: Any) -> Any | list[GraphQLError]:
        return super().build(*args, **{**kwargs, "hide_suggestions": True})
