"""How a tool's run ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from workers.engines.report import EngineReport
from workers.engines.tools import Tool


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAnswer:
    """How one tool's run ended: a report, or a failure in words that continue "trivy 0.58.1 …"."""

    tool: Tool
    report: EngineReport | None
    failure: str | None
    output: bytes | None  # what it printed, without the image's environment; None where that is more than is kept
    started_at: datetime
    duration_ms: int
