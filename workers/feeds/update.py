"""Following a named feed: fetch what has changed, and switch the store to it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog

from schema.advisories import repository
from schema.advisories.catalog import Feed, find_feed
from schema.advisories.importing import Content, ImportSummary, fill_feed, filling
from schema.advisories.reading import Outcome, read_records, stream_records
from schema.cves.importing import fill_cves
from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError, bad_request
from schema.kernel.ports import Clock, OutgoingError, OutgoingHttp
from workers.feeds.download import MAX_BYTES, Downloaded, Version, download

log = structlog.get_logger(__name__)
LOOK_SECONDS = 60.0  # how often a worker looks whether a feed is due
RETRY_SECONDS = 900.0  # after a failure, and at most as long as the interval
_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSchedule:
    """What the operator wants followed. `every_seconds` 0: nothing is fetched by itself."""

    names: tuple[str, ...]
    every_seconds: float
    mirrors: Mapping[str, str]
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSource:
    """Where feeds come from and go to. Downloads lie in `directory`, which all processes that update share."""

    database: Database
    http: OutgoingHttp
    directory: Path
    clock: Clock
    max_bytes: int = MAX_BYTES
    on_read: Callable[[str, Outcome], None] | None = field(default=None)


async def update_feed(feed: Feed, source: FeedSource, *, accept_shrink: bool = False) -> ImportSummary | None:
    """Brings the store up to the published feed; None when it is that already.

    What was downloaded stays until it is in the store, so that an update that was killed goes on where it was. Raises
    HarborGuardError: CONFLICT while another process fills the feed, else the reason, which is also kept with the feed.
    """
    try:
        async with filling(source.database, feed.name, clock=source.clock) as held:
            known = {url: Version(url, **validators) for url, validators in held.validators.items()}
            files = await _fetch(feed, source, known)
            if files is None:
                async with source.database.write() as session:
                    await repository.note_check(session, held, now=source.clock())
                return None
            content = Content(
                source=", ".join(each.version.url.partition("?")[0] for each in files),
                complete=True,
                accept_shrink=accept_shrink,
                as_of=_date(feed, files, source.clock()),
                validators={
                    each.version.url: {"etag": each.version.etag, "modified": each.version.modified} for each in files
                },
            )
            if feed.is_about_cves:
                paths = [each.path for each in files]
                summary = await fill_cves(source.database, held, feed, content, paths, clock=source.clock)
                for each in files:
                    _forget(each.path)
                return summary
            records = read_records(feed, [each.path for each in files], as_of=content.as_of or source.clock())
            stream = stream_records(records, on_read=source.on_read)
            summary = await fill_feed(source.database, held, content, stream, clock=source.clock)
            for each in files:
                _forget(each.path)
            return summary
    except (OutgoingError, OSError) as error:
        reason = error.message if isinstance(error, OutgoingError) else error.strerror or str(error)
        await _note(feed, source, reason)
        raise bad_request(f"{feed.name} could not be updated: {reason}") from None
    except repository.FeedLostError:
        raise HarborGuardError(ErrorCode.CONFLICT, f"Another process has taken over {feed.name}") from None
    except HarborGuardError as error:
        if error.code not in (ErrorCode.CONFLICT, ErrorCode.SERVICE_UNAVAILABLE):
            await _note(feed, source, error.message)
        raise


async def _note(feed: Feed, source: FeedSource, reason: str) -> None:
    async with source.database.write() as session:
        await repository.note_failure(session, feed.name, reason, now=source.clock())


async def _fetch(feed: Feed, source: FeedSource, known: Mapping[str, Version]) -> list[Downloaded] | None:
    """All files of the feed, None when none has changed: one that has not is needed beside one that has."""
    await asyncio.to_thread(source.directory.mkdir, mode=0o700, parents=True, exist_ok=True)
    found: dict[str, Downloaded | None] = {}
    for conditional in (True, False):
        for place, url in enumerate(feed.addresses):
            if found.get(url) is None:
                target = source.directory / f"{_UNSAFE.sub('-', feed.name)}-{place}{Path(url).suffix[:8]}"
                found[url] = await download(
                    source.http,
                    url,
                    target,
                    known=known.get(url) if conditional else None,
                    max_bytes=source.max_bytes,
                )
        if not any(found.values()):
            return None
    return [each for each in found.values() if each is not None]


def _date(feed: Feed, files: list[Downloaded], now: datetime) -> datetime | None:
    """Of a feed whose records bear no dates: that of its oldest file, at most now."""
    if not feed.undated:
        return None
    return min([now, *(date for each in files if (date := each.version.date))])


def _forget(path: Path) -> None:
    for name in (path, path.with_name(f"{path.name}.version")):
        name.unlink(missing_ok=True)


async def refresh_forever(schedule: FeedSchedule, source: FeedSource) -> None:
    """Keeps the feeds of the schedule fresh. Any number of processes may run it: one at a time has a feed."""
    while True:
        try:
            await refresh_due(schedule, source)
        except HarborGuardError as error:
            log.warning("feeds.postponed", error=error.message)
        except Exception:
            # Whatever it was, the next look has to come: nobody else keeps the data fresh.
            log.exception("feeds.failed")
        await asyncio.sleep(min(LOOK_SECONDS, schedule.every_seconds))


async def refresh_due(schedule: FeedSchedule, source: FeedSource) -> None:
    """Updates each feed that is due, one after the other. What is wrong with one keeps no other waiting."""
    async with source.database.read() as session:
        states = {state.name: state for state in await repository.feeds(session)}
    for name in schedule.names:
        feed = find_feed(name, schedule.mirrors)
        state = states.get(feed.name)
        if state is not None and not _is_due(state.checked_at, state.failed_at, schedule, now=source.clock()):
            continue
        try:
            summary = await update_feed(feed, source)
        except HarborGuardError as error:
            if error.code is not ErrorCode.CONFLICT:
                log.warning("feed.failed", feed=feed.name, error=error.message)
        else:
            log.info("feed.current", feed=feed.name, changed=summary.changed if summary else 0)


def _is_due(checked_at: datetime | None, failed_at: datetime | None, schedule: FeedSchedule, *, now: datetime) -> bool:
    retry = timedelta(seconds=min(RETRY_SECONDS, schedule.every_seconds))
    if failed_at is not None and now < failed_at + retry:
        return False
    return checked_at is None or now >= checked_at + timedelta(seconds=schedule.every_seconds)
