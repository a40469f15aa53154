"""Engines as a scan runs them, with the tools a test names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from schema.kernel.clock import utc_now
from schema.scans.models import Engine
from tests.workers.engines.images import facts_of, stored
from tests.workers.workshop import NO_TOOLS
from workers.engines.answer import EngineAnswer
from workers.engines.running import EngineEvent, EngineLimits, EngineRuns
from workers.engines.tools import Toolbox
from workers.oci.layout import Image
from workers.oci.limits import ImageLimits
from workers.sandbox import SandboxLimits


@dataclass
class Bench:
    directory: Path
    limits: EngineLimits = field(default_factory=EngineLimits)
    analysis: SandboxLimits = field(default_factory=SandboxLimits)
    events: list[EngineEvent] = field(default_factory=list)
    react: Callable[[EngineEvent], None] = lambda _: None

    def __post_init__(self) -> None:
        self.image: Image = stored(self.directory / "scan" / "image")
        self.facts = facts_of(self.image)
        self.databases = self.directory / "databases"

    def toolbox(self, tools: Mapping[Engine, Path | str]) -> Toolbox:
        places = {**NO_TOOLS, **{engine: str(tool) for engine, tool in tools.items()}}
        return Toolbox(places=places, databases=self.databases, hidden=(self.directory / "scan",))

    async def run(self, tools: Mapping[Engine, Path | str]) -> Mapping[Engine, EngineAnswer]:
        """Runs them on the image with something for everybody; they must be usable."""
        toolbox = self.toolbox(tools)
        found = await toolbox.look(tools)
        assert not [tool.absence for tool in found.values() if tool.problem]
        scratch = self.directory / "scan" / "engines"
        scratch.mkdir()

        async def tell(event: EngineEvent) -> None:
            self.events.append(event)
            self.react(event)

        return await EngineRuns(
            image=self.image,
            facts=self.facts,
            toolbox=toolbox,
            scratch=scratch,
            limits=self.limits,
            image_limits=ImageLimits(),
            analysis=self.analysis,
            clock=utc_now,
            progress=tell,
        ).run(found.values())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
