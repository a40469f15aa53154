"""Looking at an image that was fetched: the native provider reads it, and the tools that are there are shown it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from schema.kernel.ports import Clock
from schema.scans.ingest import FetchedImage
from schema.scans.models import Engine
from workers.engines.answer import EngineAnswer
from workers.engines.native import questions
from workers.engines.report import ImageFacts
from workers.engines.results import stand_ins
from workers.engines.running import EngineEvent, EngineRuns
from workers.engines.tools import Tool, Toolbox
from workers.examination import Examination
from workers.observation import Observation
from workers.oci.layout import Image
from workers.reading import examine_image
from workers.runtime import WorkerLimits
from workers.secrets.search import redact_summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """What one looks with. `examining` is told the engines that only the native provider answers for, before it reads."""

    toolbox: Toolbox
    limits: WorkerLimits
    native_fallback: bool
    clock: Clock
    examining: Callable[[Sequence[Engine]], Awaitable[None]]
    progress: Callable[[EngineEvent], Awaitable[None]]

    async def observe(
        self, image: Image, tools: Mapping[Engine, Tool], *, tag: str | None, scratch: Path
    ) -> Observation:
        """`tag` is the one the image was asked for by; `scratch` a directory of this scan, on the same disk as the layout.

        Raises ScanFailure, and what it is told about raises.
        """
        started_at, examined_ms = self.clock(), 0
        answered = stand_ins(tools, fallback=self.native_fallback)
        present = [tool for tool in tools.values() if tool.problem is None]
        examination: Examination | None = None
        answers: Mapping[Engine, EngineAnswer] = {}
        if present or answered:
            # First, because it verifies every layer and holds it to our limits, before a tool unpacks it to its own.
            await self.examining([engine for engine in answered if tools[engine].problem is not None])
            started_at, clock = self.clock(), time.monotonic()
            examination = await examine_image(
                image.layout, questions(answered, tag), limits=self.limits.image, sandbox=self.limits.analysis
            )
            examined_ms = int((time.monotonic() - clock) * 1000)
            answers = await self._run_tools(image, examination, present, scratch)
        system = examination.inventory.operating_system if examination else None
        return Observation(
            image=FetchedImage(
                digest=image.digest,
                platform=image.platform,
                size_bytes=image.size_bytes,
                operating_system=system.name if system else None,
                config=redact_summary(image.summary),
            ),
            tools=tuple(tools.values()),
            answers=tuple(answers.values()),
            examination=examination,
            native_fallback=self.native_fallback,
            started_at=started_at,
            examined_ms=examined_ms,
        )

    async def _run_tools(
        self, image: Image, examination: Examination, tools: Sequence[Tool], scratch: Path
    ) -> Mapping[Engine, EngineAnswer]:
        if not tools:
            return {}
        directory = scratch / "engines"
        directory.mkdir()
        return await EngineRuns(
            image=image,
            facts=ImageFacts(
                system=examination.inventory.operating_system, diff_ids=tuple(layer.diff_id for layer in image.layers)
            ),
            toolbox=self.toolbox,
            scratch=directory,
            limits=self.limits.engines,
            image_limits=self.limits.image,
            analysis=self.limits.analysis,
            clock=self.clock,
            progress=self.progress,
        ).run(tools)
