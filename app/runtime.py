"""Putting the product together: settings in, services and workers out. The only place that knows every part."""

from __future__ import annotations

import gc
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.blobs import DirectoryBlobStore
from app.key_ring import open_keys
from app.keys import server_secrets
from app.migrations import upgrade
from app.outgoing import OutgoingClient, OutgoingPolicy
from app.queue import FUNCTION, QUEUE_NAME, ArqQueue, Redis, RedisSignals
from app.rate_limits import WindowLimiter
from app.settings import Settings
from app.signing import open_signer
from schema.advisories.catalog import read_mirrors
from schema.kernel.clock import utc_now
from schema.kernel.context import Limits, Services
from schema.kernel.database import Database
from schema.kernel.outbox import OutboxRelay
from schema.kernel.secrets import SessionSigner, TokenMint
from schema.organizations.plans import PLAN_LIMITS
from schema.scans.models import Engine
from workers.engines.running import EngineLimits
from workers.engines.tools import Toolbox, default_databases
from workers.feeds.update import FeedSchedule
from workers.oci.limits import ImageLimits
from workers.oci.probe import HttpRegistryProbe
from workers.runtime import WorkerLimits, WorkerRuntime
from workers.sandbox import SandboxLimits
from workers.supervisor import running_worker


@asynccontextmanager
async def open_services(settings: Settings, connections: Redis) -> AsyncIterator[Services]:
    """Everything a request or a job needs, on an up-to-date database; closed when the block ends."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    master_key = None if settings.master_key is None else settings.master_key.get_secret_value()
    statements = open_signer(settings)
    pepper, signing_key = server_secrets(settings.data_dir, master_key)
    async with open_keys(settings) as keys, OutgoingClient(outgoing_policy(settings)) as http:
        database = Database(settings.database)
        redis = connections.connect()
        rates = WindowLimiter(settings.redis_url)
        try:
            await upgrade(database)
            services = Services(
                database=database,
                relay=OutboxRelay(database, ArqQueue(redis)),
                signals=RedisSignals(redis),
                blobs=DirectoryBlobStore(settings.data_dir.absolute() / "uploads"),
                keys=keys,
                mint=TokenMint(pepper),
                signer=SessionSigner(signing_key),
                rates=rates,
                registry_probe=HttpRegistryProbe(http),
                statements=statements,
                clock=utc_now,
                limits=Limits(
                    max_upload_bytes=settings.max_upload_bytes,
                    max_report_bytes=settings.max_report_bytes,
                    public_url=settings.public_url,
                    session_idle_seconds=settings.session_idle_minutes * 60,
                    session_absolute_seconds=settings.session_absolute_hours * 3600,
                    plans=PLAN_LIMITS | {plan.value: limits for plan, limits in settings.plan_limits.items()},
                ),
            )
            try:
                yield services
            finally:
                await services.background.settle()
        finally:
            await rates.close()
            await redis.aclose(close_connection_pool=True)
            await database.close()


def outgoing_policy(settings: Settings) -> OutgoingPolicy:
    return OutgoingPolicy(
        allowed_networks=settings.outgoing_allowed_networks, extra_ca_bundle=settings.outgoing_ca_bundle
    )


@asynccontextmanager
async def worker_runtime(settings: Settings, services: Services) -> AsyncIterator[WorkerRuntime]:
    """What a worker in this process works with."""
    async with OutgoingClient(outgoing_policy(settings)) as http:
        yield WorkerRuntime(
            services=services,
            http=http,
            limits=worker_limits(settings),
            work_dir=settings.scratch,
            owner=f"{socket.gethostname()[:60]}-{os.getpid()}-{secrets.token_hex(4)}",
            native_fallback=settings.native_fallback,
            toolbox=toolbox(settings),
            feeds=feed_schedule(settings),
        )


def toolbox(settings: Settings) -> Toolbox:
    """The tools behind the engines. None of them may read what is in our directories."""
    return Toolbox(
        places={engine: getattr(settings, f"engine_{engine}") for engine in Engine},
        databases=(settings.engine_databases or default_databases()).absolute(),
        hidden=(settings.data_dir.absolute(), settings.scratch),
    )


def feed_schedule(settings: Settings) -> FeedSchedule:
    return FeedSchedule(
        names=settings.advisory_feeds,
        every_seconds=settings.advisory_refresh_hours * 3600,
        mirrors=read_mirrors(settings.advisory_mirrors),
        directory=settings.data_dir.absolute() / "feeds",
    )


@asynccontextmanager
async def open_worker(settings: Settings, connections: Redis, services: Services) -> AsyncIterator[None]:
    """A worker in this process. Any number of them, in any number of processes, share the work."""
    async with (
        worker_runtime(settings, services) as runtime,
        running_worker(runtime, connections.connect, queue_name=QUEUE_NAME, function=FUNCTION),
    ):
        yield


def spare_collector() -> None:
    """Has cyclic garbage looked for less often, and never among what was there at start.

    Reading and matching make values by the hundred thousand, none of them cyclic. By CPython's defaults the collector
    walked them again and again: half of the time of a large match (bench/advisories.py).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def worker_limits(settings: Settings) -> WorkerLimits:
    return WorkerLimits(
        concurrency=settings.worker_concurrency,
        organization_limit=settings.organization_concurrency,
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.lease_seconds / 3,
        reconcile_seconds=settings.reconcile_seconds,
        scan_seconds=settings.scan_timeout_seconds,
        image=ImageLimits(total_bytes=settings.image_unpacked_bytes),
        analysis=SandboxLimits(
            memory_bytes=settings.analysis_memory_bytes, wall_seconds=settings.analysis_timeout_seconds
        ),
        engines=EngineLimits(
            concurrency=settings.engine_concurrency,
            seconds=settings.engine_timeout_seconds,
            memory_bytes=settings.engine_memory_bytes,
        ),
    )
