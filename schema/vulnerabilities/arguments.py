"""Arguments of every list of vulnerabilities, and the same as an input."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias

import strawberry

from schema.kernel.validation import Constraint, constrained
from schema.vulnerabilities.enums import Severity, TriageStatus
from schema.vulnerabilities.filters import VulnerabilityFilter
from schema.vulnerabilities.types import ScannerFilter

_DESCRIPTIONS = {
    "severity": "Any of these.",
    "status": "Any of these.",
    "scanner": "Reported by this tool itself, or by `native`.",
    "image": "An image's id or exact name.",
    "registry": "A registry's id or host.",
    "tag": "A glob of tags, like `release-*`: the latest scan of such a tag sees it.",
    "package": "Exact name of the package.",
    "cve_id": "Exact id of the flaw.",
    "fixable": "Whether a fixed version exists.",
    "kev": "Whether it is known to be exploited (CISA KEV).",
    "epss_min": "At least this probability of being exploited, 0-1.",
    "epss_max": "At most this probability, 0-1.",
    "assignee": "A user's id; `none` for what nobody has been assigned to.",
    "overdue": "Whether it is open and its deadline has passed.",
    "excepted": "Whether an active attestation covers it.",
    "present": "Whether the latest scan of some tag has it.",
    "new_since": "Found for the first time at or after this time.",
}


def _argument(name: str) -> Any:
    return strawberry.argument(description=_DESCRIPTIONS[name])


SeverityArgument: TypeAlias = Annotated[list[Severity] | None, _argument("severity")]
StatusArgument: TypeAlias = Annotated[list[TriageStatus] | None, _argument("status")]
ScannerArgument: TypeAlias = Annotated[ScannerFilter | None, _argument("scanner")]
ImageArgument: TypeAlias = Annotated[str | None, _argument("image")]
RegistryArgument: TypeAlias = Annotated[str | None, _argument("registry")]
TagArgument: TypeAlias = Annotated[str | None, _argument("tag")]
PackageArgument: TypeAlias = Annotated[str | None, _argument("package")]
CveArgument: TypeAlias = Annotated[str | None, _argument("cve_id")]
FixableArgument: TypeAlias = Annotated[bool | None, _argument("fixable")]
KevArgument: TypeAlias = Annotated[bool | None, _argument("kev")]
EpssMinArgument: TypeAlias = Annotated[float | None, _argument("epss_min")]
EpssMaxArgument: TypeAlias = Annotated[float | None, _argument("epss_max")]
AssigneeArgument: TypeAlias = Annotated[str | None, _argument("assignee")]
OverdueArgument: TypeAlias = Annotated[bool | None, _argument("overdue")]
ExceptedArgument: TypeAlias = Annotated[bool | None, _argument("excepted")]
PresentArgument: TypeAlias = Annotated[bool | None, _argument("present")]
NewSinceArgument: TypeAlias = Annotated[datetime | None, _argument("new_since")]


def _field(name: str, **bounds: Any) -> Any:
    return constrained(Constraint(**bounds), description=_DESCRIPTIONS[name], default=None)


@strawberry.input(description="Which vulnerabilities: those that satisfy everything that is given.")
class VulnerabilityFilterInput:
    severity: list[Severity] | None = _field("severity")
    status: list[TriageStatus] | None = _field("status")
    scanner: ScannerFilter | None = _field("scanner")
    image: str | None = _field("image", max_length=255)
    registry: str | None = _field("registry", max_length=255)
    tag: str | None = _field("tag", max_length=128)
    package: str | None = _field("package", max_length=300)
    cve_id: str | None = _field("cve_id", max_length=60)
    search: str | None = constrained(Constraint(max_length=200), description="Free text.", default=None)
    fixable: bool | None = _field("fixable")
    kev: bool | None = _field("kev")
    epss_min: float | None = _field("epss_min", minimum=0, maximum=1)
    epss_max: float | None = _field("epss_max", minimum=0, maximum=1)
    assignee: str | None = _field("assignee", max_length=40)
    overdue: bool | None = _field("overdue")
    excepted: bool | None = _field("excepted")
    present: bool | None = _field("present")
    new_since: datetime | None = _field("new_since")

    def chosen(self) -> VulnerabilityFilter:
        return chosen(**vars(self))


def chosen(
    *,
    severity: list[Severity] | None = None,
    status: list[TriageStatus] | None = None,
    scanner: ScannerFilter | None = None,
    **others: Any,
) -> VulnerabilityFilter:
    """The filter that arguments or an input stand for."""
    return VulnerabilityFilter(
        severities=severity, statuses=status, scanner=scanner.value if scanner else None, **others
    )
