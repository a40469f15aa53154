"""What an organization may have of everything that is counted."""

from __future__ import annotations

from dataclasses import dataclass

from schema.kernel.errors import ErrorCode, HarborGuardError


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimits:
    """None: no limit."""

    scans_per_month: int | None = None
    registries: int | None = None
    members: int | None = None


UNLIMITED = PlanLimits()


def require_room(noun: str, *, used: int, limit: int | None) -> None:
    """Raises PLAN_LIMIT when one more would pass the limit: `require_room("Registry", used=5, limit=5)`."""
    if limit is not None and used >= limit:
        raise HarborGuardError(ErrorCode.PLAN_LIMIT, f"{noun} limit reached for current plan")
