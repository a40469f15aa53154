"""The records of a feed's files, whatever its form."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from schema.advisories.alpine import parse_secdb
from schema.advisories.catalog import Feed, FeedForm
from schema.advisories.debian import parse_tracker
from schema.advisories.feeds import DEFAULT_LIMITS, FeedLimits, read_documents, read_members
from schema.advisories.nvd import ITEMS, parse_nvd
from schema.advisories.osv import AdvisoryFormatError, parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.advisories.repository import RECORDS_PER_BATCH
from schema.kernel.errors import bad_request

Outcome: TypeAlias = AdvisoryRecord | AdvisoryFormatError
Records: TypeAlias = Iterator[
    tuple[str, Outcome]
]  # by name of the document; those that cannot be read, with the reason


def read_records(
    feed: Feed | None, paths: Sequence[Path], *, as_of: datetime, limits: FeedLimits = DEFAULT_LIMITS
) -> Records:
    """The records of a feed, or of OSV documents where none is named. `as_of` dates a feed that bears no dates.

    Raises HarborGuardError when the feed as a whole can't be read.
    """
    form = feed.form if feed else FeedForm.OSV
    try:
        yield from _READERS[form](feed, paths, as_of, limits)
    except AdvisoryFormatError as error:
        raise bad_request(str(error)) from None


async def stream_records(
    records: Records, *, on_read: Callable[[str, Outcome], None] | None = None
) -> AsyncIterator[AdvisoryRecord | None]:
    """The same for the event loop, where None stands for what was rejected: read in a thread, batch by batch."""
    while batch := await asyncio.to_thread(_next_batch, records):
        for name, outcome in batch:
            if on_read:
                on_read(name, outcome)
            yield outcome if isinstance(outcome, AdvisoryRecord) else None


def _next_batch(records: Records) -> list[tuple[str, Outcome]]:
    return list(itertools.islice(records, RECORDS_PER_BATCH))


def _read_osv(_feed: Feed | None, paths: Sequence[Path], _as_of: datetime, limits: FeedLimits) -> Records:
    for name, document in _documents(paths, limits):
        try:
            yield name, parse_osv(document)
        except AdvisoryFormatError as error:
            yield name, error


def _read_tracker(_feed: Feed | None, paths: Sequence[Path], as_of: datetime, limits: FeedLimits) -> Records:
    members = itertools.chain.from_iterable(read_members(path, limits=limits) for path in paths)
    return parse_tracker(members, as_of=as_of)


def _read_secdb(feed: Feed | None, paths: Sequence[Path], as_of: datetime, limits: FeedLimits) -> Records:
    assert feed is not None
    return parse_secdb(_documents(paths, limits), release=feed.release, as_of=as_of)


def _read_nvd(_feed: Feed | None, paths: Sequence[Path], _as_of: datetime, limits: FeedLimits) -> Records:
    for path in paths:
        yield from parse_nvd(read_members(path, within=ITEMS, limits=limits))


def _documents(paths: Iterable[Path], limits: FeedLimits) -> Iterator[tuple[str, object]]:
    return itertools.chain.from_iterable(read_documents(path, limits=limits) for path in paths)


_READERS: dict[FeedForm, Callable[[Feed | None, Sequence[Path], datetime, FeedLimits], Records]] = {
    FeedForm.OSV: _read_osv,
    FeedForm.DEBIAN: _read_tracker,
    FeedForm.ALPINE: _read_secdb,
    FeedForm.NVD: _read_nvd,
}
