"""One job of a sensor: the image is fetched and looked at, and what was seen is put into an envelope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from app.sensor.server import Job
from schema.images.reference import ImageReference
from schema.kernel.clock import utc_now
from schema.kernel.ports import OutgoingHttp
from schema.registries.repository import RegistryAccess
from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.models import Engine
from schema.sensors.handover import open_access
from workers.engines.running import EngineEvent
from workers.engines.tools import Tool, Toolbox
from workers.imports.observation import MEMBER
from workers.observation import Observation
from workers.observing import Observer
from workers.oci.providers import pull_credentials
from workers.oci.registry import pull
from workers.runtime import WorkerLimits

log = structlog.get_logger(__name__)
VERSION = version("harborguard")
_KEPT_OUTPUT = 32 * 1024**2  # bytes of what all tools printed that go with the results


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a sensor looks with. `access` is its own way into its registry; None: it is told with each job."""

    name: str
    http: OutgoingHttp
    toolbox: Toolbox
    limits: WorkerLimits
    native_fallback: bool
    key: X25519PrivateKey
    access: RegistryAccess | None

    async def look(self, job: Job, scratch: Path) -> bytes:
        """The envelope. Raises ScanFailure with the reason a person understands."""
        reference, insecure = _reference(job.scan.image_ref)
        access = self._access(job, reference)
        tools = await self.toolbox.look(_engines(job.scan.scanners))
        credentials = None
        if access is not None:
            credentials = await pull_credentials(access, http=self.http, clock=utc_now)
        started_at = utc_now()
        image = await pull(
            reference,
            scratch / "image",
            platform=job.scan.platform,
            credentials=credentials,
            http=self.http,
            limits=self.limits.image,
            insecure=insecure or (access is not None and access.insecure),
        )
        observer = Observer(
            toolbox=self.toolbox,
            limits=self.limits,
            native_fallback=self.native_fallback,
            clock=utc_now,
            examining=_examining,
            progress=_tell,
        )
        observation = await observer.observe(image, tools, tag=reference.tag, scratch=scratch)
        return _envelope(self.name, job, reference, observation, started_at=started_at)

    def _access(self, job: Job, reference: ImageReference) -> RegistryAccess | None:
        """Never the credentials of one registry for another."""
        access = self.access
        if access is not None and access.host != reference.registry:
            message = f"This sensor is for {access.host}, and not for {reference.registry}"
            raise ScanFailure(FailureCode.REGISTRY_UNREACHABLE, message)
        if (access is None or access.username is None) and job.scan.sealed_credentials is not None:
            try:
                access = open_access(job.scan.sealed_credentials, self.key, scan_id=job.id)
            except ValueError as error:
                raise ScanFailure(FailureCode.REGISTRY_UNREACHABLE, f"The server sent no use: {error}") from None
        return access if access is not None and access.host == reference.registry else None


def _reference(told: str) -> tuple[ImageReference, bool]:
    """The image, and whether its registry speaks plain HTTP, which the scheme says."""
    scheme, separator, rest = told.rpartition("://")
    return ImageReference.parse(rest if separator else told), scheme.lower() == "http"


def _engines(names: Sequence[str]) -> list[Engine]:
    unknown = [name for name in names if name not in set(Engine)]
    if unknown:
        message = f"This sensor, of version {VERSION}, knows no engine {', '.join(unknown)}"
        raise ScanFailure(FailureCode.ENGINES_FAILED, message)
    return [Engine(name) for name in names] or list(Engine)


async def _examining(_absent: Sequence[Engine]) -> None:
    log.info("sensor.reading")


async def _tell(event: EngineEvent) -> None:
    log.info("sensor.engine", engine=event.tool.engine, status=event.status, message=event.message)


def _envelope(
    name: str, job: Job, reference: ImageReference, observation: Observation, *, started_at: datetime
) -> bytes:
    """The members that say what it is about come first: the server looks no further before it takes the rest."""
    image = observation.image
    return orjson.dumps(
        {
            "version": "1.0",
            "scan": {"id": job.id, "startedAt": started_at, "finishedAt": utc_now(), "status": "SUCCESS"},
            "image": {
                "ref": str(reference),
                "name": reference.repository,
                "tag": reference.tag or "",
                "digest": image.digest,
                "platform": image.platform,
                "sizeBytes": image.size_bytes,
            },
            "sensor": {"name": name, "version": VERSION, "scannerVersions": tool_versions(observation.tools)},
            MEMBER: _without_excess(observation),
        },
        default=_printed,
    )


def tool_versions(tools: Sequence[Tool]) -> Mapping[str, str]:
    return {tool.engine.value: tool.provider for tool in tools if tool.problem is None}


def _without_excess(observation: Observation) -> Observation:
    """Without paths of this machine, and no more of what tools printed than is worth sending."""
    left, answers = _KEPT_OUTPUT, []
    for answer in observation.answers:
        size = len(answer.output or b"")
        answers.append(
            replace(answer, tool=replace(answer.tool, path=None), output=answer.output if size <= left else None)
        )
        left -= size if size <= left else 0
    tools = tuple(replace(tool, path=None) for tool in observation.tools)
    return replace(observation, tools=tools, answers=tuple(answers))


def _printed(output: Any) -> str:
    assert isinstance(output, bytes)
    return output.decode(errors="replace")
