"""`make demo`: the whole way once, on this machine, with nothing left running.

Every step is what a user would do: the same commands, the same HTTP calls. Only the image is ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from app import administration
from app.client.answers import Finding, Scan
from app.demo import SAMPLE_ADVISORIES
from app.demo.image import DemoImage, build_demo_image
from app.presentation import print_scan, show_progress
from app.settings import LogLevel, Settings
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.principal import Role

START_SECONDS = 30.0
SCAN_SECONDS = 120.0
ENGINES = ("trivy", "grype", "syft", "dockle", "osv", "dive")
QUERY = """
query Demo($id: ID!) {
  scan(id: $id) {
    grade riskScore
    counts { critical high medium low unknown total }
    findings { meta { total } }
  }
}
"""


async def tour(directory: Path, out: Console) -> None:
    """Builds, sets up, serves, scans over REST, reads the same over GraphQL, and stops. Raises what a step raises."""
    shutil.rmtree(directory / "data", ignore_errors=True)
    settings = Settings(data_dir=directory / "data", port=_free_port(), log_level=LogLevel.WARNING)

    _step(out, "1", "Build an image: Debian 12, outdated Python and npm packages, seven layers")
    image = await asyncio.to_thread(
        build_demo_image,
        directory / "image",
        cache=directory / "wheels",
        progress=lambda step: out.print(f"  [dim]{escape(step)}[/]", highlight=False),
    )
    out.print(f"  {escape(image.reference)} {image.digest}", highlight=False)

    _step(out, "2", "Set up: an organization, a sample of real advisories, an API key for a pipeline")
    await administration.set_up(
        settings, organization="Demo", email="demo@example.com", name="Demo", password=os.urandom(16).hex()
    )
    summary = await administration.import_advisories(settings, str(SAMPLE_ADVISORIES), console=out)
    out.print(f"  {summary.records} advisories (a dated sample; import full OSV dumps for real work)", highlight=False)
    key = await administration.create_key(settings, name="pipeline", role=Role.CI, organization_id=None, expires_days=1)
    out.print(f"  API key {key[:10]}… with the role ci", highlight=False)

    _step(out, "3", "Serve: one process, SQLite, the worker inside")
    async with _server(settings) as base_url:
        out.print(f"  {base_url}", highlight=False)
        async with httpx.AsyncClient(base_url=base_url, headers={"X-API-Key": key}, timeout=30, trust_env=False) as api:
            await _scan(api, image, out)


async def _scan(api: httpx.AsyncClient, image: DemoImage, out: Console) -> None:
    _step(out, "4", "Scan over REST: upload the archive, trigger, follow")
    upload = await _data(
        api.post(
            "/api/images/upload",
            params={"image": image.reference},
            headers={"Content-Type": "application/x-tar"},
            content=await asyncio.to_thread(image.archive.read_bytes),
        )
    )
    body = {"image": image.reference, "scanners": list(ENGINES), "uploadId": upload["id"]}
    out.print(f"  POST /api/scans {escape(json.dumps(body))}", highlight=False)
    queued = await _data(api.post("/api/scans", json=body))
    async with asyncio.timeout(SCAN_SECONDS):
        await show_progress(_events(api, f"/api/scans/{queued['id']}/events"), out)
    scan = await _data(api.get(f"/api/scans/{queued['id']}"))
    if scan["status"] != "COMPLETE":
        raise _broken(f"The scan is {scan['status']}: {scan['failureReason']}")
    findings = (await api.get(f"/api/scans/{queued['id']}/findings", params={"limit": 200})).json()
    print_scan(Scan.model_validate(scan), [Finding.model_validate(each) for each in findings["data"]], out)

    _step(out, "5", "The same scan by one GraphQL query")
    answer = (await api.post("/graphql", json={"query": QUERY, "variables": {"id": queued["id"]}})).json()
    same = answer["data"]["scan"]
    if same["counts"] != scan["counts"] or same["grade"] != scan["compliance"]:
        raise _broken("REST and GraphQL disagree about the scan")
    out.print(
        f"  scan {{ grade: {same['grade']}, riskScore: {same['riskScore']}, findings: {same['findings']['meta']['total']} }}"
        "  [green]agrees with REST[/]",
        highlight=False,
    )
    if not findings["data"]:
        raise _broken("The scan found nothing")
    _say_how_to_go_on(out)


def _say_how_to_go_on(out: Console) -> None:
    out.print()
    out.print(Rule("Go on", align="left"))
    for line in (
        "make serve                                      serve for real; prints a token to set it up with",
        ".venv/bin/harborguard advisories import FILE    full OSV data (osv.dev/docs: all.zip of each ecosystem)",
        ".venv/bin/harborguard scan IMAGE                scan from the command line, no server needed",
        "README.md, docs/quickstart.md                   the calls above as curl, and the GraphQL guide",
    ):
        out.print(f"  {line}", highlight=False)


async def _data(request: Any) -> dict[str, Any]:
    response: httpx.Response = await request
    body = response.json()
    if response.is_error:
        raise _broken(f"{response.request.method} {response.request.url.path}: {body['error']['message']}")
    data: dict[str, Any] = body["data"]
    return data


async def _events(api: httpx.AsyncClient, path: str) -> AsyncIterator[Mapping[str, Any]]:
    """The `progress` events of a server-sent event stream."""
    name = ""
    async with api.stream("GET", path) as response:
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name == "progress":
                yield json.loads(value)


@asynccontextmanager
async def _server(settings: Settings) -> AsyncIterator[str]:
    """`harborguard serve` as a process of its own, stopped when the block ends."""
    environment = {
        **os.environ,
        "HARBORGUARD_DATA_DIR": str(settings.data_dir),
        "HARBORGUARD_HOST": settings.host,
        "HARBORGUARD_PORT": str(settings.port),
        "HARBORGUARD_LOG_LEVEL": settings.log_level.value,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "app.cli", "serve", env=environment)
    base_url = f"http://{settings.host}:{settings.port}"
    try:
        await _wait_until_ready(base_url, process)
        yield base_url
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _wait_until_ready(base_url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_SECONDS), httpx.AsyncClient(base_url=base_url, trust_env=False) as api:
        while process.returncode is None:
            try:
                if (await api.get("/api/ready")).is_success:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    raise _broken("The server ended before it was ready")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _broken(message: str) -> HarborGuardError:
    return HarborGuardError(ErrorCode.INTERNAL_ERROR, message)


def _step(out: Console, number: str, title: str) -> None:
    out.print()
    out.print(Rule(f"[bold]{number}[/]  {title}", align="left"))
