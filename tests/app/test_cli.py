"""The command line: results on stdout, words on stderr, 0, 1 and 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories.images import write_layout
from tests.workers.workshop import debian

ROOT = Path(__file__).parents[2]
ADVISORY = {
    "id": "DSA-1",
    "modified": "2024-05-01T00:00:00Z",
    "affected": [
        {
            "package": {"ecosystem": "Debian:12", "name": "openssl"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9"}]}],
        }
    ],
}


class Shell:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *arguments],
            cwd=self.directory,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONPATH": str(ROOT),
                "HARBORGUARD_DATA_DIR": str(self.directory / "data"),
                "NO_COLOR": "1",
                "COLUMNS": "200",
                **environment,
            },
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_an_operator_s_first_hour(shell: Shell) -> None:
    """Set up, key, advisories, registry, scan: each a command, each result alone on stdout."""
    password = "correct horse battery"
    made = shell("setup", "--organization", "Acme", "--email", "ada@acme.example", "--password", password)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("org-")
    again = shell("setup", "--organization", "Acme", "--email", "ada@acme.example", "--password", password)
    assert (again.returncode, again.stdout) == (1, "")
    assert "already set up" in again.stderr
    assert "Traceback" not in again.stderr

    key = shell("keys", "create", "build", "--role", "ci", "--expires-days", "1")
    assert key.returncode == 0, key.stderr
    assert len(key.stdout.split()) == 1

    (shell.directory / "advisory.json").write_text(json.dumps(ADVISORY))
    imported = shell("advisories", "import", "advisory.json")
    assert imported.returncode == 0, imported.stderr
    assert "1 records imported" in imported.stdout
    assert "Debian:12" in shell("advisories", "status").stdout

    registry = shell(
        "registries", "add", "acme", "ghcr.io", "--username", "bot", "--password-stdin", given="s3cret-token\n"
    )
    assert registry.returncode == 0, registry.stderr
    assert registry.stdout.startswith("reg-")
    assert b"s3cret-token" not in b"".join(
        path.read_bytes() for path in (shell.directory / "data").iterdir() if path.is_file()
    )

    write_layout(shell.directory / "image", debian())
    scan = shell("scan", "image", "--engine", "trivy")
    assert scan.returncode == 0, scan.stderr
    assert "DSA-1" in scan.stdout
    assert shell("scan", "advisory.json").returncode == 1


def test_wrong_usage_is_two(shell: Shell) -> None:
    assert shell("no-such-command").returncode == 2
    assert shell("worker").returncode == 2
    wrong = shell("migrate", HARBORGUARD_PORT="70000")
    assert wrong.returncode == 2
    assert "HARBORGUARD_PORT" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_database_that_is_away_is_one_line(shell: Shell) -> None:
    away = "postgresql+asyncpg://harborguard@127.0.0.1:1/harborguard"

    failed = shell("migrate", HARBORGUARD_DATABASE_URL=away)

    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert failed.stderr.strip()


def test_help_says_where_to_start(shell: Shell) -> None:
    printed = shell("--help")

    assert printed.returncode == 0
    assert "harborguard serve" in printed.stdout


def test_engines_and_doctor(shell: Shell) -> None:
    off = {f"HARBORGUARD_ENGINE_{name}": "off" for name in ("TRIVY", "GRYPE", "SYFT", "DOCKLE", "OSV", "DIVE")}
    shown = shell("engines", "--json", **off)
    assert (shown.returncode, len(json.loads(shown.stdout)), shown.stderr) == (0, 6, "")
    assert "switched off" in shell("engines", **off).stdout
    examined = shell("doctor", **off | {"HARBORGUARD_ENGINE_SYFT": "/no/such/syft"})
    assert examined.returncode == 1
    assert "HARBORGUARD_ENGINE_SYFT" in examined.stdout
    assert not (shell.directory / "data").exists()
