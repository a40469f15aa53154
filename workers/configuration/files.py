"""Checks of the files: which of them are worth a look, and what is wrong with those."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator

from workers.configuration.facts import OTHERS_WRITE, SETGID, SETUID, Failure, FileFact
from workers.secrets.places import is_harmless, is_package_code

SUDO = "usr/bin/sudo"
# Names and endings of files that hold credentials, as Dockle lists them.
_CREDENTIALS = frozenset(
    {
        "credentials.json",
        "credential.json",
        "credentials",
        "credential",
        "password.txt",
        "id_rsa",
        "id_dsa",
        "id_ecdsa",
        "id_ed25519",
        "secret_token.rb",
        "carrierwave.rb",
        "omniauth.rb",
        "settings.py",
        "database.yml",
        "credentials.xml",
    }
)
_CREDENTIAL_ENDINGS = (
    ".secret",
    ".ovpn",
    ".private_key",
    ".cscfg",
    ".rdp",
    ".mdf",
    ".sdf",
    ".bek",
    ".tpm",
    ".fve",
    ".jks",
    ".psafe3",
    ".agilekeychain",
    ".keychain",
    ".pcap",
    ".gnucash",
)
_CLUTTER_FILES = frozenset({"Dockerfile", "docker-compose.yml", ".vimrc"})
CLUTTER_DIRECTORIES = frozenset({".cache", "tmp", ".git", ".vscode", ".idea", ".npm"})
_DEPENDENCIES = ("node_modules/", "vendor/")
_SYSTEM = ("bin/", "sbin/", "lib/", "lib64/", "usr/", "etc/")


def is_notable(path: str, mode: int) -> bool:
    """Whether a check may fail on the file. Called for every file of an image, up to half a million times."""
    if mode & (SETUID | SETGID | OTHERS_WRITE):
        return True
    name = path.rpartition("/")[2]
    return name in _CREDENTIALS or name in _CLUTTER_FILES or name.endswith(_CREDENTIAL_ENDINGS)


def check_setuid(files: Iterable[FileFact]) -> Iterator[Failure]:
    for file in files:
        if file.mode & (SETUID | SETGID):
            yield Failure(f"{_mode(file)} {file.path}", file.path, file.layer)


def check_sudo_program(files: Iterable[FileFact]) -> Iterator[Failure]:
    for file in files:
        if file.path == SUDO and file.mode & SETUID:
            yield Failure(f"{_mode(file)} {file.path}", file.path, file.layer)


def check_writable(files: Iterable[FileFact]) -> Iterator[Failure]:
    for file in files:
        if file.mode & OTHERS_WRITE and file.path.startswith(_SYSTEM):
            yield Failure(f"{_mode(file)} {file.path}", file.path, file.layer)


def check_credential_files(files: Iterable[FileFact]) -> Iterator[Failure]:
    for file in files:
        name = file.path.rpartition("/")[2]
        if name in _CREDENTIALS or name.endswith(_CREDENTIAL_ENDINGS):
            if is_package_code(file.path) or is_harmless(file.path):
                continue
            yield Failure(f"A file called {name}", file.path, file.layer)


def check_clutter(files: Iterable[FileFact], directories: Iterable[FileFact]) -> Iterator[Failure]:
    for file in files:
        name = file.path.rpartition("/")[2]
        if name in _CLUTTER_FILES and not is_dependency(file.path):
            yield Failure(f"A file called {name}", file.path, file.layer)
    for directory in directories:
        if not is_dependency(directory.path):
            yield Failure(
                f"Files in a directory called {directory.path.rpartition('/')[2]}", directory.path, directory.layer
            )


def is_dependency(path: str) -> bool:
    return any(part in f"{path}/" for part in _DEPENDENCIES)


def _mode(file: FileFact) -> str:
    return stat.filemode(stat.S_IFREG | file.mode)
