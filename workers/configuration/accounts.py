"""Checks of the user database: passwd(5), shadow(5), group(5), and sudoers(5)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping

from workers.configuration.facts import Failure, FileContent

PASSWD, GROUP = "etc/passwd", "etc/group"
_SHADOWS = ("etc/shadow", "etc/master.passwd")
SUDOERS, SUDOERS_DIRECTORY = "etc/sudoers", "etc/sudoers.d/"
_READ = (PASSWD, GROUP, *_SHADOWS, SUDOERS)
_FILES = 1000  # of sudo's directory
CONTENT_BYTES = 1024**2  # of one such file that are read
_LINES = 20_000
_NUMBER = re.compile(r"\d{1,20}")
_NOPASSWD = re.compile(r"NOPASSWD\s{0,8}:")
_SHOWN = 200

Contents = Mapping[str, FileContent]


def is_read(path: str) -> bool:
    """Whether a check wants the content of the file."""
    return path.startswith("etc/") and (path in _READ or path.startswith(SUDOERS_DIRECTORY))


def read_paths(sudoers: list[str]) -> list[str]:
    """The paths of such files, `sudoers` being the names in sudo's directory. sudo reads none with a dot or a tilde."""
    named = (f"{SUDOERS_DIRECTORY}{name}" for name in sudoers if "." not in name and not name.endswith("~"))
    return [*_READ, *itertools.islice(named, _FILES)]


def has_passwords(contents: Contents) -> bool:
    return any(path in contents for path in (PASSWD, *_SHADOWS))


def has_ids(contents: Contents) -> bool:
    return PASSWD in contents or GROUP in contents


def check_empty_passwords(contents: Contents) -> Iterator[Failure]:
    for path in (PASSWD, *_SHADOWS):
        for fields in _accounts(contents, path, fields=2):
            if not fields[1]:
                yield _failure(contents, path, f"The account {fields[0][:_SHOWN]} has an empty password")


def check_unique_ids(contents: Contents) -> Iterator[Failure]:
    for path, kind in ((PASSWD, "accounts"), (GROUP, "groups")):
        names: dict[str, str] = {}
        for fields in _accounts(contents, path, fields=3):
            name, number = fields[0][:_SHOWN], fields[2]
            if not _NUMBER.fullmatch(number):
                continue
            if number in names:
                yield _failure(contents, path, f"The {kind} {names[number]} and {name} have the number {number}")
            names.setdefault(number, name)


def check_sudoers(contents: Contents) -> Iterator[Failure]:
    """Rules of sudo that let somebody in without a password. What is commented out is none."""
    for path in sorted(contents):
        if path == SUDOERS or path.startswith(SUDOERS_DIRECTORY):
            for line in _lines(contents[path].content):
                if _NOPASSWD.search(line.partition("#")[0]):
                    yield _failure(contents, path, " ".join(line.split())[:_SHOWN])


def _accounts(contents: Contents, path: str, *, fields: int) -> Iterator[list[str]]:
    """Lines with at least that many fields; comments and NIS entries, which name no account, are none."""
    file = contents.get(path)
    for line in _lines(file.content) if file is not None else ():
        parts = line.split(":", 7)
        if len(parts) >= fields and parts[0] and not line.startswith(("#", "+", "-")):
            yield parts


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "replace").splitlines()[:_LINES]


def _failure(contents: Contents, path: str, evidence: str) -> Failure:
    return Failure(evidence, path, contents[path].layer)
