"""Pages as the schema shows them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import strawberry

from schema.kernel import pagination

PageNumber: TypeAlias = Annotated[int | None, strawberry.argument(description="1 is the first page; default 1.")]
PageLimit: TypeAlias = Annotated[int | None, strawberry.argument(description="Rows per page, 1-200; default 50.")]
SortArgument: TypeAlias = Annotated[
    str | None, strawberry.argument(description="`column:asc` or `column:desc`; an unknown column means the default.")
]
AfterCursor: TypeAlias = Annotated[
    str | None, strawberry.argument(description="Continue after this `endCursor`; wins over `page`.")
]
SearchText: TypeAlias = Annotated[str | None, strawberry.argument(description="Free text; at most 200 characters.")]


@strawberry.type(description="Where a page stands in its list.")
class PageMeta:
    page: int = strawberry.field(description="Number of this page, from 1.")
    page_size: int = strawberry.field(description="Rows a page holds at most.")
    total: int = strawberry.field(description="Rows of the whole list with this filter.")
    total_pages: int = strawberry.field(description="Pages of the whole list.")
    has_next: bool = strawberry.field(description="Whether rows follow.")
    has_prev: bool = strawberry.field(description="Whether rows come before.")
    end_cursor: str | None = strawberry.field(description="Cursor of the last row; null for an empty page.")

    @classmethod
    def of(cls, meta: pagination.PageMeta) -> PageMeta:
        return cls(
            page=meta.page,
            page_size=meta.page_size,
            total=meta.total,
            total_pages=meta.total_pages,
            has_next=meta.has_next,
            has_prev=meta.has_prev,
            end_cursor=meta.end_cursor,
        )
