"""The life of a vulnerability as a state machine, and what a triage rule is about. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from schema.registries.rules import globs_of
from schema.vulnerabilities.models import TriageStatus

_S = TriageStatus
# What a person may make of a status. Everything opens again by itself: what was fixed when a scan finds it again, what was
# attested when the attestation ends, what a rule decided when the rule ends, and any decision when it is undone.
TRANSITIONS: Mapping[TriageStatus, tuple[TriageStatus, ...]] = {
    _S.OPEN: (_S.ACKNOWLEDGED, _S.WONT_FIX),
    _S.ACKNOWLEDGED: (_S.IN_PROGRESS, _S.WONT_FIX),
    _S.IN_PROGRESS: (_S.FIXED, _S.OPEN),
    _S.FIXED: (),
    _S.WONT_FIX: (),
}
RULE_DECISIONS = TRANSITIONS[_S.OPEN]  # a rule decides about what is open


def is_allowed(before: TriageStatus, after: TriageStatus) -> bool:
    """Whether a person may. Keeping a status is no transition, and always allowed."""
    return before == after or after in TRANSITIONS[before]


def refusal(before: TriageStatus, after: TriageStatus) -> str:
    """Why not, naming what is allowed."""
    allowed = ", ".join(TRANSITIONS[before]) or "none; undo the decision, or wait for a scan that finds it again"
    return f"A vulnerability that is {before} cannot become {after}. Allowed: {allowed}"


def is_about(rule: Any, *, cve_id: str, package_name: str, image_id: str, tag: str | None) -> bool:
    """Whether a rule decides about a vulnerability that is seen in a tag; None: in an image without a tag."""
    return (
        rule.cve_id in {None, cve_id}
        and rule.package_name in {None, package_name}
        and rule.image_id in {None, image_id}
        and is_of_tag(rule.tag_pattern, tag)
    )


def is_of_tag(pattern: str | None, tag: str | None) -> bool:
    """Whether a tag matches one of the globs. No pattern: whatever the tag, and also without one."""
    return pattern is None or (tag is not None and any(fnmatchcase(tag, glob) for glob in globs_of(pattern)))
