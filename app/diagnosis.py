"""`harborguard engines` and `harborguard doctor`: what is there, what is wrong, and what to do about it.

Nothing is changed: no database is made or migrated, no key written.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import orjson
from redis.exceptions import RedisError
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

from app.keys import KEY_FILE, MasterKeyError, load_master_key
from app.migrations import revisions
from app.queue import Redis
from app.runtime import toolbox
from app.settings import GIB, Settings
from schema.advisories.repository import ecosystems
from schema.kernel.clock import iso_utc, utc_now
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from schema.scans.models import Engine
from workers.confine import landlock_version
from workers.engines.native import SOURCE
from workers.engines.tools import NO_DATABASE, OFF, Tool

FRESH_DAYS = 7  # of advisory data and of the tools' databases
FREE_BYTES = 5 * GIB  # an image is stored, and an archive made of it for some tools
CLOCK_SECONDS = 5.0  # leases, sessions and rate limits bear that much
FENCE_VERSION = 6  # of Landlock: from then on it keeps tools from the network and from our processes, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `advice` says what to do about it; None: all is well."""

    subject: str
    finding: str
    advice: str | None = None


async def look_for_tools(settings: Settings) -> Sequence[Tool]:
    return tuple((await toolbox(settings).look(Engine)).values())


def answerer(tool: Tool) -> str:
    """Who answers when a scan asks for the engine, apart from HARBORGUARD_NATIVE_FALLBACK."""
    return tool.provider if tool.problem is None else SOURCE


def tools_as_json(tools: Iterable[Tool]) -> str:
    listed = [
        {
            "engine": tool.engine,
            "tool": tool.name,
            "path": tool.path and str(tool.path),
            "version": tool.version,
            "databaseDate": tool.database_date and iso_utc(tool.database_date),
            "problem": tool.problem,
            "answeredBy": answerer(tool),
        }
        for tool in tools
    ]
    return orjson.dumps(listed, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def tools_as_table(tools: Iterable[Tool]) -> Table:
    table = Table("Engine", "Answered by", "Database of", "Found at", "Note", box=None, pad_edge=False)
    for tool in tools:
        table.add_row(
            tool.engine,
            answerer(tool),
            f"{tool.database_date:%Y-%m-%d}" if tool.database_date else "-",
            escape(str(tool.path or "-")),
            escape(_note(tool)),
        )
    return table


def _note(tool: Tool) -> str:
    if tool.is_blind:
        return f"{NO_DATABASE}: native judges vulnerabilities"
    return tool.absence if tool.problem else ""


def check_as_text(check: Check) -> Text:
    mark = ("ok       ", "green") if check.advice is None else ("problem  ", "red")
    line = Text.assemble(mark, (f"{check.subject}: ", "bold"), check.finding)
    return line if check.advice is None else line.append(f"\n         {check.advice}")


async def examine(settings: Settings) -> Sequence[Check]:
    """Every check, whatever the others say."""
    tools = await look_for_tools(settings)
    checks = [check_key(settings), check_space(settings), check_fence(tools)]
    checks += [check async for check in _check_database(settings)]
    checks += [check async for check in _check_redis(settings)]
    checks += check_tools(tools, settings, now=utc_now())
    return checks


def check_key(settings: Settings) -> Check:
    given = None if settings.master_key is None else settings.master_key.get_secret_value()
    if given is None and not (settings.data_dir / KEY_FILE).exists():
        return Check(subject="Master key", finding="none yet; it is made on first start")
    try:
        load_master_key(settings.data_dir, given)
    except MasterKeyError as error:
        advice = "Without the right key, stored secrets cannot be opened: see docs/how-to/backup-note.md"
        return Check(subject="Master key", finding=str(error), advice=advice)
    where = (
        "HARBORGUARD_MASTER_KEY" if given else f"the file {settings.data_dir / KEY_FILE}, readable by its owner only"
    )
    return Check(subject="Master key", finding=where)


def check_space(settings: Settings) -> Check:
    places = {_existing(settings.data_dir.absolute()), _existing(settings.scratch)}
    place = min(places, key=lambda each: shutil.disk_usage(each).free)
    free = shutil.disk_usage(place).free
    if not all(os.access(each, os.W_OK) for each in places):
        advice = f"Let the user HarborGuard runs as write to {settings.data_dir.absolute()} and {settings.scratch}"
        return Check(subject="Disk", finding="the data or work directory is not writable", advice=advice)
    finding = f"{free / GIB:.1f} GiB free at {place}"
    if free >= FREE_BYTES:
        return Check(subject="Disk", finding=finding)
    advice = "Free some space, or point HARBORGUARD_WORK_DIR at a larger disk: images are unpacked there"
    return Check(subject="Disk", finding=finding, advice=advice)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def check_fence(tools: Iterable[Tool]) -> Check:
    """Matters only where a tool is run."""
    version = landlock_version(ctypes.CDLL(None).syscall) if sys.platform == "linux" else 0
    if all(tool.problem for tool in tools):
        return Check(subject="Fence", finding="no tool is run")
    if version >= FENCE_VERSION:
        return Check(subject="Fence", finding="tools are kept from the network, from our files and processes")
    lacking = "cannot fence tools in" if version < 1 else "can fence tools in only partly"
    advice = (
        "Use Linux 6.12 or newer with Landlock on (in a container also allowed by its seccomp profile), "
        "or run workers as a user of their own in a network of their own"
    )
    return Check(subject="Fence", finding=f"this kernel {lacking}", advice=advice)


async def _check_database(settings: Settings) -> AsyncIterator[Check]:
    database = Database(settings.database)
    try:
        if _is_unmade(database):
            yield Check(subject="Database", finding="none yet; it is made on first start")
            return
        try:
            async with database.read() as session:
                theirs = None if database.is_sqlite else (await session.execute(text("SELECT now()"))).scalar_one()
            ours = utc_now()
            found, needed = await revisions(database)
        except HarborGuardError as error:
            advice = "Check HARBORGUARD_DATABASE_URL, and that the server runs and lets this user in"
            yield Check(subject="Database", finding=error.message, advice=advice)
            return
        yield check_revision(found, needed)
        if theirs is not None:
            yield check_clock("database", (ours - theirs).total_seconds())
        if found == needed:
            async with database.read() as session:
                yield check_advisories(
                    [(row.ecosystem, row.updated_at) for row in await ecosystems(session)], now=utc_now()
                )
    finally:
        await database.close()


def _is_unmade(database: Database) -> bool:
    return database.is_sqlite and not Path(database.url.database or "").exists()


def check_revision(found: str | None, needed: str | None) -> Check:
    if found == needed:
        return Check(subject="Database", finding=f"reachable, migrated to {found}")
    advice = "Run `harborguard migrate`, or start `harborguard serve` or `worker`, which do it themselves"
    return Check(subject="Database", finding=f"is at revision {found}; this version needs {needed}", advice=advice)


def check_clock(server: str, seconds: float) -> Check:
    finding = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} the {server}'s"
    if abs(seconds) <= CLOCK_SECONDS:
        return Check(subject="Clock", finding=finding)
    return Check(subject="Clock", finding=finding, advice="Synchronise the clocks of both machines (NTP)")


