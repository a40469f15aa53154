"""All SQL of triage operations, their history, triage rules and saved filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.kernel.errors import not_found
from schema.kernel.listing import Listing, Wanted, fetch_page
from schema.kernel.pagination import Page, PageRequest, SortOrder
from schema.kernel.parameters import ORGANIZATION, any_of, parameter
from schema.kernel.rows import as_text, as_time
from schema.kernel.search import contains, pattern
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import batches
from schema.organizations.models import Membership, MembershipStatus
from schema.triage.models import RuleStatus, SavedFilter, TriageEvent, TriageOperation, TriageRule
from schema.vulnerabilities.models import Vulnerability

NEWEST_FIRST = SortOrder(column="createdAt", descending=True)
HISTORY = 200  # events of one vulnerability that are shown
OPERATIONS = Listing(
    TriageOperation,
    columns={
        "id": col(TriageOperation.id),
        "actor": col(TriageOperation.actor),
        "changed": col(TriageOperation.changed),
        "comment": col(TriageOperation.comment),
        "created_at": as_time(TriageOperation.created_at),
        "undoes": col(TriageOperation.undoes),
        "undone_at": as_time(TriageOperation.undone_at),
    },
    sorts={"createdAt": col(TriageOperation.created_at)},
    default=NEWEST_FIRST,
)
_RULE_COLUMNS = (
    *("id", "cve_id", "package_name", "image_id", "tag_pattern"),
    *("assignee_id", "reason", "comment", "created_by", "decided_by"),
)
RULES = Listing(
    TriageRule,
    columns={
        **{name: getattr(TriageRule, name) for name in _RULE_COLUMNS},
        "decision": as_text(TriageRule.decision),
        "status": as_text(TriageRule.status),
        "expires_at": as_time(TriageRule.expires_at),
        "created_at": as_time(TriageRule.created_at),
        "decided_at": as_time(TriageRule.decided_at),
    },
    filters={
        "statuses": col(TriageRule.status).in_(any_of("statuses")),
        "search": or_(*(contains(column, "search") for column in (TriageRule.cve_id, TriageRule.package_name))),
    },
    sorts={"createdAt": col(TriageRule.created_at)},
    default=NEWEST_FIRST,
)
FILTERS = Listing(
    SavedFilter,
    columns={
        **{name: getattr(SavedFilter, name) for name in ("id", "name", "query", "shared", "owner")},
        "created_at": as_time(SavedFilter.created_at),
        "updated_at": as_time(SavedFilter.updated_at),
    },
    scope=[or_(col(SavedFilter.shared), col(SavedFilter.owner) == parameter("owner"))],
    filters={"search": contains(col(SavedFilter.name), "search")},
    sorts={"name": col(SavedFilter.name)},
    default=SortOrder(column="name", descending=False),
)


async def is_member(session: AsyncSession, organization_id: str, user_id: str) -> bool:
    """Whether a vulnerability can be assigned to that person."""
    statement = select(col(Membership.id)).where(
        tenant(Membership, organization_id),
        col(Membership.user_id) == user_id,
        col(Membership.status) == MembershipStatus.ACTIVE,
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def find_vulnerability(session: AsyncSession, organization_id: str, named: str) -> list[str]:
    """The id that is named, or those of the CVE that is: at most two, for more than one is too many."""
    own = (tenant(Vulnerability, organization_id),)
    by_id = select(col(Vulnerability.id)).where(*own, col(Vulnerability.id) == named)
    found = (await session.execute(by_id)).scalar_one_or_none()
    if found is not None:
        return [found]
    by_cve = select(col(Vulnerability.id)).where(*own, col(Vulnerability.cve_id) == named).limit(2)
    return list((await session.execute(by_cve)).scalars())


async def insert_operation(session: AsyncSession, values: Mapping[str, Any]) -> None:
    await session.execute(insert(TriageOperation).values(**values))


async def load_operation(session: AsyncSession, organization_id: str, operation_id: str) -> TriageOperation:
    statement = select(TriageOperation).where(
        tenant(TriageOperation, organization_id), col(TriageOperation.id) == operation_id
    )
    found = (await session.execute(statement.with_for_update())).scalar_one_or_none()
    if found is None:
        raise not_found("Triage operation")
    return found


async def mark_undone(session: AsyncSession, organization_id: str, operation_id: str, *, now: datetime) -> None:
    await session.execute(
        update(TriageOperation)
        .where(tenant(TriageOperation, organization_id), col(TriageOperation.id) == operation_id)
        .values(undone_at=now)
    )


async def events_of_operation(session: AsyncSession, organization_id: str, operation_id: str) -> Sequence[TriageEvent]:
    """What the operation has changed, without what something else has changed since."""
    own = (tenant(TriageEvent, organization_id), col(TriageEvent.operation_id) == operation_id)
    events = (await session.execute(select(TriageEvent).where(*own).order_by(col(TriageEvent.id)))).scalars().all()
    latest: dict[str, str] = {}
    for batch in batches([event.vulnerability_id for event in events]):
        statement = (
            select(col(TriageEvent.vulnerability_id), func.max(col(TriageEvent.id)))
            .where(tenant(TriageEvent, organization_id), col(TriageEvent.vulnerability_id).in_(batch))
            .group_by(col(TriageEvent.vulnerability_id))
        )
        latest |= {row[0]: row[1] for row in await session.execute(statement)}
    return [event for event in events if latest[event.vulnerability_id] == event.id]


async def history_of(session: AsyncSession, organization_id: str, vulnerability_id: str) -> Sequence[TriageEvent]:
    """Newest first."""
    statement = (
        select(TriageEvent)
        .where(tenant(TriageEvent, organization_id), col(TriageEvent.vulnerability_id) == vulnerability_id)
        .order_by(col(TriageEvent.id).desc())
        .limit(HISTORY)
    )
    return (await session.execute(statement)).scalars().all()


async def list_operations(
    session: AsyncSession, organization_id: str, request: PageRequest, *, wanted: Wanted = None
) -> Page[Any]:
    return await fetch_page(session, OPERATIONS, organization_id, request, wanted=wanted)


async def list_rules(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    statuses: Sequence[RuleStatus] | None = None,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    given = {"statuses": statuses, "search": pattern(search)}
    return await fetch_page(session, RULES, organization_id, request, filters=given, wanted=wanted)


async def get_rule(session: AsyncSession, organization_id: str, rule_id: str) -> Any:
    statement = RULES.one(col(TriageRule.id) == rule_id)
    row = (await session.execute(statement, {ORGANIZATION: organization_id})).one_or_none()
    if row is None:
        raise not_found("Triage rule")
    return row


async def load_rule(session: AsyncSession, organization_id: str, rule_id: str) -> TriageRule:
    statement = select(TriageRule).where(tenant(TriageRule, organization_id), col(TriageRule.id) == rule_id)
    found = (await session.execute(statement.with_for_update())).scalar_one_or_none()
    if found is None:
        raise not_found("Triage rule")
    return found


async def insert_rule(session: AsyncSession, values: Mapping[str, Any]) -> None:
    await session.execute(insert(TriageRule).values(**values))


async def change_rule(session: AsyncSession, organization_id: str, rule_id: str, **values: Any) -> None:
    await session.execute(
        update(TriageRule).where(tenant(TriageRule, organization_id), col(TriageRule.id) == rule_id).values(**values)
    )


async def ended_rules(session: AsyncSession, *, now: datetime) -> Sequence[TriageRule]:
    everybody = across_tenants(TriageRule, because="the reconciler serves everybody")
    statement = select(TriageRule).where(
        everybody,
        col(TriageRule.status) == RuleStatus.ACTIVE,
        col(TriageRule.expires_at).is_not(None),
        col(TriageRule.expires_at) <= now,
    )
    return (await session.execute(statement.order_by(col(TriageRule.id)).limit(50))).scalars().all()


async def list_filters(
    session: AsyncSession,
    organization_id: str,
    request: PageRequest,
    *,
    owner: str,
    search: str | None = None,
    wanted: Wanted = None,
) -> Page[Any]:
    scope, given = {"owner": owner}, {"search": pattern(search)}
    return await fetch_page(session, FILTERS, organization_id, request, scope=scope, filters=given, wanted=wanted)


async def load_filter(session: AsyncSession, organization_id: str, filter_id: str, *, owner: str) -> SavedFilter:
    """One that the caller sees. NOT_FOUND."""
    visible = or_(col(SavedFilter.shared), col(SavedFilter.owner) == owner)
    statement = select(SavedFilter).where(
        tenant(SavedFilter, organization_id), and_(col(SavedFilter.id) == filter_id, visible)
    )
    found = (await session.execute(statement)).scalar_one_or_none()
    if found is None:
        raise not_found("Saved filter")
    return found


async def get_filter(session: AsyncSession, organization_id: str, filter_id: str, *, owner: str) -> Any:
    await load_filter(session, organization_id, filter_id, owner=owner)
    statement = FILTERS.one(col(SavedFilter.id) == filter_id)
    return (await session.execute(statement, {ORGANIZATION: organization_id, "owner": owner})).one()
