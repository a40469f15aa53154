"""Keeping the catalogue in step with a registry: what is there, what a tag points to now, what is gone.

One pass lists all repositories, then goes through them in the order of their names. Each batch of tags is a transaction
that also renews the lease, so a worker that dies leaves whole batches behind and the next goes on where it was; what has
not changed is read and never written. Only what was listed to its end can be missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncSession

from schema.images import cataloguing
from schema.images.cataloguing import KnownTag, SeenTag, TagChanges
from schema.images.repository import count_tags, file_image
from schema.jobs import repository as jobs
from schema.jobs.models import JobState
from schema.jobs.repository import Lease
from schema.kernel.principal import system_principal
from schema.kernel.upsert import batches
from schema.registries import lifecycle
from schema.registries.lifecycle import SyncStart
from schema.registries.models import Registry, Schedule
from schema.registries.repository import open_registry
from schema.registries.rules import eligible
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.unasked import scan_tags
from workers.leases import LeaseLostError
from workers.oci.client import PATIENCE, Patience
from workers.oci.listing import LISTING_LIMITS, Catalogue, ListedTag, ListingLimits, resolve
from workers.oci.providers import open_catalogue
from workers.runtime import WorkerRuntime

SYNC_SECONDS = 4 * 3600.0  # a whole pass
_ASKED_AT_ONCE = 8  # tags
_SCANNED_AT_ONCE = 50  # tags of a transaction that also queues their scans
_TELL_SECONDS = 1.0  # between two notes of how far it is
_TROUBLES = 5  # in a row, after which a registry is given up
_NOTED = 3  # reasons in the message of what was left out
# Of a registry that may answer the next question, or may be gone: a few of them end the pass.
_TROUBLE = frozenset({FailureCode.REGISTRY_UNREACHABLE, FailureCode.ADDRESS_BLOCKED})


async def perform_sync(lease: Lease, runtime: WorkerRuntime, _scratch: Path) -> None:
    """Raises ScanFailure with the reason a person understands, LeaseLostError when the job is no longer ours."""
    await sync(lease, runtime)


async def sync(
    lease: Lease,
    runtime: WorkerRuntime,
    *,
    patience: Patience = PATIENCE,
    limits: ListingLimits = LISTING_LIMITS,
    seconds: float = SYNC_SECONDS,
) -> None:
    try:
        async with asyncio.timeout(seconds) as limit:
            await _Pass(lease, runtime, patience, limits).perform()
    except _GivenUpError as error:
        raise error.failure from None
    except TimeoutError:
        if not limit.expired():
            raise  # something else took too long
        message = f"Listing the registry took longer than {int(seconds)} seconds; narrow it down to a namespace"
        raise ScanFailure(FailureCode.LIMIT_EXCEEDED, message) from None


class _GivenUpError(Exception):
    """The registry has not answered for a while."""

    def __init__(self, failure: ScanFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _LeftOut:
    """What could not be looked at, and why, in a few words."""

    def __init__(self) -> None:
        self.count = 0
        self.first: ScanFailure | None = None
        self._reasons: dict[str, None] = {}

    def add(self, failure: ScanFailure) -> None:
        self.count += 1
        self.first = self.first or failure
        if len(self._reasons) < _NOTED:
            self._reasons[failure.message] = None

    @property
    def message(self) -> str | None:
        if not self.count:
            return None
        return f"{self.count} could not be looked at: {'; '.join(self._reasons)}"


class _Pass:
    """One attempt at one pass."""

    def __init__(self, lease: Lease, runtime: WorkerRuntime, patience: Patience, limits: ListingLimits) -> None:
        self._lease = lease
        self._organization_id = lease.organization_id
        self._sync_id = lease.subject_id
        self._runtime = runtime
        self._services = runtime.services
        self._patience = patience
        self._limits = limits
        self._left_out = _LeftOut()
        self._troubles = 0
        self._listed = 0  # repositories whose tags were listed
        self._done = 0  # since it was last told
        self._found = 0
        self._told_at = 0.0
        self._registry: Registry
        self._catalogue: Catalogue

    async def perform(self) -> None:
        start = await self._begin()
        if start is None:
            return
        self._registry = start.registry
        async with self._services.database.read() as session:
            access = await open_registry(session, self._organization_id, start.registry.id, self._services.keys)
        self._catalogue = await open_catalogue(
            access,
            http=self._runtime.http,
            clock=self._services.clock,
            patience=self._patience,
            limits=self._limits,
        )
        repositories, is_whole = await self._list_repositories()
        after = start.sync.position or ""
        for repository in repositories:
            if repository > after:
                await self._visit(repository)
        if self._left_out.first is not None and not self._listed and repositories and not after:
            raise self._left_out.first
        if is_whole:
            await self._miss_images(repositories)
        await self._end()

    async def _begin(self) -> SyncStart | None:
        async with self._write() as session:
            start = await lifecycle.begin_sync(
                session, self._organization_id, self._sync_id, now=self._services.clock()
            )
            if start is None and not await jobs.finish(
                session, self._lease, JobState.CANCELLED, now=self._services.clock()
            ):
                raise LeaseLostError
        await self._signal()
        return start

    async def _list_repositories(self) -> tuple[list[str], bool]:
        """In order, and whether these are all."""
        found: set[str] = set()
        is_whole = True
        try:
            async for page in self._catalogue.list_repositories():
                found.update(page)
        except ScanFailure as failure:
            if failure.code is not FailureCode.LIMIT_EXCEEDED:
                raise
            self._left_out.add(failure)
            is_whole = False
        async with self._write() as session:
            await lifecycle.change_sync(session, self._organization_id, self._sync_id, repositories_found=len(found))
        await self._signal()
        return sorted(found), is_whole

    # One repository

    async def _visit(self, repository: str) -> None:
        name = f"{self._registry.host}/{repository}"
        async with self._services.database.read() as session:
            image = await cataloguing.find_image(session, self._organization_id, name)
        image_id = image[0] if image is not None else None
        if image is not None and (image[1] is None or image[2]):
            async with self._write() as session:
                await cataloguing.find_again(session, self._organization_id, image[0], registry_id=self._registry.id)
        listed: set[str] = set()
        changed, is_whole = False, True
        try:
            async for page in self._catalogue.list_tags(repository):
                for batch in batches([tag for tag in page if tag.name not in listed]):
                    listed.update(tag.name for tag in batch)
                    image_id, has_changed = await self._file(repository, image_id, batch)
                    changed |= has_changed
        except ScanFailure as failure:
            # Some registries list a repository that has lost its last tag, and say of its tags that it is not there.
            if failure.code is not FailureCode.IMAGE_NOT_FOUND:
                self._leave_out(failure)
                is_whole = False
        if is_whole:
            self._listed += 1
            self._troubles = 0
            if image_id is not None:
                changed |= await self._miss_tags(image_id, listed)
        if changed and image_id is not None:
            async with self._write() as session:
                await count_tags(session, self._organization_id, image_id)
        self._done += 1
        self._found += len(listed)
        await self._tell(repository)

    async def _file(self, repository: str, image_id: str | None, batch: Sequence[ListedTag]) -> tuple[str | None, bool]:
        """Compares a batch of tags with what is known. Returns the image's id, and whether anything was written."""
        known: dict[str, KnownTag] = {}
        if image_id is not None:
            async with self._services.database.read() as session:
                known = await cataloguing.load_known(
                    session, self._organization_id, image_id, [tag.name for tag in batch]
                )
        include, exclude = self._registry.tag_include, self._registry.tag_exclude
        wanted = [tag for tag in batch if eligible(tag.name, include, exclude)]
        seen = await self._resolve(repository, wanted, known)
        changes = cataloguing.compare(known, seen, [tag.name for tag in batch])
        for part in self._parts(changes):
            image_id = await self._write_changes(repository, image_id, part)
        return image_id, bool(changes)

    async def _resolve(self, repository: str, tags: Sequence[ListedTag], known: dict[str, KnownTag]) -> list[SeenTag]:
        places = asyncio.Semaphore(_ASKED_AT_ONCE)
        pointed = {tag.source_digest for tag in known.values() if tag.source_digest is not None}

        async def ask(tag: ListedTag) -> SeenTag | None:
            async with places:
                try:
                    found = await resolve(
                        self._catalogue.client, repository, tag, known=pointed, limits=self._runtime.limits.image
                    )
                except ScanFailure as failure:
                    self._leave_out(failure)
                    return None
            self._troubles = 0
            manifests = tuple((each.digest, str(each.platform), each.size) for each in found.manifests)
            return SeenTag(name=tag.name, digest=found.digest, manifests=manifests)

        try:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(ask(tag)) for tag in tags]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [seen for task in asked if (seen := task.result()) is not None]

    def _leave_out(self, failure: ScanFailure) -> None:
        """Notes it. Raises it when the registry has not answered for a while: then it is the registry, not this."""
        self._left_out.add(failure)
        if failure.code in _TROUBLE:
            self._troubles += 1
            if self._troubles >= _TROUBLES:
                raise _GivenUpError(failure)

    def _parts(self, changes: TagChanges) -> Iterable[TagChanges]:
        """What one transaction takes: fewer tags where each of them is scanned at once."""
        if not changes:
            return []
        if self._registry.schedule is not Schedule.ON_PUSH:
            return [changes]
        size = _SCANNED_AT_ONCE
        longest = max(len(changes.new), len(changes.moved), len(changes.told), len(changes.returned))
        return [
            TagChanges(
                new=changes.new[at : at + size],
                moved=changes.moved[at : at + size],
                told=changes.told[at : at + size],
                returned=changes.returned[at : at + size],
            )
            for at in range(0, longest, size)
        ]

    async def _write_changes(self, repository: str, image_id: str | None, changes: TagChanges) -> str:
        now = self._services.clock()
        scans = []
        async with self._write() as session:
            if image_id is None:
                image_id = await file_image(
                    session,
                    self._organization_id,
                    f"{self._registry.host}/{repository}",
                    registry_id=self._registry.id,
                    now=now,
                )
            fresh = await cataloguing.apply(session, self._organization_id, image_id, changes, now=now)
            await lifecycle.count(
                session,
                self._organization_id,
                self._sync_id,
                {"tags_new": len(changes.new), "tags_moved": len(changes.moved)},
            )
            if fresh and self._registry.schedule is Schedule.ON_PUSH:
                # Here, because the next pass would not take them for new any more.
                principal = system_principal(self._organization_id, "push")
                scans = await scan_tags(session, self._organization_id, fresh, principal, now=now)
        if scans:
            await self._services.relay.drain_quietly()
        return image_id

    # What is gone

    async def _miss_tags(self, image_id: str, listed: set[str]) -> bool:
        missed = False
        async with self._services.database.read() as session:
            gone = [ids async for ids in cataloguing.gone_tags(session, self._organization_id, image_id, listed)]
        for ids in gone:
            missed = True
            async with self._write() as session:
                await cataloguing.miss_tags(session, self._organization_id, ids, now=self._services.clock())
                await lifecycle.count(session, self._organization_id, self._sync_id, {"tags_gone": len(ids)})
        return missed

    async def _miss_images(self, repositories: Sequence[str]) -> None:
        names = {f"{self._registry.host}/{repository}" for repository in repositories}
        async with self._services.database.read() as session:
            gone = [
                ids async for ids in cataloguing.gone_images(session, self._organization_id, self._registry.id, names)
            ]
        for ids in gone:
            async with self._write() as session:
                tags = await cataloguing.miss_images(session, self._organization_id, ids, now=self._services.clock())
                await lifecycle.count(session, self._organization_id, self._sync_id, {"tags_gone": tags})

    # Keeping the job, and telling

    @asynccontextmanager
    async def _write(self) -> AsyncIterator[AsyncSession]:
        """A transaction that commits only while the job is ours."""
        async with self._services.database.write() as session:
            renewal = await jobs.renew(
                session, self._lease, now=self._services.clock(), seconds=self._runtime.limits.lease_seconds
            )
            if not renewal.held:
                raise LeaseLostError
            yield session

    async def _tell(self, position: str) -> None:
        """Notes how far it is, now and then: what is done again after a crash has not changed."""
        moment = asyncio.get_running_loop().time()
        if moment < self._told_at + _TELL_SECONDS:
            return
        self._told_at = moment
        async with self._write() as session:
            await lifecycle.change_sync(session, self._organization_id, self._sync_id, position=position)
            await self._count_progress(session)
        await self._signal()

    async def _count_progress(self, session: AsyncSession) -> None:
        added = {"repositories_done": self._done, "tags_found": self._found}
        await lifecycle.count(session, self._organization_id, self._sync_id, added)
        self._done = self._found = 0

    async def _end(self) -> None:
        now = self._services.clock()
        async with self._services.database.write() as session:
            if not await jobs.finish(session, self._lease, JobState.DONE, now=now):
                raise LeaseLostError
            await self._count_progress(session)
            await lifecycle.end_complete(
                session, self._organization_id, self._sync_id, left_out=self._left_out.message, now=now
            )
        await self._signal()

    async def _signal(self) -> None:
        await self._services.signals.send(self._sync_id)
