"""Saving filters of the list of vulnerabilities."""

from __future__ import annotations

from sqlalchemy import delete, insert, update
from sqlmodel import col

from schema.kernel.context import RequestContext
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import tenant
from schema.triage import repository
from schema.triage.inputs import SavedFilterInput
from schema.triage.models import SavedFilter


async def save_filter(context: RequestContext, given: SavedFilterInput, filter_id: str | None = None) -> str:
    """A new one, or the caller's own anew; returns its id. NOT_FOUND, FORBIDDEN for somebody else's."""
    now, owner = context.now(), context.principal.actor_id
    values = {
        "name": given.name,
        "query": given.query.removeprefix("?"),
        "shared": bool(given.shared),
        "updated_at": now,
    }
    async with context.write() as session:
        if filter_id is None:
            filter_id = new_id(IdPrefix.SAVED_FILTER)
            own = {"id": filter_id, "organization_id": context.organization_id, "owner": owner, "created_at": now}
            await session.execute(insert(SavedFilter).values(**values, **own))
            return filter_id
        await _require_own(context, filter_id)
        await session.execute(
            update(SavedFilter)
            .where(tenant(SavedFilter, context.organization_id), col(SavedFilter.id) == filter_id)
            .values(**values)
        )
        return filter_id


async def delete_filter(context: RequestContext, filter_id: str) -> None:
    """NOT_FOUND, FORBIDDEN for somebody else's."""
    async with context.write() as session:
        await _require_own(context, filter_id)
        await session.execute(
            delete(SavedFilter).where(tenant(SavedFilter, context.organization_id), col(SavedFilter.id) == filter_id)
        )


async def _require_own(context: RequestContext, filter_id: str) -> None:
    """Whoever administers vulnerabilities may take care of everybody's shared ones."""
    principal = context.principal
    async with context.read() as session:
        found = await repository.load_filter(session, context.organization_id, filter_id, owner=principal.actor_id)
    if found.owner != principal.actor_id and not principal.can("vulnerabilities:admin"):
        raise HarborGuardError(ErrorCode.FORBIDDEN, "Only its owner or an admin can change a shared filter")
