"""Run as a script by sandbox.py: confines itself as told, then becomes the program. Standard library only, for speed.

A function between fork and exec of a threaded process may deadlock, so the limits are set here, after the first exec.
Usage: confine.py PARENT_PID NAME=LIMIT… -- PROGRAM ARGUMENT…
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1


def confine() -> None:
    separator = sys.argv.index("--")
    parent, limits, program = int(sys.argv[1]), sys.argv[2:separator], sys.argv[separator + 1 :]
    for limit in limits:
        name, _, value = limit.partition("=")
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        number = int(value) if hard == resource.RLIM_INFINITY else min(int(value), hard)
        resource.setrlimit(kind, (number, number))
    if sys.platform == "linux":
        # Whatever ends our parent, even SIGKILL, ends us and does not leave an engine running for nobody.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent is gone")
    os.execvpe(program[0], program, os.environ)  # noqa: S606 -- the whole point; an argument list, never a shell


if __name__ == "__main__":
    confine()
