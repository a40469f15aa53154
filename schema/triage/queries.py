"""Reading decisions, rules and saved filters."""

from __future__ import annotations

from typing import Annotated, Any, cast

import strawberry

from schema.execution.lookahead import wanted
from schema.kernel.arguments import AfterCursor, PageLimit, PageNumber, SearchText, SortArgument
from schema.kernel.operations import Info, query_field
from schema.kernel.pagination import Page, page_request
from schema.triage import repository
from schema.triage.enums import RuleStatus
from schema.triage.models import TriageEvent as EventRow
from schema.triage.types import SavedFilter, TriageEvent, TriageOperation, TriageRule
from schema.vulnerabilities.repository import get_vulnerability


def _event(row: EventRow) -> TriageEvent:
    after = row.after
    due: Any = after.get("slaDeadline")
    return TriageEvent(
        id=strawberry.ID(row.id),
        origin=row.origin,
        actor=row.actor,
        operation_id=strawberry.ID(row.operation_id) if row.operation_id else None,
        from_status=row.from_status,
        to_status=row.to_status,
        assignee_id=after.get("assigneeId"),
        reason=after.get("reason"),
        sla_deadline=due,
        changes=sorted(after),
        comment=row.comment,
        created_at=row.created_at,
    )


@strawberry.type
class TriageQuery:
    @query_field(
        "vulnerabilities:view", description="What was decided about a vulnerability, newest first; at most 200."
    )
    async def triage_history(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`vuln-…`.")]
    ) -> list[TriageEvent]:
        async with info.context.read() as session:
            await get_vulnerability(session, info.context.organization_id, id)
            rows = await repository.history_of(session, info.context.organization_id, id)
        return [_event(row) for row in rows]

    @query_field("vulnerabilities:view", description="Decisions that can be taken back, newest first.")
    async def triage_operations(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SortArgument = None,
        after: AfterCursor = None,
    ) -> Page[TriageOperation]:
        async with info.context.read() as session:
            return await repository.list_operations(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                wanted=wanted(info, "items"),
            )

    @query_field("vulnerabilities:view", description="Triage rules, newest first.")
    async def triage_rules(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SortArgument = None,
        after: AfterCursor = None,
        search: SearchText = None,
        status: Annotated[list[RuleStatus] | None, strawberry.argument(description="Any of these.")] = None,
    ) -> Page[TriageRule]:
        async with info.context.read() as session:
            return await repository.list_rules(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                statuses=status,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("vulnerabilities:view", description="One triage rule.")
    async def triage_rule(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`rul-…`.")]
    ) -> TriageRule:
        async with info.context.read() as session:
            return cast("TriageRule", await repository.get_rule(session, info.context.organization_id, id))

    @query_field("vulnerabilities:view", description="The caller's saved filters and everybody's shared ones, by name.")
    async def saved_filters(
        self,
        info: Info,
        page: PageNumber = None,
        limit: PageLimit = None,
        sort: SortArgument = None,
        after: AfterCursor = None,
        search: SearchText = None,
    ) -> Page[SavedFilter]:
        async with info.context.read() as session:
            return await repository.list_filters(
                session,
                info.context.organization_id,
                page_request(page=page, limit=limit, sort=sort, after=after),
                owner=info.context.principal.actor_id,
                search=search,
                wanted=wanted(info, "items"),
            )

    @query_field("vulnerabilities:view", description="One saved filter.")
    async def saved_filter(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`flt-…`.")]
    ) -> SavedFilter:
        context = info.context
        async with context.read() as session:
            row = await repository.get_filter(session, context.organization_id, id, owner=context.principal.actor_id)
        return cast("SavedFilter", row)
