"""A scan from the first word to the exit code, against any REST API of HarborGuard."""

from __future__ import annotations

import asyncio
import secrets
import tarfile
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape

from app.client.answers import ENDED, Created, Finding, One, Scan, Several, Status
from app.client.api import Api, ApiError
from app.client.policy import ExitCode, Policy, Verdict, describe, judge, unused
from app.client.results import Format, Result, as_json, as_table, print_table, write
from app.presentation import show_progress
from schema.kernel.errors import bad_request
from schema.scans.models import Engine
from schema.scans.trigger import ScanRequest

SHORTEST_POLL_SECONDS = 0.2
LONGEST_POLL_SECONDS = 5.0
PAGE = 200
MAX_PAGES_OF_SCANS = 10  # further back nobody looks for the previous scan of a tag
MAX_SEARCH_CHARACTERS = 200  # what the list of scans takes
NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """`out` for results, `progress` for what may be silenced, `errors` for what may not."""

    out: Console
    progress: Console
    errors: Console

    def tell(self, message: str) -> None:
        self.progress.print(escape(message), highlight=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to come of the scan."""

    policy: Policy
    format: Format
    output: Path | None


def request_for(image: str, *, engines: tuple[Engine, ...], name: str | None, platform: str | None) -> ScanRequest:
    """`image` is a layout directory or an archive on this machine if there is one of that name, else a reference."""
    path = Path(image)
    if not path.exists():
        return ScanRequest(image=name or image, scanners=engines, platform=platform)
    return ScanRequest(image=name or _name_of(path), scanners=engines, path=str(path.absolute()), platform=platform)


def _name_of(path: Path) -> str:
    """A reference for a local file that was given none: `./build/My App.tar` is filed as `local/my-app`."""
    stem = path.name.split(".")[0] or path.absolute().parent.name
    cleaned = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return f"local/{'-'.join(part for part in cleaned.split('-') if part) or 'image'}"


async def scan_on_server(
    api: Api, subject: ScanRequest | str, wanted: Wanted | None, terminal: Terminal, *, seconds: float
) -> ExitCode:
    """Scans, or takes up the scan of the given id. Without `wanted` it does not wait, and prints the id.

    Whoever interrupts it, and whoever waited longer than `seconds`, is told how to go on: the scan does.
    """
    scan_id = subject if isinstance(subject, str) else None
    try:
        async with asyncio.timeout(seconds) as patience:
            if isinstance(subject, ScanRequest):
                scan_id = await start(api, subject)
            assert scan_id is not None
            terminal.tell(f"Scan {scan_id}")
            if wanted is None:
                write(f"{scan_id}\n".encode(), None)
                return ExitCode.CLEAN
            await follow(api, scan_id, terminal)
            return await conclude(api, scan_id, wanted, terminal)
    except asyncio.CancelledError:
        terminal.errors.print(f"Interrupted. {_how_to_go_on(scan_id)}", highlight=False, soft_wrap=True)
        raise
    except TimeoutError:
        if not patience.expired():
            raise
        terminal.errors.print(f"[red]No result in {seconds:g} s.[/] {_how_to_go_on(scan_id)}", soft_wrap=True)
        return ExitCode.TIMED_OUT


def _how_to_go_on(scan_id: str | None) -> str:
    if scan_id is None:
        return "The server has not confirmed the scan; start it again."
    return f"The scan goes on; come back with: harborguard scan --resume {escape(scan_id)}"


async def start(api: Api, request: ScanRequest) -> str:
    """Uploads an image of this machine, triggers the scan, and returns its id. Asking twice starts one scan."""
    body: dict[str, object] = {"image": request.image, "scanners": [engine.value for engine in request.scanners]}
    if request.platform is not None:
        body["platform"] = request.platform
    if request.path is not None:
        async with _archived(Path(request.path)) as archive:
            uploaded = await api.upload(
                One[Created],
                "/api/images/upload",
                archive,
                idempotency_key=secrets.token_hex(16),
                image=request.image,
            )
        body["uploadId"] = uploaded.data.id
    triggered = await api.post(One[Created], "/api/scans", body, idempotency_key=secrets.token_hex(16))
    return triggered.data.id


@asynccontextmanager
async def _archived(path: Path) -> AsyncIterator[Path]:
    """The image as one file: as it is, or a layout directory packed as an OCI archive."""
    if await asyncio.to_thread(path.is_file):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="harborguard-") as scratch:
        archive = Path(scratch) / "image.tar"
        await asyncio.to_thread(_pack, path, archive)
        yield archive


def _pack(layout: Path, archive: Path) -> None:
    """BAD_REQUEST for what is no layout, so that nobody uploads a home directory."""
    if not (layout / "oci-layout").is_file():
        raise bad_request(f"{layout} is no image: neither an archive nor a directory with oci-layout")
    with tarfile.open(archive, "w") as packed:
        for name in ("oci-layout", "index.json", "blobs"):
            packed.add(layout / name, name)


async def follow(api: Api, scan_id: str, terminal: Terminal) -> None:
    """Returns when the scan has ended, in whatever way."""
    await show_progress(_statuses(api, scan_id), terminal.progress)


async def _statuses(api: Api, scan_id: str) -> AsyncIterator[Mapping[str, Any]]:
    """Asks more seldom the longer it takes: what takes a minute may be noticed six seconds later."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        status = (await api.get(One[Status], f"{_address(scan_id)}/status")).data
        yield status.model_dump()
        if status.status in ENDED:
            return
        waited = loop.time() - began
        await asyncio.sleep(min(LONGEST_POLL_SECONDS, max(SHORTEST_POLL_SECONDS, waited / 10)))


async def conclude(api: Api, scan_id: str, wanted: Wanted, terminal: Terminal) -> ExitCode:
    """Reads what an ended scan found, judges it, hands it out in the form that was asked for, and says what decided."""
    policy = wanted.policy
    scan = (await api.get(One[Scan], _address(scan_id))).data
    findings: list[Finding] = []
    if scan.status == "COMPLETE":
        findings = await _findings(api, scan_id)
        if policy.new_only:
            terminal.tell(f"--new-only: {_compared(scan)}")
        verdict = judge(policy, scan, findings)
        for name in unused(policy.ignored, findings):
            terminal.tell(f"--ignore {name}: the scan has no such finding")
    else:
        verdict = Verdict(
            code=ExitCode.ERROR,
            reasons=(f"the scan is {scan.status} ({scan.failure_code or 'no code'}): {scan.failure_reason or ''}",),
        )
    await _deliver(api, Result(scan=scan, findings=findings, policy=policy, verdict=verdict), wanted, terminal)
    _explain(verdict, policy, terminal)
    return verdict.code


async def _findings(api: Api, scan_id: str) -> list[Finding]:
    """All of them, worst first. ApiError when they changed meanwhile: a finding that is skipped opens the gate."""
    found: list[Finding] = []
    page = 0
    while True:
        page += 1
        answer = await api.get(Several[Finding], f"{_address(scan_id)}/findings", page=page, limit=PAGE)
        found += answer.data
        if not answer.meta.has_next:
            break
    if len({finding.id for finding in found}) != answer.meta.total and answer.meta.total_is_exact:
        raise ApiError(f"The findings changed while they were read. {_how_to_go_on(scan_id)}")
    return found


def _compared(scan: Scan) -> str:
    if scan.compared_with is None:
        return f"there is no earlier scan of {scan.image}, so every finding is new"
    return f"compared with {scan.compared_with}"


async def _deliver(api: Api, result: Result, wanted: Wanted, terminal: Terminal) -> None:
    if wanted.format is Format.TABLE and wanted.output is None:
        print_table(result, terminal.out)
        return
    if wanted.format is Format.TABLE:
        content = as_table(result)
    elif wanted.format is Format.JSON:
        content = as_json(result)
    elif result.scan.status == "COMPLETE":
        content = await _export(api, result.scan.id, wanted.format)
    else:
        return  # there is nothing to export
    await asyncio.to_thread(write, content, wanted.output)


async def _export(api: Api, scan_id: str, form: Format) -> bytes:
    try:
        return await api.download(f"{_address(scan_id)}/export", format=form.value)
    except ApiError as error:
        if error.status == NOT_FOUND:  # the scan was just there
            raise ApiError(f"This server cannot write {form}: it is older than this command") from None
        raise


def _explain(verdict: Verdict, policy: Policy, terminal: Terminal) -> None:
    if verdict.code is not ExitCode.CLEAN:
        for reason in verdict.reasons:
            terminal.errors.print(f"[red]{escape(reason[:1].upper() + reason[1:])}[/]", highlight=False)
    elif policy.judges:
        terminal.tell(f"Passed: nothing is against the policy ({describe(policy)}).")


def _address(scan_id: str) -> str:
    return f"/api/scans/{quote(scan_id, safe='')}"
