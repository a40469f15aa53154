"""Sensors as the schema shows them, and the replies of their protocol, whose names are its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import strawberry

from schema.kernel.rows import resolved_field
from schema.kernel.scalars import Long
from schema.sensors.enums import SensorStatus


@strawberry.type(description="A tool of a sensor.")
class ScannerVersion:
    name: str = strawberry.field(description="The engine, like `trivy`.")
    version: str = strawberry.field(description="What the tool says of its version, as it is.")


@strawberry.type(description="A scanner inside the network its registry is in.")
class Sensor:
    id: strawberry.ID = strawberry.field(description="`sen-…`.")
    name: str = strawberry.field(description="What it calls itself.")
    status: SensorStatus = strawberry.field(
        description="offline: nothing was heard of it for two minutes, or for six after it registered."
    )
    registry_id: strawberry.ID | None = strawberry.field(description="The registry it scans.")
    api_key_id: strawberry.ID = strawberry.field(description="The key it speaks with, `key-…`.")
    hostname: str = strawberry.field(description="Name of its machine.")
    os: str = strawberry.field(description="Operating system, like `linux`.")
    arch: str = strawberry.field(description="Architecture, like `amd64`.")
    version: str = strawberry.field(description="Version it states.")
    capabilities: list[str] = strawberry.field(description="What it says it can do, like `scan`.")
    active_scans: int = strawberry.field(description="Scans it has in hand.")
    uptime_seconds: Long = strawberry.field(description="Seconds since it started.")
    registered_at: datetime = strawberry.field(description="When it last introduced itself.")
    last_seen_at: datetime = strawberry.field(
        name="lastHeartbeatAt", description="Its last request of any kind, to a few seconds."
    )
    created_at: datetime = strawberry.field(description="When it first introduced itself.")

    @resolved_field(description="Its tools.", reads=("scanner_versions",))
    def scanner_versions(self) -> list[ScannerVersion]:
        told: dict[str, str] = cast("Any", self).scanner_versions
        return [ScannerVersion(name=name, version=version) for name, version in told.items()]


@strawberry.type(description="A sensor is known.")
class SensorRegistration:
    agent_id: strawberry.ID = strawberry.field(description="What it calls itself from now on, `sen-…`.")


@strawberry.type(description="What a sensor said has been taken down.")
class SensorAcknowledgement:
    ok: bool = strawberry.field(description="true.")
    cancel_jobs: list[strawberry.ID] = strawberry.field(description="Its jobs that nobody wants any more.")


@strawberry.type(description="Credentials to pull an image with.")
class SensorCredentials:
    username: str = strawberry.field(description="User name.")
    password: str = strawberry.field(description="Password.")


@strawberry.type(description="What to scan.")
class SensorScan:
    image_ref: str = strawberry.field(description="The image, like `ghcr.io/acme/api:1.4.7`.")
    source: str = strawberry.field(description="Where to get it: `registry`.")
    scanners: list[str] = strawberry.field(description="Engines to run, like `trivy`.")
    platform: str | None = strawberry.field(description="Platform that is wanted, like `linux/amd64`.")
    registry_credentials: SensorCredentials | None = strawberry.field(
        description="For a sensor that uses them, and a registry that has some."
    )
    sealed_credentials: str | None = strawberry.field(
        description="Instead, for a sensor that registered with a public key: sealed to it (HPKE), base64."
    )


@strawberry.type(description="A job of a sensor.")
class SensorAssignment:
    id: strawberry.ID = strawberry.field(description="The scan it is for, `scn-…`.")
    type: str = strawberry.field(description="Kind of job: `SCAN`.")
    created_at: datetime = strawberry.field(description="When it was asked for.")
    scan: SensorScan = strawberry.field(description="What to scan.")


@strawberry.type(description="What a sensor has to do. A job that is here is taken by that.")
class SensorAssignments:
    jobs: list[SensorAssignment] = strawberry.field(description="At most one.")
    cancel_jobs: list[strawberry.ID] = strawberry.field(description="Its jobs that nobody wants any more.")


@strawberry.type(description="What a sensor found has been received.")
class ReceivedScan:
    ok: bool = strawberry.field(description="true.")
    scan_id: strawberry.ID = strawberry.field(description="The scan, `scn-…`.")
    image_id: strawberry.ID = strawberry.field(description="The image, `img-…`.")


@strawberry.type(description="What a sensor patched has been received.")
class ReceivedPatch:
    patch_id: strawberry.ID = strawberry.field(description="The upload, `upl-…`.")


@strawberry.type(description="What a sensor exported has been received.")
class ReceivedExport:
    export_id: strawberry.ID = strawberry.field(description="The upload, `upl-…`.")
