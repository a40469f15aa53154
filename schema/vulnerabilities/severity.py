"""Severity as a sort key."""

from __future__ import annotations

from schema.vulnerabilities.records import Severity

_RANKS = {Severity.UNKNOWN: 0, Severity.LOW: 1, Severity.MEDIUM: 2, Severity.HIGH: 3, Severity.CRITICAL: 4}


def severity_rank(severity: Severity) -> int:
    """Higher is worse; UNKNOWN is lowest."""
    return _RANKS[severity]
