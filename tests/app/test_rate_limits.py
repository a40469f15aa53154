"""Budgets: the moving window itself, then the same window on a real Redis, then without it."""

from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app import rate_limits
from app.rate_limits import LocalWindows, WindowLimiter
from schema.kernel.ports import RateBudget
from tests.servers import Server

BUDGET = RateBudget(family="test", requests=3, seconds=60)
START = 1_000_000.0


def test_budget_is_used_up_and_comes_back_bit_by_bit() -> None:
    windows = LocalWindows()
    remaining = [windows.hit(BUDGET, "a", now=START + second).remaining for second in (0, 10, 20)]
    refused = windows.hit(BUDGET, "a", now=START + 59.9)
    later = windows.hit(BUDGET, "a", now=START + 60)

    assert remaining == [2, 1, 0]
    assert (refused.allowed, refused.remaining, refused.reset_at) == (False, 0, START + 60)
    assert (later.allowed, later.remaining, later.reset_at) == (True, 0, START + 70)


def test_refused_use_costs_nothing() -> None:
    windows = LocalWindows()
    for _ in range(100):
        windows.hit(BUDGET, "a", now=START)

    assert windows.hit(BUDGET, "a", now=START + 60).remaining == 2


def test_callers_and_families_have_budgets_of_their_own() -> None:
    windows = LocalWindows()
    other = RateBudget(family="other", requests=3, seconds=60)
    for _ in range(3):
        windows.hit(BUDGET, "a", now=START)

    assert not windows.hit(BUDGET, "a", now=START).allowed
    assert windows.hit(BUDGET, "b", now=START).allowed
    assert windows.hit(other, "a", now=START).allowed


@given(
    gaps=st.lists(st.floats(min_value=0, max_value=30), max_size=60),
    requests=st.integers(min_value=1, max_value=5),
    seconds=st.integers(min_value=1, max_value=60),
)
def test_no_window_of_any_position_holds_more_than_the_budget(gaps: list[float], requests: int, seconds: int) -> None:
    windows, now, allowed = LocalWindows(), START, []
    budget = RateBudget(family="test", requests=requests, seconds=seconds)
    for gap in gaps:
        now += gap
        state = windows.hit(budget, "a", now=now)
        if state.allowed:
            allowed.append(now)
        assert 0 <= state.remaining < requests + (not state.allowed)
        assert now < state.reset_at <= math.ceil(now + seconds)

    for begin in allowed:
        assert sum(begin <= moment < begin + seconds for moment in allowed) <= requests


def test_callers_who_are_gone_are_forgotten() -> None:
    windows = LocalWindows()
    for number in range(1_000):
        windows.hit(BUDGET, f"old-{number}", now=START)
    for number in range(600):
        windows.hit(BUDGET, f"new-{number}", now=START + 120)

    assert len(windows) == 600


def test_number_of_callers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_BUCKETS", 100)
    windows = LocalWindows()
    for number in range(1_000):
        windows.hit(BUDGET, f"caller-{number}", now=START)

    assert len(windows) <= 100


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("ip:2001:db8::1", "ip:2001:db8::ffff:2", True),
        ("ip:2001:db8::1", "ip:2001:db8:0:1::1", False),
        ("ip:192.0.2.1", "ip:192.0.2.2", False),
        ("ip:::ffff:192.0.2.1", "ip:192.0.2.1", True),
        ("key-1", "key-2", False),
        ("account:a", "account:b", False),
    ],
)
async def test_ipv6_customer_has_one_budget(one: str, other: str, *, shared: bool) -> None:
    limiter = WindowLimiter()
    for _ in range(BUDGET.requests):
        await limiter.hit(BUDGET, one)

    assert (await limiter.hit(BUDGET, other)).allowed is not shared


async def test_budget_is_shared_by_all_processes_on_redis(redis: Server) -> None:
    one, other = WindowLimiter(redis.url), WindowLimiter(redis.url)
    budget = RateBudget(family="shared", requests=3, seconds=60)
    states = [await limiter.hit(budget, "a") for limiter in (one, other, one, other)]
    await one.close()
    await other.close()

    assert [state.allowed for state in states] == [True, True, True, False]
    assert [state.remaining for state in states] == [2, 1, 0, 0]
    assert {state.limit for state in states} == {3}
    assert len({state.reset_at for state in states}) == 1


async def test_many_at_once_pass_no_limit_on_redis(redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine must not make Redis look away: its counting is what is tested.
    monkeypatch.setattr(rate_limits, "REDIS_TIMEOUT_SECONDS", 60.0)
    limiter = WindowLimiter(redis.url)
    budget = RateBudget(family="crowd", requests=20, seconds=60)
    states = await asyncio.gather(*(limiter.hit(budget, "a") for _ in range(100)))
    await limiter.close()

    assert sum(state.allowed for state in states) == 20


async def test_without_redis_the_process_counts_for_itself_and_says_so_once() -> None:
    limiter = WindowLimiter("unix:///nowhere/redis.sock")
    with capture_logs() as logs:
        states = [await limiter.hit(BUDGET, "a") for _ in range(5)]
    await limiter.close()

    assert [state.allowed for state in states] == [True, True, True, False, False]
    assert [entry["event"] for entry in logs] == ["rate_limits.redis_away"]


async def test_t102_redis_may_go_and_come_back(redis: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "REDIS_RETRY_SECONDS", 0.0)
    limiter = WindowLimiter(redis.url)
    budget = RateBudget(family="outage", requests=3, seconds=60)
    with capture_logs() as logs:
        await limiter.hit(budget, "a")
        redis.stop()
        try:
            away = [await limiter.hit(budget, "a") for _ in range(4)]
        finally:
            redis.start()
        back = await limiter.hit(budget, "a")
    await limiter.close()

    assert [state.allowed for state in away] == [True, True, True, False]
    assert back.allowed
    assert [entry["event"] for entry in logs] == ["rate_limits.redis_away", "rate_limits.redis_back"]
