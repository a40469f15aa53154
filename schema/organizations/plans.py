"""What a plan holds. Nothing is paid for here: an operator sets the plan of an organization, and may change this table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.organizations.models import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimits:
    """None: no limit."""

    scans_per_month: int | None = None
    registries: int | None = None
    members: int | None = None


PLAN_LIMITS: Mapping[Plan, PlanLimits] = MappingProxyType(
    {
        Plan.FREE: PlanLimits(scans_per_month=100, registries=1, members=3),
        Plan.TEAM: PlanLimits(scans_per_month=2_000, registries=5, members=10),
        Plan.BUSINESS: PlanLimits(scans_per_month=20_000, registries=25, members=50),
        Plan.ENTERPRISE: PlanLimits(),
    }
)


def require_room(noun: str, *, used: int, limit: int | None) -> None:
    """Raises PLAN_LIMIT when one more would pass the limit: `require_room("Registry", used=5, limit=5)`."""
    if limit is not None and used >= limit:
        raise HarborGuardError(ErrorCode.PLAN_LIMIT, f"{noun} limit reached for current plan")
