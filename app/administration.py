"""What the operator does on the command line, on the database directly."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.queue import Redis
from app.runtime import open_services
from app.settings import Settings
from schema.advisories.feeds import read_documents
from schema.advisories.importing import ImportSummary
from schema.advisories.importing import import_advisories as store_advisories
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.advisories.repository import ecosystems, imports
from schema.build import build_schema
from schema.execution.runner import load_operation, run_operation
from schema.kernel.context import RequestContext, Services
from schema.kernel.errors import bad_request
from schema.kernel.principal import ActorKind, Principal, Role
from schema.organizations.repository import sole_organization
from schema.registries.models import RegistryProvider
from schema.registries.repository import add_registry as store_registry


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


def acting(services: Services, principal: Principal) -> RequestContext:
    return RequestContext(services=services, principal_or_none=principal, request_id="cli", client_ip="local")


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
        schema = build_schema()[0]._schema
        data = await run_operation(
            schema,
            load_operation(schema, CREATE_KEY),
            {"input": {"name": name, "role": role.name, "expiresAt": expires}},
            acting(services, await operator_of(services, organization_id)),
        )
    return str(data["secret"])


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


async def import_advisories(settings: Settings, source: str, *, console: Console) -> ImportSummary:
    """From a file, a directory, a zip dump or the https URL of one. Rejected records are named on the console."""
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
            records = _read_records(path, progress, task)
            label = source.split("?")[0] if "://" in source else path.name
            return await store_advisories(services.database, label, records, clock=services.clock)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)
