"""A real server process for the command line, and the command line as a pipeline runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app import administration
from app.cli import cli
from app.settings import Settings
from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.kernel.database import Database
from schema.kernel.principal import Role
from tests import holding
from tests.factories.images import docker_files, write_archive
from tests.processes import HOLDING, PATIENCE
from tests.simulators.tools import REFUSE, write_tool
from tests.workers.workshop import debian, store_advisories

ROOT = Path(__file__).parents[3]
CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"  # 9.8
HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"  # 7.5
OPENSSL, CURL = "CVE-2024-1001", "CVE-2024-1002"
IMAGES: dict[str, dict[str, str]] = {
    "clean": {"bash": "5.2-1"},
    "risky": {"openssl": "3.0.1-1", "curl": "7.88.0-1"},  # critical with a fix, high without
    "unfixed": {"curl": "7.88.0-1"},
    "empty": {},  # no package, no grade
}


def _advisory(cve: str, package: str, vector: str, *events: Mapping[str, str]) -> AdvisoryRecord:
    affected = {
        "package": {"ecosystem": "Debian:12", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, *events]}],
    }
    severity = [{"type": "CVSS_V3", "score": vector}]
    record = {"id": f"DSA-{cve}", "aliases": [cve], "modified": "2024-05-01T00:00:00Z"}
    return parse_osv({**record, "severity": severity, "affected": [affected]})


ADVISORIES = [
    _advisory(OPENSSL, "openssl", CRITICAL, {"fixed": "3.0.2-1"}),
    _advisory(CURL, "curl", HIGH),
]


@dataclass
class Served:
    """`harborguard serve` with an organization, advisories and an engine that fails when it is asked: dockle."""

    directory: Path
    key: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.settings = Settings(data_dir=self.directory / "data")
        self.broken_tool = write_tool(self.directory / "tools", "dockle", REFUSE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HARBORGUARD_DATA_DIR": str(self.settings.data_dir),
            "HARBORGUARD_ENGINE_DOCKLE": str(self.broken_tool),
            "HARBORGUARD_ENGINE_TRIVY": "off",
            "HARBORGUARD_ENGINE_SYFT": "off",
            "HARBORGUARD_RATE_LIMIT_PER_MINUTE": "100000",
            "HARBORGUARD_LEASE_SECONDS": "2",
            "HARBORGUARD_RECONCILE_SECONDS": "0.5",
        }

    async def prepare(self) -> None:
        await administration.set_up(
            self.settings, organization="Acme", email="ada@acme.example", name="Ada", password="correct horse battery"
        )
        database = Database(self.settings.database)
        await store_advisories(database, ADVISORIES)
        await database.close()

    def new_key(self) -> str:
        """For each command, because a key may trigger ten scans a minute."""
        making = administration.create_key(
            self.settings, name="pipeline", role=Role.CI, organization_id=None, expires_days=1
        )
        return asyncio.run(making)

    def archive(self, name: str) -> Path:
        path = self.directory / f"{name}.tar"
        return path if path.exists() else write_archive(path, docker_files(debian(IMAGES[name])))

    def start(self) -> None:
        with (self.directory / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", holding.MODULE, str(HOLDING), "serve"],
                cwd=self.directory,
                env={**self.environment, "HARBORGUARD_PORT": str(self.port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, (self.directory / "serve.log").read_text()[-4000:]
            try:
                if httpx.get(f"{self.url}/api/ready", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError("the server did not start")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None


@dataclass
class Pipeline:
    """A job that knows nothing but the address and a key, in a directory of its own."""

    directory: Path
    environment: Mapping[str, str]

    def start(self, *arguments: str, terminal: int = subprocess.PIPE, **environment: str) -> subprocess.Popen[bytes]:
        """With a file descriptor as `terminal`, for both streams."""
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli", "scan", *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=terminal,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """(exit code, stdout, stderr)."""
        return ended(self.start(*arguments, terminal=subprocess.PIPE, **environment))

    def scan(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """The same in this process, which saves a start: for what does not depend on signals and real streams."""
        with pytest.MonkeyPatch.context() as patched, chdir(self.directory):
            patched.setattr("app.cli.configure_logging", lambda **_: None)
            for name in [name for name in os.environ if name.startswith("HARBORGUARD_")]:
                patched.delenv(name)
            done = CliRunner().invoke(cli, ["scan", *arguments], env={**self.environment, **environment})
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    with process:  # which waits for it, so it must not hang
        try:
            out, errors = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert b"Traceback" not in errors, errors.decode()
    return process.returncode, out.decode(), errors.decode()