def check_advisories(held: Sequence[tuple[str, datetime]], *, now: datetime) -> Check:
    """`held` are the ecosystems and when each was last imported."""
    if not held:
        advice = "Import some: harborguard advisories import FILE|DIRECTORY|ZIP|URL (docs/how-to/advisory-data.md)"
        return Check(
            subject="Advisory data", finding="there is none, so the native provider judges nothing", advice=advice
        )
    name, oldest = min(held, key=lambda each: each[1])
    days = (now - oldest).days
    finding = f"{len(held)} ecosystems, the oldest ({name}) imported {days} days ago"
    if days < FRESH_DAYS:
        return Check(subject="Advisory data", finding=finding)
    return Check(subject="Advisory data", finding=finding, advice="Import it again: harborguard advisories import …")


async def _check_redis(settings: Settings) -> AsyncIterator[Check]:
    if settings.embedded:
        yield Check(subject="Redis", finding="not needed: the queue and a worker run in the server's process")
        return
    connection = Redis(settings.redis_url).connect()
    try:
        seconds, microseconds = await connection.time()
        apart = time.time() - seconds - microseconds / 1_000_000
        yield Check(subject="Redis", finding="reachable")
        yield check_clock("Redis server", apart)
    except (RedisError, OSError, ValueError) as error:
        advice = "Check HARBORGUARD_REDIS_URL, and that the server runs; waiting jobs are safe in the database"
        yield Check(subject="Redis", finding=f"does not answer ({type(error).__name__})", advice=advice)
    finally:
        await connection.aclose(close_connection_pool=True)


def check_tools(tools: Iterable[Tool], settings: Settings, *, now: datetime) -> Iterator[Check]:
    """A tool that is not there is a problem only where nobody stands in, or the operator says it is there."""
    for tool in tools:
        place = getattr(settings, f"engine_{tool.engine}")
        subject = f"Engine {tool.engine}"
        if tool.problem is None:
            yield _check_tool_database(tool, subject, now)
        elif place not in {"", OFF}:
            advice = f"Set HARBORGUARD_ENGINE_{tool.engine.upper()} to the program's path, or to `off`"
            yield Check(subject=subject, finding=tool.absence, advice=advice)
        elif tool.path is not None:
            advice = "Get its database (docs/how-to/engines.md)" if tool.version else "Install a version that runs here"
            yield Check(subject=subject, finding=tool.absence, advice=advice)
        elif place != OFF and not settings.native_fallback:
            advice = "Install it (docs/how-to/engines.md), or set HARBORGUARD_NATIVE_FALLBACK=true"
            yield Check(subject=subject, finding=f"{tool.absence}, and nobody stands in", advice=advice)
        else:
            stands_in = "the native provider stands in" if settings.native_fallback else "such a run is skipped"
            yield Check(subject=subject, finding=f"{tool.absence}; {stands_in}")


def _check_tool_database(tool: Tool, subject: str, now: datetime) -> Check:
    if tool.database_date is None:
        note = f" {_note(tool)}" if tool.is_blind else ""
        return Check(subject=subject, finding=f"{tool.provider}{note}")
    finding = f"{tool.provider}, database of {tool.database_date:%Y-%m-%d}"
    if now - tool.database_date < timedelta(days=FRESH_DAYS):
        return Check(subject=subject, finding=finding)
    return Check(subject=subject, finding=finding, advice="Update its database (docs/how-to/engines.md)")
