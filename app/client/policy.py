"""The policy of a pipeline: which findings, or which grade, an image may not have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from app.client.answers import Finding, Scan
from schema.vulnerabilities.models import OPEN_STATUSES
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade

WORST_FIRST = tuple(Severity)


class ExitCode(IntEnum):
    """What the shell is told. Published, so append-only. An interruption is 130 or 143, as of any program."""

    CLEAN = 0
    ERROR = 1
    POLICY_FAILED = 2
    TIMED_OUT = 3
    PARTIAL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`fail_on` is the least severity that fails, UNKNOWN meaning any; `fail_on_grade` the best grade that does."""

    fail_on: Severity | None = None
    fail_on_grade: Grade | None = None
    only_fixed: bool = False
    new_only: bool = False
    ignored: tuple[str, ...] = ()
    allow_ungraded: bool = False

    @property
    def judges(self) -> bool:
        return self.fail_on is not None or self.fail_on_grade is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`violations` are the findings against the policy, worst first; `reasons` are sentences, the decisive one first."""

    code: ExitCode
    violations: tuple[Finding, ...] = ()
    reasons: tuple[str, ...] = ()


def judge(policy: Policy, scan: Scan, findings: Sequence[Finding]) -> Verdict:
    """The verdict on a COMPLETE scan. The first that holds decides:

    2 a finding or the grade is against the policy, whatever else is missing;
    1 there is a policy and no grade: nobody could judge the image, which is not the same as clean;
    4 some engine failed; 0 otherwise.
    """
    violations = tuple(finding for finding in findings if violates(policy, finding))
    failed, blind, partial = [], [], []
    if violations:
        failed.append(f"{len(violations)} of {len(findings)} findings are against the policy ({describe(policy)})")
    grade = scan.compliance
    if policy.fail_on_grade is not None and grade is not None and grade >= policy.fail_on_grade:
        failed.append(f"the grade is {grade}, and {policy.fail_on_grade} or worse fails")
    if policy.judges and grade is None and not policy.allow_ungraded:
        blind.append(f"the image could not be judged: {scan.grade_reason or 'no grade'} (see --allow-ungraded)")
    if scan.partial:
        engines = [run.engine for run in scan.engines if run.status == "FAILED"]
        partial.append(f"the scan is partial: {', '.join(engines) or 'some engine'} failed")
    outcomes = ((ExitCode.POLICY_FAILED, failed), (ExitCode.ERROR, blind), (ExitCode.PARTIAL, partial))
    code = next((code for code, reasons in outcomes if reasons), ExitCode.CLEAN)
    return Verdict(code=code, violations=violations, reasons=(*failed, *blind, *partial))


def violates(policy: Policy, finding: Finding) -> bool:
    """Whether this finding fails the policy. One that was triaged as fixed or accepted does not."""
    if policy.fail_on is None or finding.status not in OPEN_STATUSES:
        return False
    if WORST_FIRST.index(finding.severity) > WORST_FIRST.index(policy.fail_on):
        return False
    if (policy.only_fixed and not finding.fixable) or (policy.new_only and not finding.is_new):
        return False
    return names_of(finding).isdisjoint(name.upper() for name in policy.ignored)


def names_of(finding: Finding) -> frozenset[str]:
    return frozenset(name.upper() for name in (finding.cve_id, *finding.aliases))


def unused(ignored: Iterable[str], findings: Iterable[Finding]) -> list[str]:
    """Ids somebody ignores that the scan does not have: likely a slip, or no longer needed."""
    present = {name for finding in findings for name in names_of(finding)}
    return [name for name in ignored if name.upper() not in present]


def describe(policy: Policy) -> str:
    """In the words of the command line's options."""
    parts = []
    if policy.fail_on_grade is not None:
        parts.append(f"grade {policy.fail_on_grade} or worse")
    if policy.fail_on is not None:
        parts.append("any severity" if policy.fail_on is Severity.UNKNOWN else f"{policy.fail_on.lower()} or worse")
    if policy.only_fixed:
        parts.append("with a fix")
    if policy.new_only:
        parts.append("new")
    return ", ".join(parts)
