"""Sensors of both generations in the field, as far as the wire shows them: what Go sends, headers included."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select, update
from sqlmodel import col

from schema.credentials.repository import insert_api_key
from schema.kernel.clock import utc_now
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import Role
from schema.kernel.secrets import TokenKind, new_token
from schema.registries.models import Registry, RegistryProvider, ScanMethod
from schema.registries.repository import add_registry
from tests.app.site import Site, Tenant
from tests.workers.workshop import Workshop

HOST = "registry.acme.example"
IMAGE = f"{HOST}/team/api:1.4.7"
CANARY = "canary-p4ssw0rd-of-the-registry"
ALL_ENGINES = ["trivy", "grype", "syft", "dockle", "osv", "dive"]
# As the probes of the tools answer: the first line, of use or not.
VERSIONS = {
    "trivy": "Version: 0.69.3",
    "grype": "Application:         grype",
    "syft": "Application: syft",
    "dockle": "dockle version 0.4.15",
    "osv": "osv-scanner version: 2.2.2",
    "dive": "dive 0.13.1",
}


@dataclass
class SensorClient:
    """One sensor in the field. `base` is the address it was given, with or without a slash at its end."""

    client: httpx.AsyncClient
    key: str
    second: bool = False  # of the second generation
    identity: str = ""
    base: str = ""
    agent_id: str = ""

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Go sets the content type on a GET as well, and `encoding/json` leaves no spaces and escapes `<`, `>` and `&`."""
        sent = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.key}",
            "User-Agent": "Go-http-client/1.1",
            "Accept-Encoding": "gzip",
            **headers,
        }
        content = body if isinstance(body, bytes | None) else go_json(body)
        return await self.client.request(method, f"{self.base}{path}", headers=sent, content=content)

    def registration(self) -> dict[str, Any]:
        given = {
            "name": "edge-1",
            "version": "0.1.0",
            "hostname": "edge-1.local",
            "os": "linux",
            "arch": "amd64",
            "scannerVersions": VERSIONS,
            "capabilities": ["scan"],
            "s3Configured": False,
        }
        if self.second:
            given |= {"capabilities": ["scan", "discovery", "export"], "registryUrl": f"https://{HOST}"}
        if self.identity:
            given["sensorId"] = self.identity
        return given

    async def register(self) -> str:
        response = await self.call("POST", "/api/agent/register", self.registration())
        assert response.status_code == 200, response.text
        self.agent_id = response.json()["agentId"]
        return self.agent_id

    async def heartbeat(self, status: str = "idle") -> httpx.Response:
        body = {
            "agentId": self.agent_id,
            "status": status,
            "activeScans": int(status == "scanning"),
            "uptimeSeconds": 90,
        }
        return await self.call("POST", "/api/agent/heartbeat", body)

    async def poll(self) -> dict[str, Any]:
        response = await self.call("GET", f"/api/agent/jobs?agentId={self.agent_id}")
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        assert isinstance(answer["jobs"], list)
        assert isinstance(answer["cancelJobs"], list)
        return answer

    async def claim(self) -> dict[str, Any] | None:
        jobs = (await self.poll())["jobs"]
        assert len(jobs) <= 1
        return jobs[0] if jobs else None

    async def status(self, job: str, status: str, error: str | None = None) -> httpx.Response:
        body = {"status": status} | ({"error": error} if error is not None else {})
        return await self.call("POST", f"/api/agent/jobs/{job}/status", body)

    async def upload(self, envelope: Any, **headers: str) -> httpx.Response:
        return await self.call("POST", "/api/scans/upload", envelope, **headers)


