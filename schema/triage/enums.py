"""The enums of triage as the schema names them."""

from __future__ import annotations

import strawberry

from schema.triage.models import RuleStatus, TriageOrigin

strawberry.enum(RuleStatus, description="Where a triage rule stands. Only an ACTIVE one decides.")
strawberry.enum(TriageOrigin, description="What made a decision.")

__all__ = ["RuleStatus", "TriageOrigin"]
