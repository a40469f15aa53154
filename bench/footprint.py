"""B8: memory of an idle API with its embedded worker, and time from process start to the first answer."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench.results import Result
from bench.server import served

TARGET_MIB = 150
TARGET_SECONDS = 1.5
SETTLE_SECONDS = 2.0


def run(size: str) -> list[Result]:
    seconds, memory = [], []
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(3 if size == "small" else 10):
            with served(Path(directory)) as server:
                time.sleep(SETTLE_SECONDS)
                seconds.append(server.first_answer_seconds)
                memory.append(server.resident_mib())
    return [
        Result("B8", "process start to first answer", f"{statistics.median(seconds):.2f} s", f"<= {TARGET_SECONDS} s"),
        Result(
            "B8", "idle memory, API and embedded worker", f"{statistics.median(memory):.0f} MiB", f"<= {TARGET_MIB} MiB"
        ),
    ]
