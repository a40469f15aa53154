"""A served product to measure: `harborguard serve` as a process of its own, on a scratch directory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it answers, its process, and how long it took to answer first."""

    url: str
    process: subprocess.Popen[bytes]
    first_answer_seconds: float

    def resident_mib(self) -> float:
        """Resident memory of the process, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


@contextmanager
def served(data_dir: Path) -> Iterator[Served]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {**os.environ, "HARBORGUARD_DATA_DIR": str(data_dir), "HARBORGUARD_PORT": str(port)}
    environment["HARBORGUARD_LOG_LEVEL"] = "error"
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "app.cli", "serve"], env=environment, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        yield Served(url, process, _first_answer(url, process, started))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _first_answer(url: str, process: subprocess.Popen[bytes], started: float) -> float:
    with httpx.Client(trust_env=False) as client:
        while time.perf_counter() - started < START_SECONDS and process.poll() is None:
            try:
                if client.get(f"{url}/api/health").is_success:
                    return time.perf_counter() - started
            except httpx.TransportError:
                time.sleep(0.005)
    raise RuntimeError("the server did not start")
