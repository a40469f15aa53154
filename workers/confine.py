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
PR_SET_NO_NEW_PRIVS = 38


def confine() -> None:
    separator = sys.argv.index("--")
    parent, limits, program = int(sys.argv[1]), sys.argv[2:separator], sys.argv[separator + 1 :]
    if sys.platform == "linux":
        _die_with(parent)
    for limit in limits:
        _limit(*limit.split("="))
    # The interpreter ignores these two, and what is ignored stays so through exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606 -- the whole point; an argument list, never a shell


def _die_with(parent: int) -> None:
    """Whatever ends our parent, even SIGKILL, ends us and does not leave an engine running for nobody.

    Without new privileges, because a set-user-ID program would lose that signal (prctl(2)).
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, value in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_PDEATHSIG, int(signal.SIGKILL))):
        if prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def _limit(name: str, value: str) -> None:
    kind, number = getattr(resource, f"RLIMIT_{name}"), int(value)
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        number = min(number, hard)
    # At the soft limit of CPU time a signal says which limit it was; at the hard one it is SIGKILL, which does not.
    above = number + 1 if name == "CPU" and number != hard else number
    resource.setrlimit(kind, (number, above))


if __name__ == "__main__":
    confine()
