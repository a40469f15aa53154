"""What `harborguard completion` prints completes, in the shells that are there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli

PROGRAM = Path(sys.executable).with_name("harborguard")
COMPLETES = """
source <({program} completion bash)
COMP_WORDS=({words}) COMP_CWORD={position} COMP_LINE='{words}' COMP_POINT=99
_harborguard_completion {program}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("harborguard sca", {"scan"}),
        ("harborguard scan --fail", {"--fail-on", "--fail-on-grade"}),
        ("harborguard scan --format s", {"sarif", "spdx"}),
        ("harborguard advisories u", {"update"}),
    ],
)
def test_bash_completes(words: str, expected: set[str]) -> None:
    script = COMPLETES.format(program=PROGRAM, words=words, position=len(words.split()) - 1)
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_it_can_read(shell: str) -> None:
    done = CliRunner().invoke(cli, ["completion", shell])

    assert done.exit_code == 0
    assert "_HARBORGUARD_COMPLETE" in done.stdout
    installed = shutil.which(shell)
    if installed is not None:
        subprocess.run([installed, "-n"], input=done.stdout, text=True, check=True)
