"""What a scan's engines mean for the scan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schema.scans.models import Engine, EngineRunStatus, ScanStatus

VULNERABILITY_ENGINES = (Engine.TRIVY, Engine.GRYPE, Engine.OSV)
PACKAGE_ENGINES = (Engine.SYFT,)


def scan_outcome(runs: Iterable[EngineRunStatus]) -> tuple[ScanStatus, bool]:
    """(status, partial) from how the engines ended.

    A skipped engine is no failure: nobody was there to run. One failed engine makes the scan partial; nothing but
    failures fails it. Only skips complete it, without a result to judge by.
    """
    ended = list(runs)
    failed = sum(status is EngineRunStatus.FAILED for status in ended)
    if failed and not any(status is EngineRunStatus.COMPLETE for status in ended):
        return ScanStatus.FAILED, False
    return ScanStatus.COMPLETE, failed > 0


def grade_reason(
    requested: Sequence[Engine],
    *,
    completed: bool,
    uncovered: Mapping[str, int],
    unread: Sequence[str],
    packages: int,
) -> str | None:
    """Why there is no grade, None when there can be one.

    A grade needs a vulnerability engine with a result and advisory data for every ecosystem that was found: judging half
    an image would say "A" about the half nobody looked at.
    """
    if not any(engine in VULNERABILITY_ENGINES for engine in requested):
        return "No vulnerability engine was requested (trivy, grype or osv)"
    if unread:
        return f"The native provider could not read {', '.join(unread)}, so the image cannot be judged as a whole"
    if packages == 0 and completed:
        return "No packages were found in the image, so there is nothing to judge"
    if uncovered:
        missing = ", ".join(f"{name} ({count} packages)" for name, count in sorted(uncovered.items()))
        return f"No advisory data for {missing}; import it with `harborguard advisories import`"
    if not completed:
        return "No vulnerability engine produced a result"
    return None
