"""All SQL of durable work: queueing, leasing, renewing, finishing, and finding what a dead worker left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlmodel import col

from schema.jobs.models import Job, JobKind, JobState
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.outbox import JOB_QUEUED, post
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A job in a worker's hands."""

    job_id: str
    organization_id: str
    kind: JobKind
    subject_id: str
    owner: str
    attempt: int
    max_attempts: int


async def queue_job(
    session: AsyncSession,
    organization_id: str,
    *,
    kind: JobKind,
    subject_id: str,
    priority: int,
    now: datetime,
) -> str:
    """Stores the job and the message that wakes a worker, in the caller's transaction."""
    job_id = new_id(IdPrefix.JOB)
    await session.execute(
        insert(Job).values(
            id=job_id,
            organization_id=organization_id,
            kind=kind,
            subject_id=subject_id,
            state=JobState.QUEUED,
            priority=priority,
            created_at=now,
        )
    )
    await post(session, JOB_QUEUED, {"jobId": job_id}, now=now)
    return job_id


async def queue_job_once(
    session: AsyncSession, organization_id: str, *, kind: JobKind, subject_id: str, priority: int, now: datetime
) -> bool:
    """The same for a subject that may have its job already, whatever became of it. Returns whether it is new."""
    job_id = new_id(IdPrefix.JOB)
    values = {
        "id": job_id,
        "organization_id": organization_id,
        "kind": kind,
        "subject_id": subject_id,
        "state": JobState.QUEUED,
        "priority": priority,
        "created_at": now,
    }
    is_new = await insert_missing(session, Job, values, unique=("kind", "subject_id")) > 0
    if is_new:
        await post(session, JOB_QUEUED, {"jobId": job_id}, now=now)
    return is_new


