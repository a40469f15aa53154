"""A real server for the documents, on a free port and with a data directory of its own."""

from __future__ import annotations

import asyncio
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
import pytest
from rich.console import Console

from app.administration import create_key, import_advisories, set_up
from app.demo import SAMPLE_ADVISORIES
from app.demo.description import load_description
from app.demo.image import build_demo_image
from app.settings import Settings
from schema.kernel.principal import Role
from tests.app.demo.wheelhouse import with_small_wheels

START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """What a reader has in front of them: the address, the data directory and what the server printed."""

    url: str
    settings: Settings
    log: Path

    @property
    def setup_token(self) -> str:
        return next(line.strip() for line in self.log.read_text().splitlines() if line.startswith("  hg_setup_"))

    def new_key(self, role: Role) -> str:
        return asyncio.run(
            create_key(self.settings, name="docs", role=role, organization_id=None, expires_days=None),
        )


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running_server(directory: Path) -> Iterator[RunningServer]:
    """`harborguard serve` until the block ends."""
    settings = Settings(data_dir=directory / "data", port=free_port())
    log = directory / "log"
    environment = {
        "PATH": os.environ["PATH"],
        "HARBORGUARD_DATA_DIR": str(settings.data_dir),
        "HARBORGUARD_PORT": str(settings.port),
    }
    url = f"http://127.0.0.1:{settings.port}"
    with (
        log.open("wb") as output,
        subprocess.Popen([sys.executable, "-m", "app.cli", "serve"], env=environment, stderr=output) as process,
    ):
        try:
            _wait(url, process, log)
            yield RunningServer(url=url, settings=settings, log=log)
        finally:
            process.send_signal(signal.SIGTERM)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/api/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def demo_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of `make demo`, with small wheels of the same names and versions."""
    directory = tmp_path_factory.mktemp("image")
    description, fetch = with_small_wheels(load_description())
    return build_demo_image(directory, cache=directory, fetch=fetch, description=description).archive


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Set up, with the sample advisories: what a document starts from that does not set up by itself."""
    directory = tmp_path_factory.mktemp("server")
    settings = Settings(data_dir=directory / "data")
    asyncio.run(
        set_up(
            settings, organization="Acme", email="you@example.com", name="You", password="correct horse battery staple"
        )
    )
    asyncio.run(import_advisories(settings, str(SAMPLE_ADVISORIES), console=Console(stderr=True, quiet=True)))
    with running_server(directory) as server:
        yield server
