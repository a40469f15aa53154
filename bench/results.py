"""Results, as a table for people and in bench/RESULTS.md for the record."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")


@dataclass(frozen=True, slots=True)
class Result:
    scenario: str
    what: str
    measured: str
    target: str


def report(results: Sequence[Result], size: str) -> str:
    """A Markdown section: where, when, which commit, and the figures."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        f"## {datetime.now(UTC):%Y-%m-%d}, commit {commit or 'unknown'}, size {size}",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, {platform.python_implementation()} {platform.python_version()}",
        "",
        "| scenario | what | measured | target |",
        "|---|---|---|---|",
        *(f"| {each.scenario} | {each.what} | {each.measured} | {each.target} |" for each in results),
    ]
    return "\n".join(lines) + "\n"
