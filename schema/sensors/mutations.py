"""The sensor protocol, and removing a sensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import strawberry

from schema.audit.repository import record
from schema.kernel.operations import Info, mutation_field, received_field
from schema.kernel.scalars import ByteStream, Report, SensorMessage
from schema.sensors import connecting, repository
from schema.sensors.cataloguing import take_catalog
from schema.sensors.connecting import Assignment
from schema.sensors.receiving import receive_other, receive_scan
from schema.sensors.types import (
    ReceivedExport,
    ReceivedPatch,
    ReceivedScan,
    SensorAcknowledgement,
    SensorAssignment,
    SensorAssignments,
    SensorCredentials,
    SensorRegistration,
    SensorScan,
)

SPEAKS = "sensors:connect"
_Said = Annotated[SensorMessage, strawberry.argument(description="What the sensor says.")]
_Sent = Annotated[Report, strawberry.argument(description="What it found: an envelope, as JSON.")]


@strawberry.type
class SensorsMutation:
    @mutation_field(
        SPEAKS,
        description=(
            "Introduces a sensor: its name, what it can do, its tools' versions. Again with the same key and `sensorId` it is "
            "the same sensor."
        ),
    )
    async def register_sensor(self, info: Info, message: _Said) -> SensorRegistration:
        async with info.context.write() as session:
            sensor_id = await connecting.register(info.context, session, _members(message))
        return SensorRegistration(agent_id=strawberry.ID(sensor_id))

    @mutation_field(
        SPEAKS,
        description="A sensor is there, and says whether it is at work. FORBIDDEN for an `agentId` of another key.",
    )
    async def sensor_heartbeat(self, info: Info, message: _Said) -> SensorAcknowledgement:
        async with info.context.write() as session:
            return _acknowledged(await connecting.take_heartbeat(info.context, session, _members(message)))

    @received_field(
        SPEAKS,
        description=(
            "What a sensor has to do; what is handed out is taken, and goes to another sensor when this one falls silent. "
            "FORBIDDEN for an `agentId` of another key."
        ),
    )
    async def claim_sensor_jobs(
        self, info: Info, agent_id: Annotated[strawberry.ID, strawberry.argument(description="`sen-…`.")]
    ) -> SensorAssignments:
        found = await connecting.claim(info.context, agent_id)
        return SensorAssignments(jobs=[_assignment(each) for each in found.jobs], cancel_jobs=_ids(found.cancel_jobs))

    @mutation_field(
        SPEAKS,
        description=(
            "How a job ended: completed, failed with its error, or cancelled. Said again it changes nothing, and after the "
            "results came neither. FORBIDDEN for a job of another registry or sensor."
        ),
    )
    async def report_sensor_job(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The job: `scn-…`.")],
        message: _Said,
    ) -> SensorAcknowledgement:
        async with info.context.write() as session:
            await connecting.take_report(info.context, session, id, _members(message))
        return _acknowledged(())

    @mutation_field(
        SPEAKS,
        description="Repositories and tags a sensor saw in its registry. FORBIDDEN for an `agentId` of another key.",
    )
    async def report_catalog(self, info: Info, message: _Said) -> SensorAcknowledgement:
        async with info.context.write() as session:
            await take_catalog(info.context, session, _members(message))
        return _acknowledged(())

    @received_field(
        SPEAKS,
        description=(
            "Receives what a sensor found in an image, for a job or on its own, and queues reading it. The same once more is "
            "answered the same. NOT_FOUND for a job that is not there, FORBIDDEN for one of another registry."
        ),
    )
    async def upload_scan(self, info: Info, report: _Sent) -> ReceivedScan:
        received = await receive_scan(info.context, cast("ByteStream", report).chunks)
        return ReceivedScan(ok=True, scan_id=strawberry.ID(received.scan_id), image_id=strawberry.ID(received.image_id))

    @received_field(SPEAKS, description="Receives what a sensor says of an image it patched, and keeps it.")
    async def upload_patch(self, info: Info, report: _Sent) -> ReceivedPatch:
        upload_id = await receive_other(info.context, cast("ByteStream", report).chunks, "patch")
        return ReceivedPatch(patch_id=strawberry.ID(upload_id))

    @received_field(SPEAKS, description="Receives what a sensor says of an image it exported, and keeps it.")
    async def upload_export(self, info: Info, report: _Sent) -> ReceivedExport:
        upload_id = await receive_other(info.context, cast("ByteStream", report).chunks, "export")
        return ReceivedExport(export_id=strawberry.ID(upload_id))

    @mutation_field(
        "registries:delete",
        description=(
            "Forgets a sensor; what it has in hand goes to another one. Its key stays: with it, it can register anew. "
            "Returns its id."
        ),
    )
    async def delete_sensor(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`sen-…`.")]
    ) -> strawberry.ID:
        context = info.context
        async with context.write() as session:
            await repository.return_jobs(session, context.organization_id, id, now=context.now())
            await repository.delete_sensor_row(session, context.organization_id, id)
            await record(
                session,
                organization_id=context.organization_id,
                actor=context.principal.actor_id,
                action="sensor.removed",
                target=f"sensor:{id}",
                ip=context.client_ip,
                now=context.now(),
            )
        return id


def _members(message: SensorMessage) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", message)


def _ids(texts: Sequence[str]) -> list[strawberry.ID]:
    return [strawberry.ID(each) for each in texts]


def _acknowledged(cancel_jobs: Sequence[str]) -> SensorAcknowledgement:
    return SensorAcknowledgement(ok=True, cancel_jobs=_ids(cancel_jobs))


def _assignment(given: Assignment) -> SensorAssignment:
    access = given.credentials
    credentials = None
    if access is not None and access.username is not None and access.password is not None:
        credentials = SensorCredentials(username=access.username, password=access.password)
    return SensorAssignment(
        id=strawberry.ID(given.id),
        type="SCAN",
        created_at=given.created_at,
        scan=SensorScan(
            image_ref=given.image_ref,
            source="registry",
            scanners=list(given.scanners),
            platform=given.platform,
            registry_credentials=credentials,
            sealed_credentials=given.sealed_credentials,
        ),
    )
