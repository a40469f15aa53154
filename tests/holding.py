"""Stands before the child that reads an image and stops it there, where a test wants to hold one.

The child lives for a fraction of a second: on a loaded machine nobody can be sure to catch it from outside. So it stops
itself, before it reads, if `DIRECTORY/<request>` is there (it may be fenced in, so it only looks):

    python -m tests.holding DIRECTORY                  is the child
    python -m tests.holding DIRECTORY COMMAND …        is `harborguard COMMAND …`, with children that can be held
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

MODULE = "tests.holding"
REQUESTS = ("unpack", "examine", "import")


def command(directory: Path) -> tuple[str, ...]:
    """For `workers.reading`, in place of its own."""
    return (sys.executable, "-P", "-S", "-m", MODULE, str(directory))


def _read(directory: Path) -> int:
    from workers.analysis import main

    request = sys.stdin.buffer.read()
    os.lseek(sys.stdin.fileno(), 0, os.SEEK_SET)
    for name in REQUESTS:
        if f'"{name}":{{'.encode() in request and (directory / name).exists():
            os.kill(os.getpid(), signal.SIGSTOP)
    return main()


def _run(directory: Path, arguments: list[str]) -> None:
    from app.cli import main
    from workers import reading

    reading._COMMAND = command(directory)
    sys.argv = ["harborguard", *arguments]
    main()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _run(Path(sys.argv[1]), sys.argv[2:])
    else:
        sys.exit(_read(Path(sys.argv[1])))
