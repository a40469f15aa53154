"""What a sensor has to tell the server, on disk until the server has taken it: through its outages, and through ours."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_RESULTS, _OUTCOME = "results", "outcome"


@dataclass(frozen=True, slots=True)
class Letter:
    """Results of a job, or how it ended without any. `path` is a JSON document."""

    job_id: str
    path: Path

    @property
    def has_results(self) -> bool:
        return self.path.suffix == f".{_RESULTS}"


class Outbox:
    """Letters in the order in which they were written. A letter is there as a whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in directory.glob("*.part"):
            unfinished.unlink()

    def put_results(self, job_id: str, document: bytes) -> None:
        self._put(f"{job_id}.{_RESULTS}", document)

    def put_outcome(self, job_id: str, document: bytes) -> None:
        self._put(f"{job_id}.{_OUTCOME}", document)

    def letters(self) -> list[Letter]:
        found = [path for kind in (_RESULTS, _OUTCOME) for path in self._directory.glob(f"*.{kind}")]
        return [Letter(path.stem, path) for path in sorted(found, key=lambda each: (each.stat().st_mtime_ns, each))]

    def remove(self, letter: Letter) -> None:
        letter.path.unlink(missing_ok=True)

    def _put(self, name: str, document: bytes) -> None:
        part = self._directory / f"{name}.part"
        with part.open("wb") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self._directory / name)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
