"""All SQL of compliance policies. An organization without a row of its own has the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.tenancy import tenant
from schema.kernel.upsert import insert_missing
from schema.organizations.models import CompliancePolicy
from schema.vulnerabilities.deadlines import SlaPolicy
from schema.vulnerabilities.records import Severity


async def load_policy(session: AsyncSession, organization_id: str, *, locked: bool = False) -> CompliancePolicy:
    statement = select(CompliancePolicy).where(tenant(CompliancePolicy, organization_id))
    if locked:
        statement = statement.with_for_update()
    found = (await session.execute(statement)).scalar_one_or_none()
    return CompliancePolicy(organization_id=organization_id) if found is None else found


async def save_policy(session: AsyncSession, organization_id: str, values: Mapping[str, Any]) -> None:
    defaults = CompliancePolicy(organization_id=organization_id).model_dump()
    await insert_missing(session, CompliancePolicy, defaults, unique=("organization_id",))
    await session.execute(update(CompliancePolicy).where(tenant(CompliancePolicy, organization_id)).values(**values))


def sla_of(policy: CompliancePolicy) -> SlaPolicy:
    return SlaPolicy(
        days={
            Severity.CRITICAL: policy.critical_days,
            Severity.HIGH: policy.high_days,
            Severity.MEDIUM: policy.medium_days,
            Severity.LOW: policy.low_days,
        },
        auto=policy.auto_sla_deadline,
        lead_days=policy.sla_breach_lead_time_days,
    )


async def load_sla(session: AsyncSession, organization_id: str) -> SlaPolicy:
    return sla_of(await load_policy(session, organization_id))
