"""Durable work: who gets which job, for how long, and who may end it."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlmodel import col

from schema.jobs import repository
from schema.jobs.models import Job, JobKind, JobState
from schema.jobs.repository import Lease
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.outbox import OutboxMessage
from tests.identity import Identity

SECONDS = 30.0


class Desk:
    """Jobs of organizations, as workers and reconcilers see them."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.database = identity.database

    async def queue(self, organization_id: str, subject: str, *, priority: int = 0) -> str:
        """Each job is a second younger than the one before."""
        self.identity.clock.advance(seconds=1)
        async with self.database.write() as session:
            return await repository.queue_job(
                session,
                organization_id,
                kind=JobKind.SCAN,
                subject_id=subject,
                priority=priority,
                now=self.identity.clock(),
            )

    async def lease(
        self, owner: str = "worker-1", *, subject: str | None = None, limit: int | None = None
    ) -> Lease | None:
        async with self.database.write() as session:
            return await repository.lease_next(
                session, owner=owner, now=self.identity.clock(), seconds=SECONDS, limit=limit, subject_id=subject
            )

    async def leased(self, owner: str = "worker-1") -> Lease:
        lease = await self.lease(owner)
        assert lease is not None
        return lease

    async def renew(self, lease: Lease) -> repository.Renewal:
        async with self.database.write() as session:
            return await repository.renew(session, lease, now=self.identity.clock(), seconds=SECONDS)

    async def finish(self, lease: Lease, state: JobState = JobState.DONE) -> bool:
        async with self.database.write() as session:
            return await repository.finish(session, lease, state, now=self.identity.clock())

    async def hand_back(self, lease: Lease, *, attempted: bool = False) -> bool:
        async with self.database.write() as session:
            return await repository.hand_back(session, lease, attempted=attempted, now=self.identity.clock())

    async def requeue_orphans(self) -> tuple[int, list[repository.Orphan]]:
        async with self.database.write() as session:
            return await repository.requeue_orphans(session, now=self.identity.clock())

    async def job(self, subject: str) -> Job:
        async with self.database.read() as session:
            return (await session.execute(select(Job).where(col(Job.subject_id) == subject))).scalar_one()

    async def wake_ups(self) -> list[str]:
        """The jobs whose messages lie in the outbox, oldest message first."""
        async with self.database.read() as session:
            messages = await session.execute(select(OutboxMessage).order_by(col(OutboxMessage.id)))
            return [message.payload["jobId"] for message in messages.scalars()]


@pytest.fixture
async def desk(identity: Identity) -> Desk:
    return Desk(identity)


@pytest.fixture
async def acme(desk: Desk) -> str:
    return (await desk.identity.member()).organization_id


@pytest.fixture
async def umbrella(desk: Desk) -> str:
    return (await desk.identity.member(email="bob@umbrella.example")).organization_id


async def taken(desk: Desk, count: int) -> list[str]:
    """The subjects in the order in which a worker with many hands takes them."""
    return [(await desk.leased()).subject_id for _ in range(count)]


async def test_nothing_due_is_no_lease(desk: Desk) -> None:
    assert await desk.lease() is None


async def test_a_queued_job_comes_with_its_wake_up(desk: Desk, acme: str) -> None:
    job_id = await desk.queue(acme, "scn-1")

    assert await desk.wake_ups() == [job_id]


async def test_a_lease_says_all_a_worker_needs(desk: Desk, acme: str) -> None:
    job_id = await desk.queue(acme, "scn-1")

    lease = await desk.leased("worker-7")

    assert lease == Lease(
        job_id=job_id,
        organization_id=acme,
        kind=JobKind.SCAN,
        subject_id="scn-1",
        owner="worker-7",
        attempt=1,
        max_attempts=3,
    )
    job = await desk.job("scn-1")
    assert (job.state, job.lease_owner) == (JobState.RUNNING, "worker-7")
    assert job.lease_expires_at == desk.identity.clock() + timedelta(seconds=SECONDS)
    assert await desk.lease() is None, "a job is leased once"


async def test_higher_priority_runs_first_then_the_older(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "low", priority=-5)
    await desk.queue(acme, "older")
    await desk.queue(acme, "younger")
    await desk.queue(acme, "urgent", priority=10)

    assert await taken(desk, 4) == ["urgent", "older", "younger", "low"]


