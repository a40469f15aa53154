"""`harborguard upload`: what another tool found, brought to a server without the image."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from app.client.answers import Created, One
from app.client.api import Api
from app.client.policy import ExitCode, Policy
from app.client.results import Format, write
from app.client.scanning import Terminal, Wanted, scan_on_server
from schema.scans.formats import ReportFormat

STDIN = Path("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFile:
    """A report and what its sender says of it. `path` may be STDIN."""

    path: Path
    image: str
    format: ReportFormat | None = None
    digest: str | None = None
    platform: str | None = None


async def upload_report(api: Api, report: ReportFile, terminal: Terminal, *, wait: bool, seconds: float) -> ExitCode:
    """Sends a report and prints what the server made of it as JSON: that it is queued, or with `wait` what it holds."""
    stated = {"format": report.format, "digest": report.digest, "platform": report.platform}
    with _file(report.path) as path:
        terminal.tell(f"Sending {path.stat().st_size} bytes")
        try:
            async with asyncio.timeout(seconds):
                # Asking twice imports once.
                sent = await api.upload(
                    One[Created],
                    "/api/scans/import",
                    path,
                    idempotency_key=secrets.token_hex(16),
                    image=report.image,
                    **{name: value for name, value in stated.items() if value is not None},
                )
        except TimeoutError:
            terminal.errors.print(f"[red]The server did not take the report within {seconds:g} seconds.[/]")
            return ExitCode.TIMED_OUT
    if wait:
        wanted = Wanted(policy=Policy(), format=Format.JSON, output=None)
        return await scan_on_server(api, sent.data.id, wanted, terminal, seconds=seconds)
    write(orjson.dumps(sent.data.model_dump(by_alias=True), option=orjson.OPT_APPEND_NEWLINE), None)
    return ExitCode.CLEAN


@contextmanager
def _file(path: Path) -> Iterator[Path]:
    """The report as a file, which can be sent again."""
    if path != STDIN:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="harborguard-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)
