"""Run as a script by sandbox.py: confines itself as told, then becomes the program. Standard library only, for speed.

A function between fork and exec of a threaded process may deadlock, so the limits are set here, after the first exec.
Usage: confine.py PARENT_PID NAME=LIMIT… [WRITE=DIRECTORY [HIDE=PATH… SHOW=PATH…]] -- PROGRAM ARGUMENT…

WRITE fences the program in, as far as the kernel can (Landlock; landlock(7)): it writes beneath that directory only, opens
no TCP connection, and neither signals nor looks into processes outside; HIDE are directories whose files it cannot read,
SHOW what it may read all the same. Root has no privileges in there. A kernel without Landlock fences nothing else.
"""

import contextlib
import ctypes
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable, Iterator

PR_SET_PDEATHSIG = 1
PR_SET_NO_NEW_PRIVS = 38
PR_CAPBSET_DROP = 24
_CAPABILITIES = 64  # more than there are

# linux/landlock.h: system calls have these numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _REFER, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 13, 1 << 14
_CHANGE_DIRECTORY = sum(1 << bit for bit in range(4, 13))  # remove and make entries of every kind
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_UNIX_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1
_SINCE_REFER, _SINCE_TRUNCATE, _SINCE_NETWORK, _SINCE_SCOPES = 2, 3, 4, 6
_SystemCall = Callable[..., int]
_NICENESS = 10  # whoever answers requests on the same machine goes first
_DEVICES = ("/dev/null",)  # may be written to although they are elsewhere


def confine() -> None:
    separator = sys.argv.index("--")
    parent, limits, program = int(sys.argv[1]), sys.argv[2:separator], sys.argv[separator + 1 :]
    if sys.platform == "linux":
        _die_with(parent)
    fence: dict[str, list[str]] = {"WRITE": [], "HIDE": [], "SHOW": []}
    for limit in limits:
        name, _, value = limit.partition("=")
        if name in fence:
            fence[name].append(value)
        else:
            _limit(name, value)
    _give_way()
    if fence["WRITE"] and sys.platform == "linux":
        _fence(fence["WRITE"], fence["HIDE"], [*fence["SHOW"], *fence["WRITE"]])
    # The interpreter ignores these two, and what is ignored stays so through exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606 -- the whole point; an argument list, never a shell


def _give_way() -> None:
    """Sessions may share the processors as groups, in which a process is nice to its own group only (sched(7))."""
    os.nice(_NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/autogroup", "w") as group:  # noqa: PTH123 -- pathlib takes time
        group.write(str(_NICENESS))


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


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("directory", ctypes.c_int32))


def landlock_version(call: _SystemCall) -> int:
    """What the kernel can fence; below 1: nothing."""
    return call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))


def _fence(writable: list[str], hidden: list[str], shown: list[str]) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    # From the next exec on. Only root can, and only root has to: its capabilities reach past a fence.
    for capability in range(_CAPABILITIES):
        library.prctl(PR_CAPBSET_DROP, *(ctypes.c_ulong(each) for each in (capability, 0, 0, 0)))
    call = library.syscall
    version = landlock_version(call)
    if version < 1:
        return
    write = _WRITE_FILE | _CHANGE_DIRECTORY
    write |= (_REFER if version >= _SINCE_REFER else 0) | (_TRUNCATE if version >= _SINCE_TRUNCATE else 0)
    read = (_EXECUTE | _READ_FILE) if hidden else 0
    rules = _Ruleset(
        write | read,
        _BIND_TCP | _CONNECT_TCP if version >= _SINCE_NETWORK else 0,
        _SCOPE_UNIX_SOCKETS | _SCOPE_SIGNALS if version >= _SINCE_SCOPES else 0,
    )
    ruleset = call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), ctypes.c_uint32(0))
    if ruleset < 0:
        sys.exit(f"landlock: {os.strerror(ctypes.get_errno())}")
    for path in (*writable, *_DEVICES):
        _allow(call, ruleset, path, write)
    if read:
        for path in (*_outside("/", [os.path.realpath(each) for each in hidden]), *shown):
            _allow(call, ruleset, path, read)
    if call(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)):
        sys.exit(f"landlock: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


def _outside(path: str, hidden: list[str]) -> Iterator[str]:
    """The fewest paths that hold everything below `path` but what is hidden: rules can only allow."""
    inside = path if path.endswith("/") else f"{path}/"
    if path in hidden:
        return
    if not any(each.startswith(inside) for each in hidden):
        yield path
        return
    try:
        entries = list(os.scandir(path))
    except PermissionError:
        return  # what cannot be listed stays shut
    for entry in entries:
        if not entry.is_symlink():  # it may lead back to what is hidden; what it leads to stands somewhere itself
            yield from _outside(entry.path, hidden)


def _allow(call: _SystemCall, ruleset: int, path: str, access: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # a dangling link, or gone by now: what is not allowed stays shut
    if not stat.S_ISDIR(os.fstat(opened).st_mode):
        access &= _OF_FILES
    rule = _PathBeneath(access, opened)
    if call(_ADD_RULE, ruleset, ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)):
        sys.exit(f"landlock: {os.strerror(ctypes.get_errno())}")
    os.close(opened)


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