async def test_t107_a_flood_of_one_organization_waits_behind_itself(desk: Desk, acme: str, umbrella: str) -> None:
    """Ten times as many, of the highest priority: the other's next job starts as soon as a slot is free."""
    for number in range(20):
        await desk.queue(acme, f"flood-{number:02}", priority=10)
    for number in range(2):
        await desk.queue(umbrella, f"other-{number}", priority=-10)

    # Two jobs at a time, as one worker has them: whenever one ends, the next is taken.
    running = [await desk.leased(), await desk.leased()]
    order = [lease.subject_id for lease in running]
    for _ in range(4):
        await desk.finish(running.pop(0))
        running.append(await desk.leased())
        order.append(running[-1].subject_id)

    assert order == ["flood-00", "other-0", "flood-01", "other-1", "flood-02", "flood-03"]


async def test_t107_who_comes_during_a_flood_is_next(desk: Desk, acme: str, umbrella: str) -> None:
    for number in range(10):
        await desk.queue(acme, f"flood-{number}", priority=10)
    running = [await desk.leased() for _ in range(4)]
    await desk.queue(umbrella, "other")

    await desk.finish(running[0])

    assert (await desk.leased()).subject_id == "other"


async def test_who_was_served_longest_ago_is_next(desk: Desk, acme: str, umbrella: str) -> None:
    """One slot in all: nobody runs anything when it is free, so only turns can be fair."""
    for number in range(4):
        await desk.queue(acme, f"flood-{number}")
    order = []
    for number in range(4):
        if number in {1, 2}:
            await desk.queue(umbrella, f"other-{number}")
        desk.identity.clock.advance(seconds=1)
        lease = await desk.leased()
        order.append(lease.subject_id)
        await desk.finish(lease)

    assert order == ["flood-0", "other-1", "flood-1", "other-2"]


async def test_an_organization_at_its_limit_has_no_turn(desk: Desk, acme: str, umbrella: str) -> None:
    for number in range(3):
        await desk.queue(acme, f"acme-{number}")
    await desk.queue(umbrella, "umbrella-0")

    first = [await desk.lease(limit=2) for _ in range(4)]

    assert sorted(lease.subject_id for lease in first if lease) == ["acme-0", "acme-1", "umbrella-0"]
    assert first[-1] is None
    ended = next(lease for lease in first if lease and lease.organization_id == acme)
    await desk.finish(ended)
    last = await desk.lease(limit=2)
    assert last is not None
    assert last.subject_id == "acme-2"


@dataclass
class Queue:
    """The rules of leasing, as simply as they can be said."""

    queued: list[tuple[str, int, int]] = field(default_factory=list)  # organization, priority, number
    running: list[tuple[str, int]] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)

    def lease(self, now: int, limit: int | None) -> int | None:
        busy = Counter(organization for organization, _ in self.running)
        turns = [each for each in self.queued if limit is None or busy[each[0]] < limit]
        if not turns:
            return None
        chosen = min(turns, key=lambda job: (busy[job[0]], self.served.get(job[0], -1), job[0], -job[1], job[2]))
        self.queued.remove(chosen)
        self.running.append((chosen[0], chosen[2]))
        self.served[chosen[0]] = now
        return chosen[2]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("queue"), st.integers(0, 2), st.integers(-1, 1)),
        st.tuples(st.just("lease"), st.none() | st.integers(1, 2), st.none()),
        st.tuples(st.just("finish"), st.integers(0, 5), st.none()),
        st.tuples(st.just("hand back"), st.integers(0, 5), st.none()),
    ),
    max_size=25,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_the_order_is_that_of_the_rules(desk: Desk, steps: list[tuple[str, Any, Any]]) -> None:
    organizations = sorted(
        [(await desk.identity.member(email=f"{new_id(IdPrefix.USER)}@x.example")).organization_id for _ in range(3)]
    )
    async with desk.database.write() as session:
        await session.execute(delete(Job))
    rules, leases, subjects = Queue(), dict[int, Lease](), dict[str, int]()
    for now, (step, number, priority) in enumerate(steps):
        desk.identity.clock.advance(seconds=1)
        if step == "queue":
            subject = new_id(IdPrefix.SCAN)
            await desk.queue(organizations[number], subject, priority=priority)
            rules.queued.append((organizations[number], priority, now))
            subjects[subject] = now
        elif step == "lease":
            lease = await desk.lease(limit=number)
            expected = rules.lease(now, number)
            assert (None if lease is None else subjects[lease.subject_id]) == expected
            if lease is not None:
                leases[subjects[lease.subject_id]] = lease
        elif rules.running:
            organization, job = rules.running.pop(number % len(rules.running))
            if step == "finish":
                assert await desk.finish(leases[job])
            else:
                assert await desk.hand_back(leases[job])
                rules.queued.append((organization, (await desk.job(leases[job].subject_id)).priority, job))