def go_json(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text.encode()


def envelope(scan_id: str, ref: str = IMAGE, *, status: str = "SUCCESS", **changes: Any) -> dict[str, Any]:
    """Of the first generation, with a finding of each kind."""
    name, _, tag = ref.rpartition("/")[2].partition(":")
    return {
        "version": "1.0",
        "sensor": {"version": "0.1.0", "scannerVersions": VERSIONS},
        "image": {"ref": ref, "digest": f"{HOST}/team/api@sha256:{'d' * 64}", "name": name, "tag": tag or "latest"},
        "scan": {
            "id": scan_id,
            "startedAt": "2026-04-01T12:34:56Z",
            "finishedAt": "2026-04-01T12:35:56Z",
            "status": status,
        },
        "findings": FINDINGS,
        "aggregates": {
            "vulnerabilityCounts": {"critical": 9, "high": 9, "medium": 9, "low": 9, "info": 9},
            "riskScore": 100,
            "complianceScore": 0,
            "complianceGrade": "D",
            "totalPackages": 4,
        },
        **changes,
    }


FINDINGS: dict[str, Any] = {
    "vulnerabilities": [
        {
            "cveId": "CVE-2024-0001",
            "source": "trivy",
            "severity": "HIGH",
            "cvssScore": 7.5,
            "title": "openssl <b>overflows</b>",
            "packageName": "libssl3",
            "installedVersion": "3.0.1-1",
            "fixedVersion": "3.0.2-1",
            "vulnerabilityUrl": "https://avd.example/CVE-2024-0001",
        },
        {
            "cveId": "GHSA-aaaa-bbbb-cccc",
            "source": "grype",
            "severity": "CRITICAL",
            "packageName": "left-pad",
            "installedVersion": "1.0.0",
        },
        {
            "cveId": "DSA-0",
            "source": "osv",
            "severity": "INFO",
            "packageName": "libssl3",
            "installedVersion": "3.0.1-1",
        },
        {"cveId": "CVE-2024-0009", "source": "grype", "severity": "INFO", "packageName": "mystery"},
    ],
    "packages": [
        {
            "name": "libssl3",
            "version": "3.0.1-1",
            "type": "deb",
            "source": "syft",
            "license": "Apache-2.0, OpenSSL",
            "purl": "pkg:deb/debian/libssl3@3.0.1-1?arch=amd64&distro=debian-12&upstream=openssl",
        },
        {"name": "libssl3", "version": "3.0.1", "type": "debian", "source": "trivy"},
        {"name": "left-pad", "version": "1.0.0", "type": "npm", "source": "syft", "purl": "pkg:npm/left-pad@1.0.0"},
        {"name": "thing", "version": "1", "type": "unknown", "source": "trivy"},
    ],
    "compliance": [
        {
            "ruleId": "CIS-DI-0001",
            "ruleName": "Create a user for the container",
            "severity": "MEDIUM",
            "source": "dockle",
            "category": "BestPractice",
            "message": "Last user should not be root",
        },
        {"ruleId": "DKL-DI-0006", "ruleName": "Avoid latest tag", "severity": "MEDIUM", "source": "dockle"},
    ],
    "efficiency": [
        {
            "findingType": "large_layer",
            "title": "Large layer: 120.00MB",
            "severity": "WARNING",
            "source": "dive",
            "sizeBytes": 125_829_120,
            "details": "RUN apt-get install -y everything",
        }
    ],
}
NO_FINDINGS: dict[str, Any] = {"vulnerabilities": [], "packages": [], "compliance": [], "efficiency": []}


@dataclass
class Edge:
    """An organization with a registry that sensors scan, and a key for those."""

    site: Site
    tenant: Tenant
    directory: Path
    registry_id: str
    keys: list[str] = field(default_factory=list)

    async def key(self, registry_id: str | None = None) -> str:
        token, now = new_token(TokenKind.API_KEY), utc_now()
        async with self.site.database.write() as session:
            await insert_api_key(
                session,
                {
                    "id": new_id(IdPrefix.API_KEY),
                    "organization_id": self.tenant.organization_id,
                    "name": "sensor",
                    "role": Role.SENSOR,
                    "prefix": token[:10],
                    "token_hash": self.site.services.mint.hash(token),
                    "registry_id": registry_id or self.registry_id,
                    "created_by": self.tenant.user_id,
                    "created_at": now,
                    "last_used_at": now,
                },
            )
        return token

    async def add_registry(self, host: str, *, insecure: bool = False) -> str:
        async with self.site.database.write() as session:
            registry_id = await add_registry(
                session,
                self.tenant.organization_id,
                name=host,
                provider=RegistryProvider.HARBOR,
                host=host,
                insecure=insecure,
                username="robot",
                password=CANARY,
                keys=self.site.services.keys,
                now=utc_now(),
            )
            await session.execute(
                update(Registry)
                .where(col(Registry.organization_id) == self.tenant.organization_id, col(Registry.id) == registry_id)
                .values(scan_method=ScanMethod.SENSOR)
            )
        return registry_id

    async def trigger(self, client: httpx.AsyncClient, image: str = IMAGE, **given: Any) -> str:
        body = {"image": image, "scanners": ALL_ENGINES, **given}
        response = await client.post("/api/scans", json=body, headers=self.tenant.headers())
        assert response.status_code == 202, response.text
        return str(response.json()["data"]["id"])

    async def work(self) -> None:
        """A worker takes everything that is due."""
        async with Workshop(self.site.database, self.directory).runner() as runner:
            runner.wake()
            await runner.idle()

    async def scan(self, client: httpx.AsyncClient, scan_id: str) -> dict[str, Any]:
        response = await client.get(f"/api/scans/{scan_id}", headers=self.tenant.headers())
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()["data"]
        return found

    async def rows(self, table: Any) -> list[Any]:
        async with self.site.database.read() as session:
            return list((await session.execute(select(table))).scalars())

    async def registry(self) -> Registry:
        found: Registry = next(row for row in await self.rows(Registry) if row.id == self.registry_id)
        return found


@dataclass
class Hands:
    """A clock that is moved by hand, and stands still meanwhile."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


def stop_clock(site: Site) -> Hands:
    hands = Hands()
    object.__setattr__(site.services, "clock", hands)
    return hands


async def open_edge(site: Site, directory: Path, name: str = "acme", *, insecure: bool = False) -> Edge:
    edge = Edge(site=site, tenant=await site.tenant(name), directory=directory, registry_id="")
    edge.registry_id = await edge.add_registry(HOST, insecure=insecure)
    return edge


MakeSensor = Callable[..., SensorClient]
