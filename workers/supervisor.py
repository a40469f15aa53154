"""A worker's life: woken through arq, kept honest by the reconciler, resilient to a queue that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.utils import poll
from arq.worker import Worker, func
from redis.exceptions import RedisError

from workers.feeds.update import refresh_forever
from workers.reconciler import reconcile_forever
from workers.runner import JobRunner
from workers.runtime import WorkerRuntime
from workers.workspace import Workspace

log = structlog.get_logger(__name__)
POLL_SECONDS = 0.2
QUEUE_RETRY_SECONDS = 1.0


class WakingWorker(Worker):
    """arq's worker without its start-up INFO, which the in-process stand-in for Redis does not know."""

    async def main(self) -> None:
        async for _ in poll(self.poll_delay_s):
            await self._poll_iteration()


@asynccontextmanager
async def running_worker(
    runtime: WorkerRuntime, connect: Callable[[], ArqRedis], *, queue_name: str, function: str
) -> AsyncIterator[None]:
    """Works in the background until the block ends; then running jobs are handed back for another worker."""
    with Workspace(runtime.work_dir, runtime.owner) as workspace:
        runner = JobRunner(runtime, workspace)
        tasks = [
            asyncio.create_task(reconcile_forever(runtime, runner), name="reconciler"),
            asyncio.create_task(
                _listen_forever(runner, connect, queue_name=queue_name, function=function), name="queue"
            ),
        ]
        if runtime.feeds is not None and runtime.feeds.every_seconds:
            tasks.append(asyncio.create_task(refresh_forever(runtime.feeds, runtime.feed_source), name="feeds"))
        log.info("worker.started", owner=runtime.owner, concurrency=runtime.limits.concurrency)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.close()
            log.info("worker.stopped", owner=runtime.owner)


async def _listen_forever(
    runner: JobRunner, connect: Callable[[], ArqRedis], *, queue_name: str, function: str
) -> None:
    """Takes wake-ups from the queue. While the queue is away, the reconciler's look is what finds jobs."""

    async def work(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ARG001 -- the signature arq calls
        runner.wake()

    while True:
        redis = connect()
        worker = WakingWorker(
            functions=[func(work, name=function)],
            redis_pool=redis,
            queue_name=queue_name,
            handle_signals=False,
            keep_result=0,
            poll_delay=POLL_SECONDS,
            retry_jobs=False,
            job_serializer=redis.job_serializer,
            job_deserializer=redis.job_deserializer,
        )
        try:
            await worker.async_run()
        except (RedisError, OSError) as error:
            log.warning("queue.unavailable", error=type(error).__name__)
        finally:
            await _close(worker, redis)
        await asyncio.sleep(QUEUE_RETRY_SECONDS)


async def _close(worker: Worker, redis: ArqRedis) -> None:
    """Not arq's own close(), which ends with whatever a wake-up that was cut off ended with."""
    for task in worker.tasks.values():
        task.cancel()
    await asyncio.gather(*worker.tasks.values(), return_exceptions=True)
    with suppress(RedisError, OSError):
        await redis.aclose(close_connection_pool=True)
