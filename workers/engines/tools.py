"""Which of the tools are on this machine, in which version, and how old their databases are.

A tool is found on PATH, or where the operator says it is. Its version is asked for once for each file that bears its name:
a replaced program is asked again.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from schema.scans.models import Engine
from schema.scans.rules import VULNERABILITY_ENGINES
from workers.engines.adapter import Adapter
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import text
from workers.sandbox import GIB, MIB, Fence, SandboxFailure, SandboxLimits, run

OFF = "off"
NO_DATABASE = "has no vulnerability database"
_ASKING = SandboxLimits(memory_bytes=2 * GIB, wall_seconds=30, file_bytes=MIB, stdout_bytes=MIB, stderr_bytes=MIB)
_VERSION = re.compile(r"\d+\.\d+[0-9A-Za-z.+-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """What is known of an engine's tool. With a `problem` it is not used; that continues "trivy …"."""

    engine: Engine
    name: str
    path: Path | None
    version: str | None
    database_date: datetime | None
    problem: str | None

    @property
    def provider(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def absence(self) -> str:
        """Why it does not answer: "trivy is not installed"."""
        return f"{self.name} {self.problem}"

    @property
    def is_blind(self) -> bool:
        """It runs, but not for vulnerabilities."""
        return self.problem is None and self.engine in VULNERABILITY_ENGINES and self.database_date is None


class _Stamp(NamedTuple):
    """What tells one file from its successor."""

    modified: int
    size: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> _Stamp:
        status = path.stat()
        return cls(status.st_mtime_ns, status.st_size, status.st_ino)


def default_databases() -> Path:
    """Where the tools keep their databases when the service's own user runs them."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()


@dataclass
class Toolbox:
    """The tools as the operator set them: `places` by engine is a path, `off`, or missing for whatever is on PATH.

    `databases` is where the tools' databases are, each in a directory of its own: `trivy/db`, `grype/db`, `osv-scanner`.
    `hidden` is what no tool may read: keys, the database, other people's images.
    """

    places: Mapping[Engine, str] = field(default_factory=dict)
    databases: Path = field(default_factory=default_databases)
    hidden: tuple[Path, ...] = ()
    _versions: dict[tuple[Path, _Stamp], str | None] = field(default_factory=dict)

    async def look(self, engines: Iterable[Engine]) -> dict[Engine, Tool]:
        """Each of the engines with its tool, usable or not."""
        wanted = list(engines)
        return dict(zip(wanted, await asyncio.gather(*(self._tool(ADAPTERS[each]) for each in wanted)), strict=True))

    async def _tool(self, adapter: Adapter) -> Tool:
        path, problem = self._find(adapter)
        version, date = None, None
        if path is not None:
            version = await self._version(path, adapter)
            if version is None:
                problem = f"does not tell its version ({path})"
            elif adapter.database_date is not None:
                date = adapter.database_date(self.databases)
                if date is None and adapter.needs_database:
                    problem = NO_DATABASE
        return Tool(
            engine=adapter.engine, name=adapter.tool, path=path, version=version, database_date=date, problem=problem
        )

    def _find(self, adapter: Adapter) -> tuple[Path | None, str | None]:
        place = self.places.get(adapter.engine, "")
        setting = f"HARBORGUARD_ENGINE_{adapter.engine.upper()}"
        if place == OFF:
            return None, f"is switched off ({setting})"
        found = shutil.which(place or adapter.tool)
        if found is None:
            return None, f"cannot be run from where {setting} says" if place else "is not installed"
        return Path(found).absolute(), None

    async def _version(self, path: Path, adapter: Adapter) -> str | None:
        key = (path, _Stamp.of(path))
        if key not in self._versions:
            self._versions[key] = await self._ask(path, adapter)
        return self._versions[key]

    async def _ask(self, path: Path, adapter: Adapter) -> str | None:
        with tempfile.TemporaryDirectory(prefix="harborguard-") as scratch:
            try:
                answer = await run(
                    [str(path), *adapter.version],
                    limits=_ASKING,
                    cwd=Path(scratch),
                    fence=Fence(hidden=self.hidden, shown=(path,)),
                )
            except (SandboxFailure, OSError):
                return None
        # The first number is the tool's own; those of its database and parts come behind it.
        match = _VERSION.search(text(answer.stdout.decode(errors="replace")))
        return match[0] if match and answer.exit_code == 0 else None
