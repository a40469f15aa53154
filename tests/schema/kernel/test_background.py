from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from schema.kernel.background import Background


async def test_work_runs_behind_the_caller_and_settles() -> None:
    background, gate, done = Background(), asyncio.Event(), []

    async def work() -> None:
        await gate.wait()
        done.append(1)

    background.start("count", work)
    assert done == []
    gate.set()
    await background.settle()
    assert done == [1]


async def test_one_piece_of_work_per_name_runs_at_a_time() -> None:
    background, gate, started = Background(), asyncio.Event(), []

    async def work() -> None:
        started.append(1)
        await gate.wait()

    background.start("same", work)
    background.start("same", work)
    background.start("other", work)
    gate.set()
    await background.settle()
    assert len(started) == 2
    background.start("same", work)
    await background.settle()
    assert len(started) == 3


async def test_a_failure_is_logged_without_its_text_and_goes_nowhere() -> None:
    background = Background()

    async def fail() -> None:
        msg = "secret"
        raise OSError(msg)

    with capture_logs() as logs:
        background.start("broken", fail)
        await background.settle()
    assert logs == [{"event": "background.failed", "name": "broken", "error": "OSError", "log_level": "warning"}]
