"""All SQL of durable work: queueing, leasing, renewing, finishing, and finding what a dead worker left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    String,
    and_,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    type_coerce,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate
from sqlmodel import col

from schema.jobs.models import HAS_ENDED, IS_DUE, IS_RUNNING, WAS_LEASED, Job, JobKind, JobState
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.outbox import JOB_QUEUED, post
from schema.kernel.parameters import parameter
from schema.kernel.tenancy import across_tenants, tenant
from schema.kernel.upsert import insert_missing

_LEASING = 0x6C65617365  # "lease", the key of PostgreSQL's advisory lock
_LEASING_MS = 5_000  # the longest that a worker may stand still while it has that lock


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


def _whose_turn(limit: int | None) -> CTE:
    """Of the organizations with jobs that are due, the one that comes next, and the highest priority among its jobs.

    Their names are found by one look into the partial index each, however many jobs they have queued.
    """
    everybody = across_tenants(Job, because="fair share compares organizations")
    organization = col(Job.organization_id)
    due = select(func.min(organization).label("id")).where(everybody, IS_DUE).cte("due", recursive=True)
    following = select(func.min(organization)).where(everybody, IS_DUE, organization > due.c.id).scalar_subquery()
    due = due.union_all(select(following).where(due.c.id.is_not(None)))
    theirs = aliased(Job)
    owned = (
        across_tenants(theirs, because="fair share compares organizations"),
        col(theirs.organization_id) == due.c.id,
    )
    running = select(func.count()).where(*owned, IS_RUNNING).correlate(due).scalar_subquery()
    served = select(func.max(col(theirs.leased_at))).where(*owned, WAS_LEASED).correlate(due).scalar_subquery()
    highest = select(func.max(col(theirs.priority))).where(*owned, IS_DUE).correlate(due).scalar_subquery()
    return (
        select(due.c.id, highest.label("priority"))
        .where(due.c.id.is_not(None), true() if limit is None else running < limit)
        .order_by(running, served.nulls_first(), due.c.id)
        .limit(1)
        .cte("turn")
    )


@cache
def _taking(limit: int | None, *, one: bool) -> ReturningUpdate[str, str, JobKind, str, int, int]:
    """The statement of a lease: of the next job of whose turn it is, or of the subject's that is named."""
    everybody = across_tenants(Job, because="workers serve everybody")
    if one:
        wanted: ColumnElement[bool] = col(Job.subject_id) == parameter("subject")
    else:
        turn = _whose_turn(limit)
        wanted = and_(
            col(Job.organization_id) == select(turn.c.id).scalar_subquery(),
            col(Job.priority) == select(turn.c.priority).scalar_subquery(),
        )
    due = (
        select(col(Job.id))
        .where(everybody, IS_DUE, wanted)
        .order_by(col(Job.created_at), col(Job.id))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return (
        update(Job)
        .where(everybody, col(Job.id) == due, col(Job.state) == JobState.QUEUED)
        .values(
            state=JobState.RUNNING,
            leased_at=parameter("now"),
            lease_owner=parameter("owner"),
            lease_expires_at=parameter("expires"),
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


async def _one_at_a_time(session: AsyncSession) -> None:
    """Whoever leases sees what everybody leased before, or two would give the same organization their turns.

    SQLite has one writer anyway. A worker that stands still in the middle is ended by the server, and its lock with it.
    """
    if session.get_bind().dialect.name == "postgresql":
        await session.execute(
            select(
                func.set_config("idle_in_transaction_session_timeout", f"{_LEASING_MS}", true()),
                func.pg_advisory_xact_lock(_LEASING),
            )
        )


async def lease_next(
    session: AsyncSession,
    *,
    owner: str,
    now: datetime,
    seconds: float,
    limit: int | None = None,
    subject_id: str | None = None,
) -> Lease | None:
    """Takes the job that is due next, so that two workers never hold the same one. Commit at once: leasing is in turns.

    It is the turn of the organization with the fewest jobs running, of several the one that was served longest ago; one
    that has `limit` jobs running has no turn. That is the fair share: a flood of one organization, whatever its priority,
    waits behind itself, not in front of the others. Within an organization higher priority comes first, then the older
    job. With `subject_id` only that one's job, now.
    """
    if subject_id is None:
        await _one_at_a_time(session)
    given = {"owner": owner, "now": now, "expires": now + timedelta(seconds=seconds), "subject": subject_id}
    row = (await session.execute(_taking(limit, one=subject_id is not None), given)).one_or_none()
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


def stopping(subject_id: str) -> str:
    """What to signal once a cancellation is requested, and what only the subject's worker listens to."""
    return f"stopping:{subject_id}"


async def cancel_requested(session: AsyncSession, lease: Lease) -> bool:
    """Whether somebody asked to stop this job. A read, so that a worker can look often."""
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


async def cancel_queued(
    session: AsyncSession, organization_id: str, subjects: Select[str], *, now: datetime
) -> list[str]:
    """Cancels on the spot what nobody has taken yet, in one statement. Returns the subjects of those jobs."""
    statement = (
        update(Job)
        .where(tenant(Job, organization_id), IS_DUE, col(Job.subject_id).in_(subjects))
        .values(state=JobState.CANCELLED, finished_at=now)
        .returning(col(Job.subject_id))
    )
    return list((await session.execute(statement)).scalars())


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
        IS_RUNNING,
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
    """For metrics, from indexes alone."""
    everybody = across_tenants(Job, because="metrics carry no tenant")
    state = type_coerce(col(Job.state), String)
    counts = union_all(
        *(
            select(literal(state.value), func.count()).select_from(Job).where(everybody, condition)
            for state, condition in ((JobState.QUEUED, IS_DUE), (JobState.RUNNING, IS_RUNNING))
        ),
        select(state, func.count()).where(everybody, HAS_ENDED).group_by(state),
    )
    return {JobState(state): count for state, count in (await session.execute(counts)).all() if count}