async def lease_next(
    session: AsyncSession, *, owner: str, now: datetime, seconds: float, subject_id: str | None = None
) -> Lease | None:
    """Takes the job that is due next, with one statement, so that two workers never hold the same one.

    Order: higher priority, then the organization with fewer jobs running, then the older job. That is the fair share: a
    flood of one organization waits behind itself, not in front of the others. With `subject_id` only that one's job.
    """
    running = aliased(Job)
    busy = (
        select(func.count())
        .where(
            across_tenants(running, because="fair share compares organizations"),
            running.organization_id == col(Job.organization_id),  # type: ignore[arg-type]
            running.state == JobState.RUNNING,  # type: ignore[arg-type]
        )
        .correlate(Job)
        .scalar_subquery()
    )
    due = (
        select(col(Job.id))
        .where(
            across_tenants(Job, because="workers serve everybody"),
            col(Job.state) == JobState.QUEUED,
            true() if subject_id is None else col(Job.subject_id) == subject_id,
        )
        .order_by(col(Job.priority).desc(), busy, col(Job.created_at), col(Job.id))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    statement = (
        update(Job)
        .where(
            across_tenants(Job, because="workers serve everybody"),
            col(Job.id) == due,
            col(Job.state) == JobState.QUEUED,
        )
        .values(
            state=JobState.RUNNING,
            lease_owner=owner,
            lease_expires_at=now + timedelta(seconds=seconds),
            attempt=col(Job.attempt) + 1,
        )
        .returning(
            col(Job.id),
            col(Job.organization_id),
            col(Job.kind),
            col(Job.subject_id),
            col(Job.attempt),
            col(Job.max_attempts),
        )
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    return Lease(
        job_id=row.id,
        organization_id=row.organization_id,
        kind=row.kind,
        subject_id=row.subject_id,
        owner=owner,
        attempt=row.attempt,
        max_attempts=row.max_attempts,
    )


def _held(lease: Lease) -> tuple[object, ...]:
    return (
        tenant(Job, lease.organization_id),
        col(Job.id) == lease.job_id,
        col(Job.state) == JobState.RUNNING,
        col(Job.lease_owner) == lease.owner,
        col(Job.attempt) == lease.attempt,
    )


@dataclass(frozen=True, slots=True)
class Renewal:
    held: bool
    cancel_requested: bool


async def renew(session: AsyncSession, lease: Lease, *, now: datetime, seconds: float) -> Renewal:
    """Moves the expiry on. `held` is False when another worker took over: stop at once and write nothing more."""
    statement = (
        update(Job)
        .where(*_held(lease))  # type: ignore[arg-type]
        .values(lease_expires_at=now + timedelta(seconds=seconds))
        .returning(col(Job.cancel_requested))
    )
    cancel_requested = (await session.execute(statement)).scalar_one_or_none()
    return Renewal(cancel_requested is not None, bool(cancel_requested))


async def cancel_requested(session: AsyncSession, lease: Lease) -> bool:
    """Whether somebody asked to stop this job. A read, so that a worker can look at every signal."""
    statement = select(col(Job.cancel_requested)).where(tenant(Job, lease.organization_id), col(Job.id) == lease.job_id)
    return bool((await session.execute(statement)).scalar_one_or_none())


async def finish(session: AsyncSession, lease: Lease, state: JobState, *, now: datetime) -> bool:
    """Ends the job in the caller's transaction. False when the lease was lost: the caller must roll back."""
    statement = (
        update(Job)
        .where(*_held(lease))  # type: ignore[arg-type]
        .values(state=state, lease_owner=None, lease_expires_at=None, finished_at=now)
        .returning(col(Job.id))
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def hand_back(session: AsyncSession, lease: Lease, *, attempted: bool, now: datetime) -> bool:
    """Queues the job again. `attempted` False gives the attempt back, as a worker that stops in good order does."""
    statement = (
        update(Job)
        .where(*_held(lease))  # type: ignore[arg-type]
        .values(state=JobState.QUEUED, lease_owner=None, lease_expires_at=None, attempt=lease.attempt - (not attempted))
        .returning(col(Job.id))
    )
    returned = (await session.execute(statement)).scalar_one_or_none() is not None
    if returned:
        await post(session, JOB_QUEUED, {"jobId": lease.job_id}, now=now)
    return returned


async def request_cancel(session: AsyncSession, organization_id: str, subject_id: str, *, now: datetime) -> JobState:
    """Cancels a queued job on the spot and asks the worker of a running one. Returns the job's state afterwards."""
    mine = (tenant(Job, organization_id), col(Job.subject_id) == subject_id)
    await session.execute(
        update(Job).where(*mine, col(Job.state) == JobState.QUEUED).values(state=JobState.CANCELLED, finished_at=now)
    )
    await session.execute(update(Job).where(*mine, col(Job.state) == JobState.RUNNING).values(cancel_requested=True))
    return (await session.execute(select(col(Job.state)).where(*mine))).scalar_one()


@dataclass(frozen=True, slots=True)
class Orphan:
    """A job whose worker is gone and whose attempts are used up."""

    job_id: str
    organization_id: str
    kind: JobKind
    subject_id: str


async def requeue_orphans(session: AsyncSession, *, now: datetime) -> tuple[int, list[Orphan]]:
    """Queues jobs again whose lease ran out, and returns (how many, those out of attempts, now FAILED)."""
    everybody = across_tenants(Job, because="the reconciler serves everybody")
    expired = and_(
        everybody,
        col(Job.state) == JobState.RUNNING,
        or_(col(Job.lease_expires_at).is_(None), col(Job.lease_expires_at) < now),
    )
    lost = (
        update(Job)
        .where(expired, col(Job.attempt) >= col(Job.max_attempts))
        .values(state=JobState.FAILED, lease_owner=None, lease_expires_at=None, finished_at=now)
        .returning(col(Job.id), col(Job.organization_id), col(Job.kind), col(Job.subject_id))
    )
    orphans = [Orphan(*row) for row in (await session.execute(lost)).all()]
    again = (
        update(Job)
        .where(expired)
        .values(state=JobState.QUEUED, lease_owner=None, lease_expires_at=None)
        .returning(col(Job.id))
    )
    requeued = (await session.execute(again)).scalars().all()
    for job_id in requeued:
        await post(session, JOB_QUEUED, {"jobId": job_id}, now=now)
    return len(requeued), orphans


async def count_by_state(session: AsyncSession) -> dict[JobState, int]:
    """For metrics."""
    statement = (
        select(col(Job.state), func.count())
        .where(across_tenants(Job, because="metrics carry no tenant"))
        .group_by(col(Job.state))
    )
    return {state: count for state, count in (await session.execute(statement)).all()}  # noqa: C416 -- a Row is no tuple to mypy
