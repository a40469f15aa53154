"""Reading an image in a disposable child process, analysis.py.

Images are hostile input. A crash, a runaway or an exhausted memory limit costs one scan of one tenant, and the event loop
of the worker is never busy with it. What the child answers is checked like any other input: it has read the image.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from schema.scans.failures import FailureCode, ScanFailure
from schema.scans.formats import ReportFormat
from schema.scans.models import Engine
from workers.analysis import FAILED, Failure, Unpacked
from workers.engines.documents import EngineFailure
from workers.engines.report import EngineReport, ImageFacts
from workers.examination import Examination, Questions
from workers.imports.report import ImportedReport
from workers.oci.layout import Image, read_image
from workers.oci.limits import ImageLimits
from workers.sandbox import Fence, SandboxFailure, SandboxLimits, run

T = TypeVar("T")
_EXAMINATION = TypeAdapter(Examination)
_UNPACKED = TypeAdapter(Unpacked)
_REPORT = TypeAdapter(EngineReport)
_IMPORTED = TypeAdapter(ImportedReport)
_FAILURE = TypeAdapter(Failure)
# -P: no module is looked for in the scratch directory. -S: what `site` would do is in the path we hand over.
_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-S", "-m", "workers.analysis")
_FENCE = Fence()  # the child writes to its own directory and has no network
_STDERR = 2000  # characters of a crash's last words that go to the log


async def examine_image(
    layout: Path, questions: Questions, *, limits: ImageLimits, sandbox: SandboxLimits
) -> Examination:
    """Packages and layers of the image in a layout, and what else is asked.

    Raises ScanFailure; LIMIT_EXCEEDED also for time and memory.
    """
    asked = {"layout": _absolute(layout), "questions": asdict(questions)}
    # Not in the layout: whoever reads an image must not be able to change it.
    with tempfile.TemporaryDirectory(prefix="reading-", dir=_absolute(layout.parent)) as scratch:
        return await _ask({"examine": asked}, _EXAMINATION, limits, sandbox, cwd=Path(scratch), fence=_FENCE)


async def unpack_archive(
    source: Path,
    destination: Path,
    *,
    platform: str | None,
    limits: ImageLimits,
    sandbox: SandboxLimits,
    reference: str | None = None,
    fence: Fence | None = _FENCE,
) -> Image:
    """Brings one image of a layout directory or an archive into a verified layout, a new directory in a scratch directory.

    `platform` and `reference` choose among several. A fence takes root's privileges away: without it, root reads what
    belongs to others. Raises ScanFailure, as `examine_image` does.
    """
    asked = {
        "source": _absolute(source),
        "destination": _absolute(destination),
        "platform": platform,
        "reference": reference,
    }
    unpacked = await _ask({"unpack": asked}, _UNPACKED, limits, sandbox, cwd=destination.parent, fence=fence)
    return replace(await asyncio.to_thread(read_image, destination, limits), names=unpacked.names)


async def read_report(
    engine: Engine, output: Path, facts: ImageFacts, *, evidence: Path, sandbox: SandboxLimits
) -> EngineReport:
    """What an engine said, from the file with its output. `evidence` is a new file beside it: the same without what could
    be a secret of the image. Raises EngineFailure, also for output that takes too long or too much memory to read.
    """
    asked = {
        "engine": engine,
        "output": _absolute(output),
        "evidence": _absolute(evidence),
        "facts": asdict(facts),
    }
    try:
        return await _ask(
            {"report": asked}, _REPORT, ImageLimits(), sandbox, cwd=evidence.parent, fence=_FENCE, subject="it"
        )
    except ScanFailure as failure:
        if failure.code is FailureCode.LIMIT_EXCEEDED:
            raise EngineFailure(f"gave a report that cannot be read. {failure.message}") from None
        raise EngineFailure(failure.message) from None


async def read_imported(
    report: Path, stated: ReportFormat | None, *, evidence: Path, sandbox: SandboxLimits
) -> ImportedReport:
    """What a report says that was made elsewhere. `evidence` is a new file: the same without what could be a secret.

    Raises ScanFailure: REPORT_INVALID, or LIMIT_EXCEEDED for what takes too long or too much memory to read.
    """
    asked = {"report": _absolute(report), "format": stated, "evidence": _absolute(evidence)}
    return await _ask(
        {"import": asked}, _IMPORTED, ImageLimits(), sandbox, cwd=evidence.parent, fence=_FENCE, subject="the report"
    )


async def _ask(
    request: Mapping[str, Any],
    expected: TypeAdapter[T],
    limits: ImageLimits,
    sandbox: SandboxLimits,
    *,
    cwd: Path,
    fence: Fence | None,
    subject: str = "the image",
) -> T:
    """RuntimeError for a defect of ours, with the child's last words."""
    try:
        completed = await run(
            _COMMAND,
            limits=sandbox,
            cwd=cwd,
            env=_environment(),
            stdin=orjson.dumps({**request, "limits": asdict(limits)}),
            fence=fence,
        )
    except SandboxFailure as failure:
        raise ScanFailure(FailureCode.LIMIT_EXCEEDED, f"Reading {subject} was {failure.message}") from None
    code = completed.exit_code
    if code < 0:
        # Native code has no other answer to an allocation that fails.
        reason = f"Reading {subject} was ended by signal {-code}, most likely for want of memory"
        raise ScanFailure(FailureCode.LIMIT_EXCEEDED, reason)
    if code not in {0, FAILED}:
        raise RuntimeError(f"Reading {subject} ended with exit code {code}: {completed.stderr[-_STDERR:]}")
    try:
        if code == FAILED:
            failed = _FAILURE.validate_json(completed.stdout)
            raise ScanFailure(failed.code, failed.message)
        return await asyncio.to_thread(expected.validate_json, completed.stdout)
    except ValidationError as error:
        raise RuntimeError(f"Reading {subject} gave an answer that is none: {error.errors()[:3]}") from None


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _environment() -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        # More arenas than threads that compute would only make the memory limit bite early.
        "MALLOC_ARENA_MAX": "2",
    }
