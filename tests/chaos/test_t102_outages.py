"""Redis and PostgreSQL go away and come back: nothing is lost, and no process has to be started again."""

from __future__ import annotations

import os
import signal

from redis import Redis

from tests.chaos.deployment import Deployment
from tests.servers import Server


async def test_t102_a_flushed_redis_loses_no_scan(scale: Deployment, own_redis: Server) -> None:
    await scale.up()
    async with scale.api(await scale.key()) as api:
        with scale.paused("worker"):
            scans = [await scale.trigger(api) for _ in range(2)]
            with Redis.from_url(own_redis.url) as redis:
                assert redis.dbsize() > 0, "the wake-ups lie there"
                redis.flushall()
        for scan_id in scans:
            await scale.assert_completed_once(scan_id)
    scale.assert_running()


async def test_t102_without_redis_scans_are_accepted_and_done(scale: Deployment, own_redis: Server) -> None:
    await scale.up()
    async with scale.api(await scale.key()) as api:
        uploaded = await scale.upload(api)
        first, child = await scale.trigger_and_pause(api, "unpack")
        own_redis.kill()
        try:
            os.kill(child, signal.SIGCONT)
            second = await scale.trigger(api, uploaded)
            listed = await api.get("/api/scans")
            assert listed.status_code == 200
            assert {first, second} <= {scan["id"] for scan in listed.json()["data"]}
            assert (await api.get("/api/ready")).status_code == 200, "it can do its work"
            await scale.assert_completed_once(first, attempt=1)
        finally:
            own_redis.start()
        await scale.until_ready()
        await scale.assert_completed_once(second)
        await scale.assert_completed_once(await scale.trigger(api))
    scale.assert_running()


async def test_t103_a_restarted_postgresql_needs_no_other_restart(scale: Deployment, own_postgres: Server) -> None:
    await scale.up()
    async with scale.api(await scale.key()) as api:
        scan_id, child = await scale.trigger_and_pause(api, "examine")
        own_postgres.kill()
        try:
            os.kill(child, signal.SIGCONT)
            await scale.until_ready(503)
            refused = await api.get("/api/scans")
            assert refused.status_code == 503, refused.text
            assert refused.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        finally:
            own_postgres.start()
        await scale.until_ready()
        await scale.assert_completed_once(scan_id)
        await scale.assert_completed_once(await scale.trigger(api))
    scale.assert_running()
