"""When a feed is believed. Pure: counts in, a reason or nothing out."""

from __future__ import annotations

MOST_REJECTED = 0.05  # of a feed's documents: beyond it the format has changed, or we read it wrongly
LEAST_KEPT = 0.5  # of the records stored before: a feed that shrinks more has lost something


def refusal(*, records: int, rejected: int, stored: int, accept_shrink: bool) -> str | None:
    """Why a complete feed must not replace what is stored, None if it may.

    `records` could be read, `rejected` could not, `stored` are in the store. The operator can accept a feed that shrinks,
    because that can be right; nothing makes an unreadable one right.
    """
    if not records:
        return "it holds no advisory that can be read"
    if rejected > (records + rejected) * MOST_REJECTED:
        return f"{rejected} of {records + rejected} records cannot be read, more than {MOST_REJECTED:.0%}"
    if records < stored * LEAST_KEPT and not accept_shrink:
        return f"it has shrunk from {stored} records to {records}; use --accept-shrink if that is right"
    return None
