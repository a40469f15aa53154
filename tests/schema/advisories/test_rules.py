"""When a feed is believed."""

from __future__ import annotations

import pytest

from schema.advisories.rules import refusal


@pytest.mark.parametrize(
    ("records", "rejected", "stored", "refused"),
    [
        (100, 0, 0, False),
        (100, 5, 100, False),
        (95, 5, 0, False),
        (94, 6, 0, True),
        (50, 0, 100, False),
        (49, 0, 100, True),
        (0, 0, 0, True),
        (0, 10, 0, True),
    ],
)
def test_a_feed_is_refused(records: int, rejected: int, stored: int, *, refused: bool) -> None:
    reason = refusal(records=records, rejected=rejected, stored=stored, accept_shrink=False)
    assert (reason is not None) is refused


def test_only_shrinking_can_be_accepted() -> None:
    assert refusal(records=1, rejected=0, stored=100, accept_shrink=True) is None
    assert refusal(records=90, rejected=10, stored=100, accept_shrink=True) is not None
    assert refusal(records=0, rejected=0, stored=100, accept_shrink=True) is not None
