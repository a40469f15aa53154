"""What a document reads off the rows a resolver is about to fetch, so that no column is fetched for nothing."""

from __future__ import annotations

from schema.kernel.context import Info
from schema.kernel.listing import Wanted


def wanted(info: Info, *path: str) -> Wanted:
    """Python names of the attributes read off the objects at a path of GraphQL fields below the resolver's own field.

    `wanted(info, "items")` in a resolver that gives a page. None when the document is executed without a plan.
    """
    raw = info._raw_info  # noqa: SLF001 -- strawberry has no public name for it
    variant = getattr(raw, "variant", None)
    return None if variant is None else variant.attributes(raw.return_type, raw.field_nodes[0], path)
