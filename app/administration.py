"""What the operator does on the command line, on the database directly."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.demo import SAMPLE_ADVISORIES
from app.outgoing import OutgoingClient
from app.queue import Redis
from app.runtime import feed_schedule, open_services, outgoing_policy
from app.settings import Settings
from schema.advisories.catalog import LOCAL, SAMPLE, find_feed, read_mirrors
from schema.advisories.importing import Content, ImportSummary, fill_feed, filling
from schema.advisories.reading import Outcome, read_records, stream_records
from schema.advisories.records import AdvisoryRecord
from schema.advisories.repository import ecosystems, feeds, imports
from schema.audit.repository import record
from schema.build import build_schema
from schema.cves.importing import fill_cves
from schema.execution.runner import load_operation, run_operation
from schema.kernel.clock import iso_utc
from schema.kernel.context import RequestContext, Services
from schema.kernel.errors import HarborGuardError, bad_request, conflict
from schema.kernel.ports import OutgoingError
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.sealed import count_sealed, rewrap_batch
from schema.organizations.repository import sole_organization
from schema.organizations.setup import ensure_setup_token
from schema.registries.models import RegistryProvider
from schema.registries.repository import add_registry as store_registry
from schema.sealed import SEALED_COLUMNS
from workers.feeds.update import FeedSource, update_feed

MAX_FEED_BYTES = 8 * 1024**3
FEED_SECONDS = 3600.0


@asynccontextmanager
async def services_of(settings: Settings) -> AsyncIterator[Services]:
    async with open_services(settings, Redis(settings.redis_url)) as services:
        yield services


async def operator_of(services: Services, organization_id: str | None) -> Principal:
    """The operator acting for an organization: the named one, or the only one there is."""
    if organization_id is None:
        async with services.database.read() as session:
            organization_id = await sole_organization(session)
    if organization_id is None:
        message = "Name the organization with --organization; there is none yet, or more than one"
        raise bad_request(message)
    return Principal(
        organization_id=organization_id,
        role=Role.OWNER,
        actor_kind=ActorKind.OPERATOR,
        actor_id="operator",
        user_id=None,
        credential_id="operator",
    )


def acting(services: Services, principal: Principal | None) -> RequestContext:
    return RequestContext(services=services, principal_or_none=principal, request_id="cli", client_ip="local")


async def execute(document: str, variables: dict[str, Any], context: RequestContext) -> Any:
    """One operation, with the checks and the audit row it has over the network."""
    schema = build_schema().graphql
    return await run_operation(load_operation(schema, document), variables, context)


COMPLETE_SETUP = """
mutation CompleteSetup($input: CompleteSetupInput!) {
  completeSetup(input: $input) { organization { id name } }
}
"""


async def set_up(settings: Settings, *, organization: str, email: str, name: str, password: str) -> str:
    """Creates the first organization and its owner; returns the organization's id. CONFLICT when there is one."""
    async with services_of(settings) as services:
        async with services.database.write() as session:
            token = await ensure_setup_token(session, services.mint, now=services.clock())
        if token is None:
            message = "HarborGuard is already set up"
            raise conflict(message)
        given = {"token": token, "organization": organization, "email": email, "name": name, "password": password}
        data = await execute(COMPLETE_SETUP, {"input": given}, acting(services, None))
    return str(data["organization"]["id"])


CREATE_KEY = """
mutation CreateKey($input: CreateApiKeyInput!) {
  createApiKey(input: $input) { secret }
}
"""


async def create_key(
    settings: Settings, *, name: str, role: Role, organization_id: str | None, expires_days: int | None
) -> str:
    """The secret of a new key. The same mutation, checks and audit row as over the network."""
    async with services_of(settings) as services:
        expires = None if expires_days is None else iso_utc(services.clock() + timedelta(days=expires_days))
        given = {"name": name, "role": role.value, "expiresAt": expires}
        context = acting(services, await operator_of(services, organization_id))
        data = await execute(CREATE_KEY, {"input": given}, context)
    return str(data["secret"])


