"""Compliance policies as the schema shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry

from schema.organizations.models import CompliancePolicy as PolicyRow


@strawberry.type(description="Days to fix a vulnerability after it was found.")
class SlaPolicy:
    critical: int = strawberry.field(description="Of severity CRITICAL.")
    high: int = strawberry.field(description="Of severity HIGH.")
    medium: int = strawberry.field(description="Of severity MEDIUM.")
    low: int | None = strawberry.field(description="Of severity LOW; null: no deadline.")


@strawberry.type(description="Who is told about deadlines.")
class PolicyNotifications:
    sla_breach: list[strawberry.ID] = strawberry.field(description="Channels for deadlines that have passed.")
    sla_warning: list[strawberry.ID] = strawberry.field(description="Channels for deadlines that are near.")
    sla_breach_lead_time_days: int = strawberry.field(description="How many days before a deadline it is announced.")


@strawberry.type(description="What an organization demands of itself.")
class CompliancePolicy:
    sla_policy: SlaPolicy = strawberry.field(description="Days to fix a vulnerability.")
    auto_sla_deadline: bool = strawberry.field(
        description="Whether a vulnerability gets its deadline when it is found."
    )
    notifications: PolicyNotifications = strawberry.field(description="Who is told about deadlines.")
    active_framework: list[str] = strawberry.field(description="Frameworks that are reported on.")
    report_retention_days: int = strawberry.field(description="How long reports are kept.")
    freshness_threshold_days: int = strawberry.field(description="A tag that was scanned longer ago is outdated.")
    rules_need_approval: bool = strawberry.field(description="Whether a second person has to approve triage rules.")
    updated_by: str | None = strawberry.field(description="Id of who changed it last; null: it is the default.")
    updated_at: datetime | None = strawberry.field(description="When.")
    backfilled: int | None = strawberry.field(
        default=None, description="How many deadlines were set anew, in the answer to a change that asked for it."
    )

    @classmethod
    def of(cls, row: PolicyRow, *, backfilled: int | None = None) -> CompliancePolicy:
        return cls(
            sla_policy=SlaPolicy(
                critical=row.critical_days, high=row.high_days, medium=row.medium_days, low=row.low_days
            ),
            auto_sla_deadline=row.auto_sla_deadline,
            notifications=PolicyNotifications(
                sla_breach=[strawberry.ID(each) for each in row.sla_breach_channels],
                sla_warning=[strawberry.ID(each) for each in row.sla_warning_channels],
                sla_breach_lead_time_days=row.sla_breach_lead_time_days,
            ),
            active_framework=row.active_framework,
            report_retention_days=row.report_retention_days,
            freshness_threshold_days=row.freshness_threshold_days,
            rules_need_approval=row.rules_need_approval,
            updated_by=row.updated_by,
            updated_at=row.updated_at,
            backfilled=backfilled,
        )
