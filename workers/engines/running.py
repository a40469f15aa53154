"""Running the tools that are there, several at once, each failing alone.

A tool sees the one fetched layout, or the one archive made of it, and its own directory: its HOME, its cache, the only
place it may write to. It is given no reference, no credential, no variable of ours and, where the kernel can fence it in,
no network. What it printed is read in a child process, because it is as hostile as the image it has read.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import structlog

from schema.scans.failures import ScanFailure
from schema.scans.models import Engine, EngineRunStatus
from workers.engines.adapter import Adapter, Call, ImageForm
from workers.engines.answer import EngineAnswer
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure, text
from workers.engines.report import EngineReport, ImageFacts
from workers.engines.tools import Tool, Toolbox
from workers.oci.docker_archive import write_docker_archive
from workers.oci.layout import Image
from workers.oci.limits import Budget, ImageLimits
from workers.reading import read_report
from workers.sandbox import GIB, MIB, Completed, Fence, SandboxFailure, SandboxLimits, run
from workers.secrets.search import redact

log = structlog.get_logger(__name__)
KEPT_OUTPUT = 32 * MIB  # what is kept of one engine's output as evidence, before it is compressed
_IMAGE = "image"  # as tools know it: no path of this machine gets into their output
_PRINTED = "printed.json"
_EVIDENCE = "evidence.json"
_TAIL = 4096  # bytes of what it printed that are looked at for its last words
_WORDS = 300  # characters of its last words in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    """What the tools may take. Bytes and seconds."""

    concurrency: int = 2  # tools at a time, for one scan
    seconds: int = 600  # of one run
    memory_bytes: int = 2 * GIB
    output_bytes: int = 128 * MIB  # what it prints or writes as its answer
    processes: int = 4096  # of this user, all of them counted


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEvent:
    """A tool has started (RUNNING), or ended with an answer (COMPLETE, FAILED); `ended` of the `total` have, by now."""

    tool: Tool
    status: EngineRunStatus
    message: str
    answer: EngineAnswer | None
    ended: int
    total: int


@dataclass
class EngineRuns:
    """The tools of one scan. `scratch` is an empty directory of this scan, on the same disk as the layout."""

    image: Image
    facts: ImageFacts
    toolbox: Toolbox
    scratch: Path
    limits: EngineLimits
    image_limits: ImageLimits
    analysis: SandboxLimits  # for the child that reads what a tool printed
    clock: Callable[[], datetime]
    progress: Callable[[EngineEvent], Awaitable[None]]
    _archive: asyncio.Task[Path] | None = field(default=None, init=False)
    _ended: int = field(default=0, init=False)

    async def run(self, tools: Iterable[Tool]) -> Mapping[Engine, EngineAnswer]:
        """Runs each of the tools, which are there. Cancelled, it ends them within two seconds."""
        wanted = list(tools)
        turn = asyncio.Semaphore(self.limits.concurrency)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {tool.engine: group.create_task(self._in_turn(tool, turn, len(wanted))) for tool in wanted}
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # whoever hears of progress may end the scan
        finally:
            if self._archive is not None:
                self._archive.cancel()
                await asyncio.wait({self._archive})
        return {engine: task.result() for engine, task in tasks.items()}

    async def _in_turn(self, tool: Tool, turn: asyncio.Semaphore, total: int) -> EngineAnswer:
        async with turn:
            await self._tell(tool, EngineRunStatus.RUNNING, "has started", None, total)
            answer = await self._answer(tool)
            self._ended += 1
            if answer.report is None:
                await self._tell(tool, EngineRunStatus.FAILED, f"{answer.failure}", answer, total)
            else:
                message = f"has ended: {_summary(answer.report)}"
                await self._tell(tool, EngineRunStatus.COMPLETE, message, answer, total)
            return answer

    async def _tell(
        self, tool: Tool, status: EngineRunStatus, message: str, answer: EngineAnswer | None, total: int
    ) -> None:
        text = f"{tool.provider} {message}"
        event = EngineEvent(tool=tool, status=status, message=text, answer=answer, ended=self._ended, total=total)
        await self.progress(event)

    async def _answer(self, tool: Tool) -> EngineAnswer:
        started_at, clock = self.clock(), time.monotonic()
        directory = self.scratch / tool.engine
        directory.mkdir()
        report, failure, output = None, None, None
        try:
            report, output = await self._run(tool, directory)
        except EngineFailure as error:
            failure = error.message
        except SandboxFailure as error:
            failure = f"was {error.message}"
        except ScanFailure as error:  # the archive could not be made of the image
            failure = f"could not be given the image: {error.message}"
        except OSError as error:
            failure = f"could not be run: {error.strerror}"
        except RuntimeError:  # a defect of ours, brought out by its report, is no reason to lose what others found
            log.exception("engine.report_unread", engine=tool.engine)
            failure = "gave a report that cannot be read; the server's log has the details"
        finally:
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        return EngineAnswer(
            tool=tool,
            report=report,
            failure=failure,
            output=output,
            started_at=started_at,
            duration_ms=int((time.monotonic() - clock) * 1000),
        )

    async def _run(self, tool: Tool, directory: Path) -> tuple[EngineReport, bytes | None]:
        adapter = ADAPTERS[tool.engine]
        image = self.image.layout if adapter.form is ImageForm.LAYOUT else await self._docker_archive()
        (directory / _IMAGE).symlink_to(image.absolute())
        call = Call(
            image=Path(_IMAGE),
            directory=directory,
            databases=self.toolbox.databases,
            vulnerabilities=tool.database_date is not None,
            seconds=self.limits.seconds,
        )
        await self._execute(adapter, tool, call, image)
        answer = directory / (adapter.output or _PRINTED)
        if not answer.is_file() or answer.is_symlink():
            raise EngineFailure("wrote no report")
        if answer.stat().st_size > self.limits.output_bytes:
            raise EngineFailure(f"wrote a report of more than {self.limits.output_bytes} bytes")
        report = await read_report(
            tool.engine, answer, self.facts, evidence=directory / _EVIDENCE, sandbox=self.analysis
        )
        report = replace(report, warnings=(*adapter.notes(call), *report.warnings))
        if adapter.database_date is not None and not call.vulnerabilities:
            report = replace(report, findings=None)  # it was not asked for any
        return report, await asyncio.to_thread(_kept, directory / _EVIDENCE)

    async def _execute(self, adapter: Adapter, tool: Tool, call: Call, image: Path) -> None:
        """Raises EngineFailure where the tool ends without an answer, SandboxFailure where a limit ends it."""
        assert tool.path is not None, "a tool that is run was found"
        adapter.prepare(call)
        printed = call.directory / _PRINTED
        done = await run(
            [str(tool.path), *adapter.arguments(call)],
            limits=SandboxLimits(
                memory_bytes=self.limits.memory_bytes,
                wall_seconds=self.limits.seconds,
                file_bytes=self.image_limits.total_bytes,
                open_files=4096,
                processes=self.limits.processes,
                stdout_bytes=self.limits.output_bytes,
            ),
            cwd=call.directory,
            env={"LANG": "C.UTF-8", "XDG_CACHE_HOME": str(call.directory), **adapter.environment(call)},
            stdout=printed,
            fence=Fence(
                hidden=(*self.toolbox.hidden, self.scratch.parent),
                shown=(image, call.directory, self.toolbox.databases, tool.path.resolve()),
            ),
        )
        if done.exit_code not in adapter.exits:
            said = self._last_words(done, printed)
            raise EngineFailure(f"ended with exit code {done.exit_code}{f': {said}' if said else ''}")

    def _last_words(self, done: Completed, printed: Path) -> str:
        """The last line it wrote for people, without paths of this machine and secrets of the image."""
        with printed.open("rb") as file:
            file.seek(max(0, printed.stat().st_size - _TAIL))
            tail = file.read(_TAIL).decode(errors="replace")
        lines = [line for line in (done.stderr or tail).splitlines() if line.strip()] or [""]
        words = lines[-1]
        for path in (self.scratch, self.image.layout, self.toolbox.databases, *self.toolbox.hidden):
            words = words.replace(str(path.absolute()), "…")
        return redact(text(words, _WORDS))

    async def _docker_archive(self) -> Path:
        """Made once, by whoever asks first; whoever is cancelled while it is made does not end it for the others."""
        if self._archive is None:
            self._archive = asyncio.create_task(self._write_archive())
        return await asyncio.shield(self._archive)

    async def _write_archive(self) -> Path:
        target, budget = self.scratch / "image.tar", Budget(self.image_limits)
        writing = asyncio.ensure_future(asyncio.to_thread(write_docker_archive, self.image, target, budget))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            budget.stop()
            await asyncio.wait({writing})
            raise
        return target


def _summary(report: EngineReport) -> str:
    counts = {
        "packages": report.packages,
        "findings": report.findings,
        "failed checks": report.misconfigurations or None,
        "secrets": report.secrets or None,
    }
    said = [f"{len(found)} {name}" for name, found in counts.items() if found is not None]
    if report.efficiency is not None:
        said.append(f"{report.efficiency.wasted_bytes} bytes wasted")
    return ", ".join(said) or "nothing found"


def _kept(evidence: Path) -> bytes | None:
    return evidence.read_bytes() if evidence.stat().st_size <= KEPT_OUTPUT else None
