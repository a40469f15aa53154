"""What a compliance policy takes."""

from __future__ import annotations

import strawberry

from schema.kernel.validation import Constraint, constrained

_CHANNELS = Constraint(max_length=50)
_FRAMEWORKS = (
    *("SOC2", "PCI_DSS", "NIST_800_190", "NIST_800_53", "NIST_800_171", "ISO_27001"),
    *("HIPAA", "CMMC", "CIS_DOCKER", "FEDRAMP", "CUSTOM"),
)
FRAMEWORKS = frozenset(_FRAMEWORKS)


@strawberry.input(
    description="Days to fix a vulnerability after it was found: each 1-365, critical < high < medium < low."
)
class SlaPolicyInput:
    critical: int = strawberry.field(description="Of severity CRITICAL.")
    high: int = strawberry.field(description="Of severity HIGH.")
    medium: int = strawberry.field(description="Of severity MEDIUM.")
    low: int | None = strawberry.field(default=None, description="Of severity LOW; null: no deadline.")


@strawberry.input(description="Who is told about deadlines.")
class PolicyNotificationsInput:
    sla_breach: list[strawberry.ID] | None = constrained(
        _CHANNELS, description="Channels for deadlines that have passed.", default=strawberry.UNSET
    )
    sla_warning: list[strawberry.ID] | None = constrained(
        _CHANNELS, description="Channels for deadlines that are near.", default=strawberry.UNSET
    )
    sla_breach_lead_time_days: int | None = constrained(
        Constraint(minimum=0, maximum=30),
        description="How many days before a deadline it is announced.",
        default=strawberry.UNSET,
    )


@strawberry.input(
    description="What is to change about the compliance policy. What is left out stays; null means the default."
)
class CompliancePolicyInput:
    sla_policy: SlaPolicyInput | None = strawberry.field(
        default=strawberry.UNSET, description="Days to fix a vulnerability."
    )
    auto_sla_deadline: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether a vulnerability gets its deadline when it is found."
    )
    backfill_on_save: bool | None = strawberry.field(
        default=None,
        description="Set the deadlines of what is open anew as well; not those a person set. Default false.",
    )
    notifications: PolicyNotificationsInput | None = strawberry.field(
        default=strawberry.UNSET, description="Who is told about deadlines."
    )
    active_framework: list[str] | None = constrained(
        Constraint(max_length=len(FRAMEWORKS)),
        description=f"Frameworks that are reported on: {', '.join(_FRAMEWORKS)}.",
        default=strawberry.UNSET,
    )
    report_retention_days: int | None = constrained(
        Constraint(minimum=1, maximum=3650), description="How long reports are kept.", default=strawberry.UNSET
    )
    freshness_threshold_days: int | None = constrained(
        Constraint(minimum=1, maximum=365),
        description="A tag that was scanned longer ago is outdated.",
        default=strawberry.UNSET,
    )
    rules_need_approval: bool | None = strawberry.field(
        default=strawberry.UNSET, description="Whether a second person has to approve triage rules."
    )
