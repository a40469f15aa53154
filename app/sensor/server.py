"""The server as a sensor sees it: the messages of its protocol. Each call lasts until the server has answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from app.client.answers import Answer
from app.client.api import Api


class Registered(Answer):
    agent_id: str


class Acknowledged(Answer):
    cancel_jobs: tuple[str, ...] = ()


class ScanOrder(Answer):
    """What to scan. `sealed_credentials` are for this sensor and this job."""

    image_ref: str
    scanners: list[str]
    platform: str | None = None
    sealed_credentials: str | None = None


class Job(Answer):
    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")  # it becomes the name of a file
    scan: ScanOrder


class Assignments(Answer):
    jobs: tuple[Job, ...]
    cancel_jobs: tuple[str, ...] = ()


class Server:
    """Every call raises ApiError when it is refused."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._agent_id = ""

    async def register(self, registration: dict[str, Any]) -> None:
        self._agent_id = (await self._api.post(Registered, "/api/agent/register", registration)).agent_id

    async def heartbeat(self, *, active: int, uptime_seconds: int) -> tuple[str, ...]:
        """Returns the jobs nobody wants any more."""
        body = {
            "agentId": self._agent_id,
            "status": "scanning" if active else "idle",
            "activeScans": active,
            "uptimeSeconds": uptime_seconds,
        }
        return (await self._api.post(Acknowledged, "/api/agent/heartbeat", body)).cancel_jobs

    async def claim(self) -> Assignments:
        return await self._api.get(Assignments, "/api/agent/jobs", agentId=self._agent_id)

    async def report(self, job_id: str, outcome: dict[str, Any]) -> None:
        await self._api.post(Acknowledged, f"/api/agent/jobs/{job_id}/status", outcome)

    async def upload(self, results: Path) -> None:
        await self._api.upload(Answer, "/api/scans/upload", results)

    async def report_catalog(self, catalog: dict[str, Any]) -> None:
        await self._api.post(Acknowledged, "/api/agent/catalog", {"agentId": self._agent_id, **catalog})
