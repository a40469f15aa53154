"""Finds what a crash, a flushed queue or a lost message left behind, every few seconds and at start.

Any number of processes may run it: each step is one statement that only touches what is still due.
"""

from __future__ import annotations

import asyncio

import structlog

from schema.advisories.repository import generations
from schema.attestations.lifecycle import expire_attestations
from schema.cves.repository import queue_reviews, state_of_knowledge
from schema.jobs import repository
from schema.jobs.models import JobKind
from schema.kernel.errors import HarborGuardError
from schema.kernel.idempotency import forget_expired
from schema.posture.repository import organizations_to_take, take
from schema.registries import lifecycle as syncs
from schema.registries.events.repository import forget_old
from schema.registries.scheduling import due_registries, fire
from schema.scans import lifecycle
from schema.scans.batches.repository import change_batch
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.rematching import queue_rematches
from schema.sensors.watching import watch_sensors
from schema.triage.ruling import expire_rules
from schema.vulnerabilities.announcing import announce_deadlines, organizations_with_news
from workers.recall import advisory_key
from workers.runner import JobRunner
from workers.runtime import WorkerRuntime

log = structlog.get_logger(__name__)


async def reconcile_forever(runtime: WorkerRuntime, runner: JobRunner) -> None:
    judged_with = weighed_with = None
    while True:
        try:
            await reconcile(runtime, runner)
            await run_schedules(runtime)
            await keep_time(runtime)
            judged_with = await rematch_if_switched(runtime, judged_with)
            weighed_with = await review_if_more_is_known(runtime, weighed_with)
        except HarborGuardError as error:
            log.warning("reconciler.postponed", error=error.message)
        except Exception:
            # Whatever it was, the next pass has to come: nobody else finds what was left behind.
            log.exception("reconciler.failed")
        await asyncio.sleep(runtime.limits.reconcile_seconds)


async def run_schedules(runtime: WorkerRuntime) -> None:
    """Queues what is due of each registry, in a transaction of its own."""
    services = runtime.services
    async with services.database.read() as session:
        due = await due_registries(session, now=services.clock())
    for registry in due:
        async with services.database.write() as session:
            await fire(session, registry, now=services.clock())
    if due:
        await services.relay.drain_quietly()


async def keep_time(runtime: WorkerRuntime) -> None:
    """What happens because time passes: attestations and triage rules end, deadlines pass, days do.

    Each organization has a transaction of its own, so that nobody waits for all of them.
    """
    services = runtime.services
    now = services.clock()
    async with services.database.write() as session:
        ended = await expire_attestations(session, now=now) + await expire_rules(session, now=now)
    if ended:
        log.info("reconciler.ended", exceptions_and_rules=ended)
    async with services.database.read() as session:
        pressed = await organizations_with_news(session, now=now)
        days = await organizations_to_take(session, now=now)
    for organization_id in pressed:
        async with services.database.write() as session:
            announced = await announce_deadlines(session, organization_id, now=now)
        log.info("reconciler.deadlines", announced=announced)
    for organization_id in days:
        async with services.database.write() as session:
            await take(session, organization_id, now=now)


async def rematch_if_switched(runtime: WorkerRuntime, judged_with: str | None) -> str:
    """Has scans judged again if the advisories are not those of the last look. Returns the state they are in."""
    services = runtime.services
    async with services.database.read() as session:
        key = advisory_key(await generations(session))
    if key != judged_with:
        async with services.database.write() as session:
            queued = await queue_rematches(session, key, now=services.clock())
        if queued:
            await services.relay.drain_quietly()
    return key


async def review_if_more_is_known(runtime: WorkerRuntime, weighed_with: str | None) -> str:
    """Has verdicts weighed again if more is known of CVEs than at the last look. Returns the state of what is known."""
    services = runtime.services
    async with services.database.read() as session:
        state = await state_of_knowledge(session)
    if state not in {"", weighed_with}:
        async with services.database.write() as session:
            queued = await queue_reviews(session, state, now=services.clock())
        if queued:
            await services.relay.drain_quietly()
    return state


async def reconcile(runtime: WorkerRuntime, runner: JobRunner) -> None:
    """One pass: orphaned jobs, silent sensors, expired idempotency keys and events, undelivered messages, jobs nobody was
    woken for.
    """
    services = runtime.services
    now = services.clock()
    async with services.database.write() as session:
        requeued, lost = await repository.requeue_orphans(session, now=now)
        reason = "The worker died on every attempt, most likely out of memory or killed; see the server's log"
        for orphan in lost:
            if orphan.kind is JobKind.SYNC:
                await syncs.end_failed(session, orphan.organization_id, orphan.subject_id, reason, now=now)
            if orphan.kind is JobKind.BATCH:
                await change_batch(session, orphan.organization_id, orphan.subject_id, message=reason)
            if orphan.kind is not JobKind.SCAN:
                continue
            await lifecycle.end_failed(
                session,
                orphan.organization_id,
                orphan.subject_id,
                ScanFailure(FailureCode.INTERRUPTED, reason),
                now=now,
            )
        changed = [*(orphan.subject_id for orphan in lost), *await watch_sensors(session, now=now)]
        await forget_expired(session, now=now)
        await forget_old(session, now=now)
    if requeued or lost:
        log.warning("reconciler.orphans", requeued=requeued, failed=len(lost))
    for subject_id in changed:
        await services.signals.send(subject_id)
    await services.relay.drain_quietly()
    # Also looks for jobs whose wake-up was lost; with nothing due that is one short statement.
    runner.wake()
