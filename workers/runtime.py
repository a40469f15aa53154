"""What a worker process is made of, handed in by `app`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schema.kernel.context import Services
from schema.kernel.ports import OutgoingHttp
from workers.engines.running import EngineLimits
from workers.engines.tools import Toolbox
from workers.feeds.update import FeedSchedule, FeedSource
from workers.oci.limits import ImageLimits
from workers.sandbox import SandboxLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLimits:
    """Operator settings of a worker. Times in seconds."""

    concurrency: int  # scans at a time in this process
    organization_limit: int | None  # scans of one organization at a time, in all processes; None: no such limit
    lease_seconds: float  # a worker that is silent for this long has lost its jobs
    heartbeat_seconds: float
    reconcile_seconds: float
    scan_seconds: float  # a whole scan
    image: ImageLimits
    analysis: SandboxLimits  # the child process that reads the image
    engines: EngineLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRuntime:
    """`owner` names this process in leases; it is new at every start, so a restarted process is nobody's owner."""

    services: Services
    http: OutgoingHttp
    limits: WorkerLimits
    work_dir: Path
    owner: str
    native_fallback: bool
    toolbox: Toolbox
    feeds: FeedSchedule | None = None  # advisory feeds to keep fresh

    @property
    def feed_source(self) -> FeedSource:
        """What updating a feed needs of this process."""
        assert self.feeds is not None
        services = self.services
        return FeedSource(
            database=services.database, http=self.http, directory=self.feeds.directory, clock=services.clock
        )