async def rotate_keys(settings: Settings, *, every: bool, batch: int, console: Console, out: Console) -> bool:
    """Wraps the keys of all stored secrets with the newest key; False when some secret is still under another one."""
    async with services_of(settings) as services:
        keys, total, rewrapped, damaged = services.keys, 0, 0, 0
        async with services.database.read() as session:
            for place in SEALED_COLUMNS:
                total += await count_sealed(session, place, but=None if every else keys.key_id)
        with _progress(console) as progress:
            task = progress.add_task("Wrapping keys", total=total)
            for place in SEALED_COLUMNS:
                after: tuple[str, ...] | None = None
                while True:
                    outcome = await rewrap_batch(services.database, place, keys, after=after, size=batch, every=every)
                    rewrapped, damaged = rewrapped + outcome.done, damaged + len(outcome.damaged)
                    progress.advance(task, outcome.done + len(outcome.damaged))
                    for problem in outcome.damaged:
                        progress.console.print(f"[yellow]left[/] {escape(problem)}", highlight=False)
                    after = outcome.last
                    if after is None:
                        break
        left = 0
        async with services.database.read() as session:
            for place in SEALED_COLUMNS:
                left += await count_sealed(session, place, but=keys.key_id)
    out.print(f"{rewrapped:,} keys wrapped with {keys.key_id}", highlight=False)
    if left:
        what = "could not be opened" if damaged else "were stored by servers that do not have this key first yet"
        out.print(f"{left:,} secrets are still under another key: they {what}. Keep the old key.", highlight=False)
    else:
        out.print("No secret needs another key any more: older ones may be removed.", highlight=False)
    return left == 0


async def migrate(settings: Settings) -> None:
    async with services_of(settings):
        """Opening the services has done it."""


async def add_registry(
    settings: Settings,
    *,
    name: str,
    host: str,
    username: str | None,
    password: str | None,
    insecure: bool,
    organization_id: str | None,
) -> str:
    async with services_of(settings) as services:
        principal = await operator_of(services, organization_id)
        async with services.database.write() as session:
            registry_id = await store_registry(
                session,
                principal.organization_id,
                name=name,
                provider=RegistryProvider.CUSTOM,
                host=host,
                insecure=insecure,
                username=username,
                password=password,
                keys=services.keys,
                now=services.clock(),
            )
            await record(
                session,
                organization_id=principal.organization_id,
                actor=principal.actor_id,
                action="registry.added",
                target=f"registry:{registry_id}",
                details={"name": name, "host": host},
                now=services.clock(),
            )
    return registry_id


async def import_advisories(
    settings: Settings, source: str, *, console: Console, feed_name: str | None = None, accept_shrink: bool = False
) -> ImportSummary:
    """From a file, a directory, a zip dump or the URL of one. Rejected records are named on the console.

    With the name of a feed the source is all of that feed, in its form, and replaces what is stored of it; without one
    it is OSV records, which are added.
    """
    feed = find_feed(feed_name) if feed_name else None
    async with services_of(settings) as services:
        with tempfile.TemporaryDirectory(prefix="harborguard-") as scratch, _progress(console) as progress:
            if source.startswith(("https://", "http://")):
                path = await _download(source, Path(scratch), settings, progress)
            else:
                path = Path(source)
                if not path.exists():
                    message = f"{source} does not exist"
                    raise bad_request(message)
            task = progress.add_task("Importing advisories", total=None)
            # Of a feed without dates: when its publisher, or whoever carried it here, wrote the file.
            as_of = min(services.clock(), datetime.fromtimestamp(path.stat().st_mtime, UTC))
            content = Content(
                source=source.partition("?")[0] if "://" in source else path.name,  # a query may hold a credential
                complete=feed is not None,
                accept_shrink=accept_shrink,
                as_of=as_of if feed is not None and feed.undated else None,
            )
            if feed is not None and feed.is_about_cves:
                async with filling(services.database, feed.name, clock=services.clock) as held:
                    return await fill_cves(services.database, held, feed, content, [path], clock=services.clock)
            records = stream_records(read_records(feed, [path], as_of=as_of), on_read=_reporting(progress, task))
            name = feed.name if feed else _unnamed(path)
            async with filling(services.database, name, clock=services.clock) as held:
                return await fill_feed(services.database, held, content, records, clock=services.clock)


def _unnamed(path: Path) -> str:
    """The feed of records that are of none; the demonstration's sample is kept apart, because it must not look like data."""
    return SAMPLE if path.resolve() == SAMPLE_ADVISORIES.resolve() else LOCAL


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _reporting(progress: Progress, task: TaskID) -> Callable[[str, Outcome], None]:
    """Moves the bar, and names what was rejected."""

    def report(name: str, outcome: Outcome) -> None:
        progress.advance(task)
        if not isinstance(outcome, AdvisoryRecord):
            progress.console.print(f"[yellow]rejected[/] {escape(name)}: {escape(str(outcome))}", highlight=False)

    return report


