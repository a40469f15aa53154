"""The first wall between organizations: the one predicate a query of a tenant table carries.

`tests/test_tenancy_lint.py` walks the source and fails on a query of a tenant table without one of these calls, so
a forgotten filter is a red build, not a leak.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import BindParameter, ColumnElement, and_, true
from sqlmodel import col

from schema.kernel.columns import TenantTable, metadata


def tenant(table: type[TenantTable], organization_id: str | BindParameter[str]) -> ColumnElement[bool]:
    """Rows of one organization: `select(Scan.id).where(tenant(Scan, principal.organization_id), …)`."""
    return col(table.organization_id) == organization_id


def tenant_rows(
    table: type[TenantTable], organization_id: str | BindParameter[str], ids: Collection[str]
) -> ColumnElement[bool]:
    """Those of the rows with these ids that are the organization's, each looked up by its key.

    The organization stands in an expression, which no index serves: SQLite would rather walk all of an organization in an
    index that ends in the id than look up five hundred keys.
    """
    identity = metadata.tables[str(table.__tablename__)].c
    return and_(identity.id.in_(ids), identity.organization_id.concat("") == organization_id)


def across_tenants(_table: type[TenantTable], *, because: str) -> ColumnElement[bool]:
    """Rows of every organization, with the reason at hand: the queue, a credential look-up, the operator."""
    assert because
    return true()
