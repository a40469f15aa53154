"""When cron expressions are due: beside a naive walk over every minute, and where clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.kernel.cron import Cron, find_zone

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
MINUTE = timedelta(minutes=1)


def field(first: int, last: int) -> st.SearchStrategy[str]:
    value = st.integers(first, last)
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.tuples(st.one_of(st.just("*"), span), st.integers(1, last)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    part = st.one_of(value.map(str), span, step)
    return st.one_of(st.just("*"), st.lists(part, min_size=1, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(field(0, 59), field(0, 23), field(1, 28), st.just("*"), field(0, 6)).map(" ".join)


def members(text: str, first: int, last: int) -> set[int]:
    """What a field holds, told again in the plainest way."""
    found = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        bounds = (first, last) if span == "*" else (int(low), int(high or low))
        found |= {value for value in range(bounds[0], bounds[1] + 1) if (value - bounds[0]) % int(step or 1) == 0}
    return found


def is_due(expression: str, local: datetime) -> bool:
    minute, hour, day, _, weekday = expression.split()
    days = local.day in members(day, 1, 31), local.isoweekday() % 7 in members(weekday, 0, 6)
    matches = all(days) if "*" in {day, weekday} else any(days)
    return matches and local.minute in members(minute, 0, 59) and local.hour in members(hour, 0, 23)


@settings(max_examples=200, deadline=None)
@given(expression=EXPRESSIONS, zone=ZONES, start=st.datetimes(datetime(2026, 3, 20), datetime(2026, 11, 10)))  # noqa: DTZ001 -- hypothesis wants them naive
def test_it_is_due_when_a_walk_over_local_minutes_says_so(expression: str, zone: str, start: datetime) -> None:
    """The walk goes over the clock on the wall: what it skips is due after the gap, what it shows twice the first time."""
    where, after = ZoneInfo(zone), start.replace(second=0, microsecond=0, tzinfo=UTC)
    found = Cron.parse(expression).next_after(after, where)

    wall = after.astimezone(where).replace(tzinfo=None, fold=0)
    expected = None
    for minutes in range(1, 3 * 24 * 60):
        local = wall + minutes * MINUTE
        if not is_due(expression, local):
            continue
        moment = local.replace(tzinfo=where).astimezone(UTC)
        shown = moment.astimezone(where).replace(tzinfo=None)
        while shown != local and moment.astimezone(where).replace(tzinfo=None, fold=0) != local:
            local += MINUTE
            moment = local.replace(tzinfo=where).astimezone(UTC)
        if moment > after:
            expected = moment
            break
    if expected is None:
        assert found > after + timedelta(days=2)
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("expression", "after", "due"),
    [
        # Clocks in Berlin go from 2:00 to 3:00 on 2026-03-29, and from 3:00 back to 2:00 on 2026-10-25.
        ("30 2 * * *", "2026-03-28T12:00", "2026-03-29T01:00"),  # 2:30 does not exist: 3:00
        ("30 2 * * *", "2026-03-29T01:00", "2026-03-30T00:30"),  # and not again on that day
        ("30 2 * * *", "2026-10-24T12:00", "2026-10-25T00:30"),  # the first of two
        ("30 2 * * *", "2026-10-25T00:30", "2026-10-26T01:30"),  # the second does not count
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-28T23:00"),
        ("0 12 13 * fri", "2026-02-01T00:00", "2026-02-06T11:00"),  # either matches
        ("@weekly", "2026-07-15T00:00", "2026-07-18T22:00"),
        ("0 9 * * 5-7", "2026-07-17T12:00", "2026-07-18T07:00"),  # 7 is Sunday
        ("0 9 * jan,jul mon", "2026-07-27T12:00", "2027-01-04T08:00"),
    ],
)
def test_times_people_know(expression: str, after: str, due: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert Cron.parse(expression).next_after(moment, BERLIN) == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("60 * * * *", "minute: 60"),
        ("* 24 * * *", "hour: 24"),
        ("* * 0 * *", "day of the month: 0"),
        ("* * * 13 *", "month: 13"),
        ("* * * * 8", "day of the week: 8"),
        ("*/0 * * * *", "step"),
        ("5/10 * * * *", "a step needs"),
        ("30-10 * * * *", "ends before it begins"),
        ("0 0 31 2 *", "never be due"),
        ("a * * * *", "minute: a"),
        ("1,,2 * * * *", "nothing"),
        ("99999999999999999999 * * * *", "minute"),
    ],
)
def test_what_is_no_expression_is_told(expression: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Cron.parse(expression)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../etc/passwd", "", "/etc/localtime", "Europe"])
def test_what_is_no_zone_is_told(name: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        find_zone(name)