async def update_advisories(
    settings: Settings, names: Sequence[str], *, console: Console, out: Console, accept_shrink: bool = False
) -> bool:
    """Brings named feeds up to date, or those of the settings; False when one of them could not be."""
    wanted = [find_feed(name, read_mirrors(settings.advisory_mirrors)) for name in names or settings.advisory_feeds]
    if not wanted:
        raise bad_request("Name a feed, such as osv:PyPI or debian, or set HARBORGUARD_ADVISORY_FEEDS")
    succeeded = True
    async with services_of(settings) as services, OutgoingClient(outgoing_policy(settings)) as http:
        for feed in {feed.name: feed for feed in wanted}.values():
            with _progress(console) as progress:
                task = progress.add_task(f"Updating {feed.name}", total=None)
                source = FeedSource(
                    database=services.database,
                    http=http,
                    directory=feed_schedule(settings).directory,
                    clock=services.clock,
                    on_read=_reporting(progress, task),
                )
                try:
                    summary = await update_feed(feed, source, accept_shrink=accept_shrink)
                except HarborGuardError as error:
                    console.print(f"[red]{escape(error.message)}[/]", highlight=False)
                    succeeded = False
                    continue
            out.print(f"{feed.name}: {_outcome(summary)}", highlight=False)
    return succeeded


def _outcome(summary: ImportSummary | None) -> str:
    if summary is None:
        return "is up to date"
    return (
        f"{summary.records} advisories, {summary.changed} new or changed, {summary.removed} removed, "
        f"{summary.rejected} rejected"
    )


async def _download(url: str, directory: Path, settings: Settings, progress: Progress) -> Path:
    """The feed in a file. Only https, unless the operator's own networks are meant."""
    target = directory / (Path(urlsplit(url).path).name or "feed")
    try:
        async with (
            OutgoingClient(outgoing_policy(settings)) as http,
            http.stream(
                "GET", url, max_bytes=MAX_FEED_BYTES, timeout_seconds=FEED_SECONDS, allow_http=url.startswith("http://")
            ) as response,
        ):
            if response.status != HTTPStatus.OK:
                message = f"{url} answered {response.status}"
                raise bad_request(message)
            task = progress.add_task(f"Downloading {target.name}", total=int(response.headers.get("content-length", 0)))
            with target.open("wb") as file:
                async for chunk in response.chunks:
                    file.write(chunk)
                    progress.advance(task, len(chunk))
    except OutgoingError as error:
        raise bad_request(error.message) from None
    return target


async def print_advisory_status(settings: Settings, out: Console) -> None:
    async with services_of(settings) as services, services.database.read() as session:
        held = await ecosystems(session)
        known = await feeds(session)
        runs = await imports(session, limit=5)
    if not known:
        out.print("No advisory data. Get some: harborguard advisories update FEED…, or advisories import FILE")
        return
    table = Table("Ecosystem", "Advisories", "Newest change", "Imported", title="Advisory data")
    for row in held:
        table.add_row(
            f"{row.ecosystem} (sample)" if row.sample else row.ecosystem,
            f"{row.advisories:,}",
            f"{row.database_date:%Y-%m-%d}",
            f"{row.updated_at:%Y-%m-%d %H:%M}",
        )
    out.print(table)
    table = Table("Feed", "Records", "Data of", "Checked", "Last error", title="Feeds")
    for feed in known:
        failed = f"{feed.failed_at:%Y-%m-%d %H:%M} {escape(feed.error)}" if feed.failed_at and feed.error else ""
        table.add_row(
            feed.name, f"{feed.records:,}", _day(feed.database_date, "%Y-%m-%d"), _day(feed.checked_at), failed
        )
    out.print(table)
    table = Table("Source", "Feed", "Records", "Rejected", "Finished", title="Latest imports")
    for run in runs:
        finished = "refused" if run.error else _day(run.finished_at) or "cut off or still running; import it again"
        table.add_row(escape(run.source), run.feed, f"{run.records:,}", f"{run.rejected:,}", finished)
    out.print(table)


def _day(moment: datetime | None, form: str = "%Y-%m-%d %H:%M") -> str:
    return f"{moment:{form}}" if moment else ""
