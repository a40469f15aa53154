"""The first wall between organizations: the one predicate a query of a tenant table carries.

`tests/test_tenancy_lint.py` walks the source and fails on a query of a tenant table without one of these two calls, so
a forgotten filter is a red build, not a leak.
"""

from __future__ import annotations

from sqlalchemy import BindParameter, ColumnElement, true
from sqlmodel import col

from schema.kernel.columns import TenantTable


def tenant(table: type[TenantTable], organization_id: str | BindParameter[str]) -> ColumnElement[bool]:
    """Rows of one organization: `select(Scan.id).where(tenant(Scan, principal.organization_id), …)`."""
    return col(table.organization_id) == organization_id


def across_tenants(_table: type[TenantTable], *, because: str) -> ColumnElement[bool]:
    """Rows of every organization, with the reason at hand: the queue, a credential look-up, the operator."""
    assert because
    return true()
