"""What is seen in an image, before anybody judges it by our advisories: fetched, read, and shown to the tools that are there.

Who looks and who judges need not be one process, nor stand in one network: a sensor looks where the image is, and sends
what it saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schema.scans.ingest import FetchedImage
from workers.engines.answer import EngineAnswer
from workers.engines.native import NativeRun
from workers.engines.tools import Tool
from workers.examination import Examination


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Of one image. `tools` are those of the requested engines, in their order, and `answers` of the ones that are there.

    `examination` is what the native provider read, None where it was not asked; `native_fallback` whether it answers for
    engines without a tool. Durations in milliseconds.
    """

    image: FetchedImage
    tools: tuple[Tool, ...]
    answers: tuple[EngineAnswer, ...]
    examination: Examination | None
    native_fallback: bool
    started_at: datetime
    examined_ms: int

    @property
    def native(self) -> NativeRun | None:
        """The native provider's run, which has read and not matched yet."""
        if self.examination is None:
            return None
        return NativeRun.of(
            self.examination.inventory,
            started_at=self.started_at,
            inventory_ms=self.examined_ms,
            configuration=self.examination.configuration,
            efficiency=self.examination.efficiency,
        )
