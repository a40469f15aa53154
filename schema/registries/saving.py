"""Adding, changing and removing registries: the rules around the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from schema.audit.repository import record
from schema.credentials.repository import insert_api_key
from schema.jobs.repository import request_cancel
from schema.kernel.context import RequestContext
from schema.kernel.errors import Issue, invalid
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.plans import require_room
from schema.kernel.principal import Role
from schema.kernel.secrets import TOKEN_PREFIX_LENGTH, TokenKind, new_token
from schema.organizations.repository import hold_plan
from schema.registries import repository
from schema.registries.accounts import account_issues
from schema.registries.addresses import read_address
from schema.registries.inputs import CreateRegistryInput, RegistryOptionsInput, UpdateRegistryInput
from schema.registries.models import Registry, RegistryProvider, ScanMethod, Schedule
from schema.registries.rules import detect, glob_issues, schedule_issues
from schema.registries.syncing import queue_sync
from schema.scans import lifecycle
from schema.scans.models import Engine

MAX_KEY_NAME = 200
# What makes the catalogue be looked at anew.
_REACHED_BY = frozenset({"host", "insecure", "provider", "username", "sealed_password", "options"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """A registry as it is to be, without what only a secret tells."""

    name: str
    provider: RegistryProvider
    url: str
    host: str
    insecure: bool
    username: str | None
    options: dict[str, str]
    scan_method: ScanMethod
    scanners: tuple[Engine, ...]
    tag_include: str
    tag_exclude: str
    schedule: Schedule
    cron: str | None
    time_zone: str

    def values(self) -> dict[str, Any]:
        """The columns of the row."""
        return {
            "name": self.name,
            "provider": self.provider,
            "url": self.url,
            "host": self.host,
            "insecure": self.insecure,
            "username": self.username,
            "options": self.options,
            "scan_method": self.scan_method,
            "scanners": [engine.value for engine in self.scanners],
            "tag_include": self.tag_include,
            "tag_exclude": self.tag_exclude,
            "schedule": self.schedule,
            "cron": self.cron,
            "time_zone": self.time_zone,
        }

    def issues(self) -> Iterator[Issue]:
        yield from glob_issues("tagInclude", self.tag_include)
        yield from glob_issues("tagExclude", self.tag_exclude)
        yield from schedule_issues(self.schedule, self.cron, self.time_zone)


def _refuse(*issues: Issue) -> None:
    if issues:
        raise invalid(*issues)


async def add_registry(context: RequestContext, given: CreateRegistryInput) -> tuple[str, str | None]:
    """(id, key for its sensor, if it is to have one). VALIDATION_ERROR, PLAN_LIMIT, CONFLICT when the name is taken."""
    address = read_address(given.url, insecure=bool(given.insecure))
    settings = RegistrySettings(
        name=given.name,
        provider=given.provider or detect(address.host),
        url=address.url,
        host=address.host,
        insecure=bool(given.insecure),
        username=given.username,
        options=_options(given.options),
        scan_method=given.scan_method or ScanMethod.CLOUD,
        scanners=tuple(dict.fromkeys(given.scanners or ())),
        tag_include=(given.tag_include or "").strip() or "*",
        tag_exclude=(given.tag_exclude or "").strip(),
        schedule=given.schedule or Schedule.MANUAL,
        cron=given.cron,
        time_zone=given.time_zone or "UTC",
    )
    _refuse(
        *settings.issues(),
        *account_issues(settings.provider, given.username, given.password, method=settings.scan_method),
    )
    organization_id, now = context.organization_id, context.now()
    registry_id = new_id(IdPrefix.REGISTRY)
    async with context.write() as session:
        plan = await hold_plan(session, organization_id)
        used = await repository.count_registries(session, organization_id)
        require_room("Registry", used=used, limit=context.services.limits.of_plan(plan).registries)
        await repository.require_free_name(session, organization_id, settings.name)
        sealed = await repository.seal_password(context.services.keys, organization_id, registry_id, given.password)
        identity = {"id": registry_id, "organization_id": organization_id, "created_at": now, "updated_at": now}
        await repository.insert_registry(session, settings.values() | identity | {"sealed_password": sealed})
        details = {
            "name": settings.name,
            "provider": settings.provider.value,
            "host": settings.host,
            "scanMethod": settings.scan_method.value,
        }
        await _record(context, session, "registry.added", registry_id, details)
        if settings.scan_method is ScanMethod.SENSOR:
            return registry_id, await _mint_key(context, session, registry_id, settings.name)
        await request_sync(context, session, registry_id)
        return registry_id, None


async def change_registry(context: RequestContext, registry_id: str, given: UpdateRegistryInput) -> str | None:
    """The key for its sensor, if it gets one by this. VALIDATION_ERROR, NOT_FOUND, CONFLICT when the name is taken."""
    organization_id, now = context.organization_id, context.now()
    async with context.write() as session:
        await hold_plan(session, organization_id)
        before = await repository.load_registry(session, organization_id, registry_id, for_update=True)
        settings = _changed(before, given)
        values = settings.values()
        if given.password is not strawberry.UNSET:
            keys = context.services.keys
            values["sealed_password"] = await repository.seal_password(
                keys, organization_id, registry_id, given.password
            )
        await repository.require_free_name(session, organization_id, settings.name, but=registry_id)
        changed = {name for name, value in values.items() if getattr(before, name) != value}
        becomes_sensors = settings.scan_method is ScanMethod.SENSOR and "scan_method" in changed
        await repository.change_registry(session, organization_id, registry_id, values | {"updated_at": now})
        await _record(context, session, "registry.updated", registry_id, {"changed": sorted(map(_shown, changed))})
        if settings.scan_method is ScanMethod.CLOUD and changed & (_REACHED_BY | {"scan_method"}):
            await request_sync(context, session, registry_id)
        if becomes_sensors and not await repository.bound_keys(session, organization_id, registry_id):
            return await _mint_key(context, session, registry_id, settings.name)
        return None


async def remove_registry(context: RequestContext, registry_id: str) -> None:
    """Its images and their scans stay; what waits for its sensors ends, and so do their keys. NOT_FOUND."""
    organization_id, now = context.organization_id, context.now()
    async with context.write() as session:
        registry = await repository.load_registry(session, organization_id, registry_id, for_update=True)
        name = registry.name
        for sync_id in await repository.active_syncs(session, organization_id, registry_id):
            await request_cancel(session, organization_id, sync_id, now=now)
        for scan_id in await repository.scans_for_sensors(session, organization_id, registry_id):
            await lifecycle.end_cancelled(session, organization_id, scan_id, now=now)
            context.signal_after_commit(scan_id)
        for key_id in await repository.bound_keys(session, organization_id, registry_id):
            await _record(context, session, "apikey.revoked", key_id, {"registryId": registry_id}, kind="apikey")
        await repository.revoke_bound_keys(session, organization_id, registry_id, now=now)
        await repository.release_images(session, organization_id, registry_id)
        await repository.delete_registry_row(session, organization_id, registry_id)
        await _record(context, session, "registry.removed", registry_id, {"name": name})


async def request_sync(context: RequestContext, session: AsyncSession, registry_id: str) -> str:
    principal = context.principal
    requested_by = f"{principal.actor_kind}:{principal.actor_id}"
    return await queue_sync(session, context.organization_id, registry_id, requested_by=requested_by, now=context.now())


def _changed(before: Registry, given: UpdateRegistryInput) -> RegistrySettings:
    """What the registry will be. Raises VALIDATION_ERROR."""
    for name in ("name", "url"):
        if getattr(given, name) is None:
            raise invalid(Issue(name, "must not be null"))
    insecure = before.insecure if given.insecure is strawberry.UNSET else bool(given.insecure)
    address = read_address(_or(given.url, before.url or before.host), insecure=insecure)
    provider = _or(given.provider, before.provider if before.provider is not detect(before.host) else None)
    settings = RegistrySettings(
        name=_or(given.name, before.name),
        provider=provider or detect(address.host),
        url=address.url,
        host=address.host,
        insecure=insecure,
        username=_or(given.username, before.username),
        options=before.options if given.options is strawberry.UNSET else _options(given.options),
        scan_method=_or(given.scan_method, before.scan_method) or ScanMethod.CLOUD,
        scanners=tuple(dict.fromkeys(_or(given.scanners, [Engine(name) for name in before.scanners]) or ())),
        tag_include=(_or(given.tag_include, before.tag_include) or "").strip() or "*",
        tag_exclude=(_or(given.tag_exclude, before.tag_exclude) or "").strip(),
        schedule=_or(given.schedule, before.schedule) or Schedule.MANUAL,
        cron=_or(given.cron, before.cron),
        time_zone=_or(given.time_zone, before.time_zone) or "UTC",
    )
    _refuse(*settings.issues(), *_account_issues(before, settings, given))
    return settings


def _account_issues(before: Registry, after: RegistrySettings, given: UpdateRegistryInput) -> Iterator[Issue]:
    """A stored password goes where it was entered for and nowhere else, or whoever may change an address could have it."""
    is_named, has_password = given.username is not strawberry.UNSET, given.password is not strawberry.UNSET
    if is_named and has_password:
        yield from account_issues(after.provider, given.username, given.password, method=after.scan_method)
    elif is_named or has_password:
        yield Issue("username" if has_password else "password", "username and password are changed together")
    elif before.sealed_password is None:
        yield from account_issues(after.provider, None, None, method=after.scan_method)
    elif (after.host, after.provider) != (before.host, before.provider) or (after.insecure and not before.insecure):
        yield Issue("password", "Required: the credentials were entered for another address; send them again, or null")


def _or(given: Any, kept: Any) -> Any:
    return kept if given is strawberry.UNSET else given


def _options(given: RegistryOptionsInput | None) -> dict[str, str]:
    if given is None:
        return {}
    options = {"namespace": given.namespace, "project": given.project, "region": given.region}
    return {name: value for name, value in options.items() if value is not None}


def _shown(column: str) -> str:
    """As the API calls it; the secret by what it is."""
    if column == "sealed_password":
        return "password"
    head, *rest = column.split("_")
    return head + "".join(part.capitalize() for part in rest)


async def _mint_key(context: RequestContext, session: AsyncSession, registry_id: str, name: str) -> str:
    """A key that speaks the sensor protocol for the registry and does nothing else."""
    key_id, secret = new_id(IdPrefix.API_KEY), new_token(TokenKind.API_KEY)
    await insert_api_key(
        session,
        {
            "id": key_id,
            "organization_id": context.organization_id,
            "name": f"Sensor of {name}"[:MAX_KEY_NAME],
            "role": Role.CI,
            "prefix": secret[:TOKEN_PREFIX_LENGTH],
            "token_hash": context.services.mint.hash(secret),
            "registry_id": registry_id,
            "created_by": context.principal.actor_id,
            "created_at": context.now(),
        },
    )
    await _record(context, session, "apikey.created", key_id, {"registryId": registry_id}, kind="apikey")
    return secret


async def _record(
    context: RequestContext,
    session: AsyncSession,
    action: str,
    target: str,
    details: dict[str, Any],
    *,
    kind: str = "registry",
) -> None:
    await record(
        session,
        organization_id=context.organization_id,
        actor=context.principal.actor_id,
        action=action,
        target=f"{kind}:{target}",
        ip=context.client_ip,
        details=details,
        now=context.now(),
    )
