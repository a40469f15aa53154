"""Registries as the schema shows them. Credentials go in and never come out."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import strawberry
from sqlalchemy import Row

from schema.kernel.operations import Info
from schema.kernel.rows import part_of_source, resolved_field
from schema.registries.enums import (
    RegistryAuthentication,
    RegistryProvider,
    RegistryStatus,
    ScanMethod,
    Schedule,
    SyncStatus,
)
from schema.scans.enums import Engine
from schema.sensors.enums import SensorStatus
from schema.sensors.repository import sensors_of
from schema.sensors.rules import best_of
from schema.sensors.types import Sensor


@strawberry.type(description="What only a registry's provider knows.")
class RegistryOptions:
    namespace: str | None = strawberry.field(description="Where its images are, like `acme`, where not all are meant.")
    project: str | None = strawberry.field(description="The provider's project, like `acme-prod`.")
    region: str | None = strawberry.field(description="The provider's region, like `eu-central-1`.")


@strawberry.type(description="Whether the sensors of a registry answer.")
class RegistrySensors:
    online: bool = strawberry.field(description="Whether one of them answers.")
    status: SensorStatus | None = strawberry.field(description="The best of them; null: there is none.")
    sensors: list[Sensor] = strawberry.field(description="Up to 200, the one that was seen last first.")


@strawberry.type(description="Where images come from.")
class Registry:
    id: strawberry.ID = strawberry.field(description="`reg-…`.")
    name: str = strawberry.field(description="Its name here, like `Acme on GHCR`.")
    provider: RegistryProvider = strawberry.field(description="Who runs it, or which product it is.")
    url: str = strawberry.field(description="Its address as it was given, like `https://ghcr.io`.")
    host: str = strawberry.field(description="What references of its images begin with, like `ghcr.io`.")
    insecure: bool = strawberry.field(description="Whether it is used without TLS.")
    has_credentials: bool = strawberry.field(description="Whether it has credentials; they cannot be read.")
    options: RegistryOptions = part_of_source(description="What only its provider knows.")
    scan_method: ScanMethod = strawberry.field(description="Who fetches and scans its images.")
    scanners: list[Engine] = strawberry.field(description="Engines of scans nobody asks for; empty: all.")
    tag_include: str = strawberry.field(description="Globs of the tags that count, by commas, like `v*,latest`.")
    tag_exclude: str = strawberry.field(description="Globs of those that do not, by commas, like `*-dev`.")
    schedule: Schedule = strawberry.field(description="When it is synchronized and its tags are scanned by themselves.")
    cron: str | None = strawberry.field(description="The times of the schedule cron, like `30 2 * * 1-5`.")
    time_zone: str = strawberry.field(description="The zone of those times, like `Europe/Berlin`.")
    next_run_at: datetime | None = strawberry.field(description="When the schedule comes next; null: never.")
    status: RegistryStatus = strawberry.field(description="How it stands.")
    status_message: str | None = strawberry.field(description="Why it stands so, where there is something to say.")
    health: int | None = strawberry.field(
        description="0-100: how many of its recent synchronizations succeeded; null: there was none."
    )
    last_sync_at: datetime | None = strawberry.field(description="The last synchronization that succeeded.")
    created_at: datetime = strawberry.field(description="When it was added.")
    updated_at: datetime = strawberry.field(description="When it was last changed.")

    @resolved_field(description="Whether its sensors answer.")
    async def sensor_status(self, info: Info) -> RegistrySensors:
        context = info.context
        async with context.read() as session:
            sensors = await sensors_of(session, context.organization_id, self.id, now=context.now())
        best = best_of([sensor.status for sensor in sensors])
        return RegistrySensors(
            online=best not in {None, SensorStatus.OFFLINE}, status=best, sensors=cast("list[Sensor]", sensors)
        )


@strawberry.type(description="A registry as it was saved.")
class SavedRegistry(Registry):
    sensor_api_key: str | None = strawberry.field(
        description="The key for its sensor, `hg_ak_…`, where one was made for it. It cannot be shown again."
    )

    @staticmethod
    def with_key(row: Row[Any], key: str | None) -> SavedRegistry:
        return cast("SavedRegistry", SimpleNamespace(**row._asdict(), sensor_api_key=key))


@strawberry.type(description="A look at a registry's catalogue: which repositories and tags it has.")
class RegistrySync:
    id: strawberry.ID = strawberry.field(description="`syn-…`.")
    registry_id: strawberry.ID = strawberry.field(description="The registry.")
    status: SyncStatus = strawberry.field(description="How it stands.")
    repositories_found: int = strawberry.field(
        description="Repositories its registry lists, as far as they are counted."
    )
    repositories_done: int = strawberry.field(description="Those whose tags have been compared.")
    tags_found: int = strawberry.field(description="Their tags.")
    tags_new: int = strawberry.field(description="Tags that were not known.")
    tags_moved: int = strawberry.field(description="Tags that point to something else than before.")
    tags_gone: int = strawberry.field(description="Tags that are there no more.")
    message: str | None = strawberry.field(description="Why it failed, or what it had to leave out.")
    requested_by: str = strawberry.field(description="Who asked: kind and id, like `user:usr-…`.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    started_at: datetime | None = strawberry.field(description="When a worker took it.")
    ended_at: datetime | None = strawberry.field(description="When it ended, in whatever way.")


@strawberry.type(description="What was queued for a registry.")
class ScheduledRun:
    registry_id: strawberry.ID = strawberry.field(description="`reg-…`.")
    sync_id: strawberry.ID | None = strawberry.field(
        description="The look at its catalogue; null where it is not time for one, or a sensor looks."
    )
    batch_id: strawberry.ID | None = strawberry.field(
        description="The batch of scans; null where no tag is due, or the scans come after the look."
    )


@strawberry.type(description="What came of trying a registry.")
class ConnectionTest:
    ok: bool = strawberry.field(description="Whether it answers and takes the credentials.")
    message: str = strawberry.field(description="What was found, or what to look at.")
    latency_ms: int | None = strawberry.field(
        description="Milliseconds to its first answer; null: no registry was found."
    )
    provider: RegistryProvider = strawberry.field(description="Who runs it: as given, else told by its name.")
    authentication: RegistryAuthentication | None = strawberry.field(
        description="How it wants to know who asks; null: no registry was found."
    )
