"""What each plan holds, unless an operator says otherwise (`HARBORGUARD_PLAN_LIMITS`). Nothing is paid for here."""

from __future__ import annotations

from schema.kernel.plans import UNLIMITED, PlanLimits
from schema.organizations.models import Plan

PLAN_LIMITS: dict[str, PlanLimits] = {
    Plan.FREE: PlanLimits(scans_per_month=100, registries=1, members=3),
    Plan.TEAM: PlanLimits(scans_per_month=2_000, registries=5, members=10),
    Plan.BUSINESS: PlanLimits(scans_per_month=20_000, registries=25, members=50),
    Plan.ENTERPRISE: UNLIMITED,
}