async def test_a_worker_may_take_a_certain_job_only(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1", priority=10)
    await desk.queue(acme, "scn-2")

    lease = await desk.lease(subject="scn-2")

    assert lease is not None
    assert lease.subject_id == "scn-2"
    assert await desk.lease(subject="scn-2") is None


async def test_workers_at_once_never_get_the_same_job(desk: Desk, acme: str, umbrella: str) -> None:
    for number in range(12):
        await desk.queue(acme if number % 3 else umbrella, f"scn-{number}")

    leases = await asyncio.gather(*(desk.lease(f"worker-{number}") for number in range(16)))

    subjects = [lease.subject_id for lease in leases if lease is not None]
    assert sorted(subjects) == sorted(f"scn-{number}" for number in range(12)), "each once, and none is left"


async def test_workers_at_once_are_fair_and_keep_to_the_limit(desk: Desk, acme: str, umbrella: str) -> None:
    for number in range(12):
        await desk.queue(acme, f"acme-{number}")
    for number in range(2):
        await desk.queue(umbrella, f"umbrella-{number}")

    leases = await asyncio.gather(*(desk.lease(f"worker-{number}", limit=3) for number in range(8)))

    taken = Counter(lease.organization_id for lease in leases if lease is not None)
    assert taken == {acme: 3, umbrella: 2}


async def test_a_job_that_is_just_being_cancelled_holds_nobody_up(desk: Desk, acme: str) -> None:
    """Its row is locked on PostgreSQL; on SQLite the cancellation is over before anybody looks."""
    await desk.queue(acme, "scn-1")
    await desk.queue(acme, "scn-2")
    if desk.database.is_sqlite:
        await cancel(desk, acme, "scn-1")
        assert (await desk.leased()).subject_id == "scn-2"
        return
    async with desk.database.write() as session:
        await repository.request_cancel(session, acme, "scn-1", now=desk.identity.clock())
        assert (await desk.leased()).subject_id == "scn-2"


async def test_renewing_moves_the_expiry(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")
    lease = await desk.leased()
    desk.identity.clock.advance(seconds=20)

    assert await desk.renew(lease) == repository.Renewal(held=True, cancel_requested=False)

    expires = (await desk.job("scn-1")).lease_expires_at
    assert expires == desk.identity.clock() + timedelta(seconds=SECONDS)


@pytest.mark.parametrize("thief", ["another worker", "the same worker again"])
async def test_who_lost_the_lease_changes_nothing_any_more(desk: Desk, acme: str, thief: str) -> None:
    """Fenced by owner and attempt: a worker that slept through its lease cannot disturb the next one's work."""
    await desk.queue(acme, "scn-1")
    stale = await desk.leased("worker-1")
    desk.identity.clock.advance(seconds=SECONDS + 1)
    assert await desk.requeue_orphans() == (1, [])
    current = await desk.leased("worker-2" if thief == "another worker" else "worker-1")
    before = (await desk.job("scn-1")).model_dump()

    assert (await desk.renew(stale)).held is False
    assert await desk.finish(stale) is False
    assert await desk.hand_back(stale) is False

    assert (await desk.job("scn-1")).model_dump() == before
    assert (await desk.renew(current)).held


async def test_an_expired_lease_nobody_took_is_still_held(desk: Desk, acme: str) -> None:
    """Late is not lost: until the reconciler has queued the job again its worker may finish it."""
    await desk.queue(acme, "scn-1")
    lease = await desk.leased()
    desk.identity.clock.advance(hours=1)

    assert await desk.finish(lease)


@pytest.mark.parametrize("state", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
async def test_a_job_is_finished_once(desk: Desk, acme: str, state: JobState) -> None:
    await desk.queue(acme, "scn-1")
    lease = await desk.leased()

    assert await desk.finish(lease, state)

    job = await desk.job("scn-1")
    assert (job.state, job.lease_owner, job.lease_expires_at) == (state, None, None)
    assert job.finished_at == desk.identity.clock()
    assert await desk.finish(lease) is False
    assert await desk.lease() is None


@pytest.mark.parametrize(("attempted", "next_attempt"), [(True, 2), (False, 1)])
async def test_a_job_handed_back_is_due_again(desk: Desk, acme: str, *, attempted: bool, next_attempt: int) -> None:
    job_id = await desk.queue(acme, "scn-1")
    lease = await desk.leased()

    assert await desk.hand_back(lease, attempted=attempted)

    assert await desk.wake_ups() == [job_id, job_id], "another worker is woken at once"
    again = await desk.leased("worker-2")
    assert again.attempt == next_attempt


async def test_a_live_lease_is_no_orphan(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")
    await desk.leased()
    desk.identity.clock.advance(seconds=SECONDS - 1)

    assert await desk.requeue_orphans() == (0, [])


async def test_an_orphan_is_queued_again_until_its_attempts_are_used_up(desk: Desk, acme: str) -> None:
    job_id = await desk.queue(acme, "scn-1")
    for attempt in (1, 2):
        assert (await desk.leased()).attempt == attempt
        desk.identity.clock.advance(seconds=SECONDS + 1)
        assert await desk.requeue_orphans() == (1, [])
        assert len(await desk.wake_ups()) == attempt + 1
    assert (await desk.leased()).attempt == 3
    desk.identity.clock.advance(seconds=SECONDS + 1)

    requeued, lost = await desk.requeue_orphans()

    assert requeued == 0
    assert lost == [
        repository.Orphan(job_id=job_id, organization_id=acme, kind=JobKind.SCAN, subject_id="scn-1"),
    ]
    assert (await desk.job("scn-1")).state is JobState.FAILED
    assert await desk.requeue_orphans() == (0, []), "a lost job is reported once"


async def test_running_without_an_expiry_is_an_orphan(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")
    await desk.leased()
    async with desk.database.write() as session:
        await session.execute(update(Job).values(lease_expires_at=None))

    assert await desk.requeue_orphans() == (1, [])


async def test_reconcilers_at_once_queue_an_orphan_once(desk: Desk, acme: str) -> None:
    for number in range(5):
        await desk.queue(acme, f"scn-{number}")
        await desk.leased()
    desk.identity.clock.advance(seconds=SECONDS + 1)

    passes = await asyncio.gather(*(desk.requeue_orphans() for _ in range(4)))

    assert sum(requeued for requeued, _ in passes) == 5


async def cancel(desk: Desk, organization_id: str, subject: str) -> JobState:
    async with desk.database.write() as session:
        return await repository.request_cancel(session, organization_id, subject, now=desk.identity.clock())


async def test_a_queued_job_is_cancelled_on_the_spot(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")

    assert await cancel(desk, acme, "scn-1") is JobState.CANCELLED

    assert (await desk.job("scn-1")).finished_at == desk.identity.clock()
    assert await desk.lease() is None


async def test_the_worker_of_a_running_job_is_asked(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")
    lease = await desk.leased()
    async with desk.database.read() as session:
        assert await repository.cancel_requested(session, lease) is False

    assert await cancel(desk, acme, "scn-1") is JobState.RUNNING

    async with desk.database.read() as session:
        assert await repository.cancel_requested(session, lease)
    assert await desk.renew(lease) == repository.Renewal(held=True, cancel_requested=True)
    assert await desk.finish(lease, JobState.CANCELLED)


async def test_a_cancellation_outlives_the_worker_that_was_asked(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")
    await desk.leased()
    await cancel(desk, acme, "scn-1")
    desk.identity.clock.advance(seconds=SECONDS + 1)
    await desk.requeue_orphans()

    assert (await desk.renew(await desk.leased("worker-2"))).cancel_requested


async def test_what_has_ended_stays_as_it_ended(desk: Desk, acme: str) -> None:
    await desk.queue(acme, "scn-1")
    await desk.finish(await desk.leased())

    assert await cancel(desk, acme, "scn-1") is JobState.DONE


async def test_nobody_cancels_the_job_of_another_organization(desk: Desk, acme: str, umbrella: str) -> None:
    await desk.queue(acme, "scn-1")

    with pytest.raises(Exception, match="No row was found"):
        await cancel(desk, umbrella, "scn-1")

    assert (await desk.job("scn-1")).state is JobState.QUEUED


async def test_jobs_are_counted_by_state(desk: Desk, acme: str, umbrella: str) -> None:
    await desk.queue(acme, "scn-1")
    await desk.queue(acme, "scn-2")
    await desk.queue(umbrella, "scn-3")
    await desk.finish(await desk.leased())

    async with desk.database.read() as session:
        assert await repository.count_by_state(session) == {JobState.QUEUED: 2, JobState.DONE: 1}
