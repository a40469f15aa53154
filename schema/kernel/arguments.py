"""Arguments of every list of the schema."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import strawberry

PageNumber: TypeAlias = Annotated[int | None, strawberry.argument(description="1 is the first page; default 1.")]
PageLimit: TypeAlias = Annotated[int | None, strawberry.argument(description="Rows per page, 1-200; default 50.")]
SortArgument: TypeAlias = Annotated[
    str | None, strawberry.argument(description="`column:asc` or `column:desc`; an unknown column means the default.")
]
AfterCursor: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Continue after this `endCursor`; wins over `page`.")
]
SearchText: TypeAlias = Annotated[str | None, strawberry.argument(description="Free text; at most 200 characters.")]
