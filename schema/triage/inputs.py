"""What triage takes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.registries.rules import GLOB
from schema.triage.deciding import KEEP, Decision
from schema.vulnerabilities.arguments import VulnerabilityFilterInput
from schema.vulnerabilities.enums import TriageStatus

MAX_ROWS = 10_000
_STATUS = "Its new status: OPEN -> ACKNOWLEDGED -> IN_PROGRESS -> FIXED, OPEN or ACKNOWLEDGED -> WONT_FIX, IN_PROGRESS -> OPEN."
_ASSIGNEE = "Who takes care of it: the id of an active member, `usr-…`. Null: nobody."
_REASON = "Why, in a few words. Null: no reason."
_DEADLINE = "By when it has to be fixed. Null: as the policy has it."
_COMMENT = "Kept in the history."
REASON = Constraint(max_length=500)
COMMENT = Constraint(min_length=1, max_length=4000)
ID = Constraint(min_length=1, max_length=40)


class _Decides:
    """What every input with a decision has."""

    status: TriageStatus | None
    assignee_id: Any
    reason: Any
    sla_deadline: Any
    comment: str | None

    def decision(self) -> Decision:
        def wish(value: Any) -> Any:
            return KEEP if value is strawberry.UNSET else value

        return Decision(
            status=self.status,
            assignee_id=wish(self.assignee_id),
            reason=wish(self.reason),
            due_at=wish(self.sla_deadline),
            comment=self.comment,
        )


@strawberry.input(description="A decision about a vulnerability. What is left out stays.")
class TriageInput(_Decides):
    status: TriageStatus | None = strawberry.field(default=None, description=_STATUS)
    assignee_id: strawberry.ID | None = constrained(ID, description=_ASSIGNEE, default=strawberry.UNSET)
    reason: str | None = constrained(REASON, description=_REASON, default=strawberry.UNSET)
    sla_deadline: datetime | None = strawberry.field(default=strawberry.UNSET, description=_DEADLINE)
    comment: str | None = constrained(COMMENT, description=_COMMENT, default=None)


@strawberry.input(description="A decision about many vulnerabilities: those of `ids`, or those that match `filter`.")
class BulkTriageInput(_Decides):
    ids: list[strawberry.ID] | None = constrained(
        Constraint(min_length=1, max_length=MAX_ROWS), description="`vuln-…`, at most 10,000.", default=None
    )
    filter: VulnerabilityFilterInput | None = strawberry.field(
        default=None, description="What matches, at most 10,000; not empty."
    )
    atomic: bool | None = strawberry.field(
        default=None, description="Do nothing at all if one of them cannot be done; default false."
    )
    status: TriageStatus | None = strawberry.field(default=None, description=_STATUS)
    assignee_id: strawberry.ID | None = constrained(ID, description=_ASSIGNEE, default=strawberry.UNSET)
    reason: str | None = constrained(REASON, description=_REASON, default=strawberry.UNSET)
    sla_deadline: datetime | None = strawberry.field(default=strawberry.UNSET, description=_DEADLINE)
    comment: str | None = constrained(COMMENT, description=_COMMENT, default=None)


@strawberry.input(
    description="A decision about all vulnerabilities alike, now and later. Names a flaw, a package, or both."
)
class TriageRuleInput:
    cve_id: str | None = constrained(
        Constraint(min_length=1, max_length=60), description="The flaw; null: whatever the flaw.", default=None
    )
    package: str | None = constrained(
        Constraint(min_length=1, max_length=300), description="Name of the package; null: whatever.", default=None
    )
    image_id: strawberry.ID | None = constrained(
        ID, description="The image it is about, `img-…`; null: every image.", default=None
    )
    tag_pattern: str | None = constrained(
        Constraint(
            max_length=128, pattern=GLOB.pattern, hint="must be a glob of tags: letters, digits, _ . - and * ? [ ]"
        ),
        description="A glob: what the latest scan of a tag like that sees. Null: whatever the tag.",
        default=None,
    )
    status: TriageStatus = strawberry.field(description="What they become: ACKNOWLEDGED or WONT_FIX.")
    assignee_id: strawberry.ID | None = constrained(ID, description=_ASSIGNEE, default=None)
    reason: str | None = constrained(REASON, description=_REASON, default=None)
    comment: str | None = constrained(COMMENT, description=_COMMENT, default=None)
    expires_at: datetime | None = strawberry.field(
        default=None, description="When it ends, and what it decided is open again. Null: when it is revoked."
    )


@strawberry.input(description="A filter of the list of vulnerabilities under a name.")
class SavedFilterInput:
    name: str = constrained(Constraint(min_length=1, max_length=100), description="Its name.")
    query: str = constrained(
        Constraint(max_length=4000),
        description="A query string of GET /api/vulnerabilities, like `severity=CRITICAL&fixable=true`.",
    )
    shared: bool | None = strawberry.field(default=None, description="Whether all members see it; default false.")
