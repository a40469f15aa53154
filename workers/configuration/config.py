"""Checks of what the config says. Pure; a value of a wrong type is one that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from workers.configuration.facts import Failure
from workers.secrets.names import is_secret_name, is_secret_value

_ENTRIES = 10_000  # of one list in the config
_ROOT = re.compile(r"(?:root|0+)(?::.*)?")
_KERNEL = frozenset({"/dev", "/proc", "/sys"})
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/[a-z]{1,8})?")
_PRIVILEGED = 1024
_LOGIN = {22: "SSH", 23: "Telnet", 3389: "remote desktop"}

Config = Mapping[str, object]


def check_user(config: Config) -> Iterator[Failure]:
    user = config.get("User")
    name = user if isinstance(user, str) else ""
    if not name:
        yield Failure("The config names no user, so it is root")
    elif _ROOT.fullmatch(name):
        yield Failure(f"USER {name[:100]}")


def check_healthcheck(config: Config) -> Iterator[Failure]:
    healthcheck = config.get("Healthcheck")
    test = healthcheck.get("Test") if isinstance(healthcheck, dict) else None
    if not test:
        yield Failure("The config has no health check")
    elif isinstance(test, list) and test[0] == "NONE":
        yield Failure("HEALTHCHECK NONE")


def check_variables(config: Config) -> Iterator[Failure]:
    for variable in texts(config.get("Env")):
        name, _, value = variable.partition("=")
        if is_secret_name(name) and is_secret_value(value):
            yield Failure(f"ENV {name[:200]}")


def check_labels(config: Config) -> Iterator[Failure]:
    labels = config.get("Labels")
    for name, value in list(labels.items())[:_ENTRIES] if isinstance(labels, dict) else ():
        if isinstance(value, str) and is_secret_name(str(name)) and is_secret_value(value):
            yield Failure(f"LABEL {str(name)[:200]}")


def check_volumes(config: Config) -> Iterator[Failure]:
    for volume in _keys(config.get("Volumes")):
        if "/" + volume.strip("/") in _KERNEL:
            yield Failure(f"VOLUME {volume}")


def check_ports(config: Config) -> Iterator[Failure]:
    for port, exposed in _ports(config):
        if port < _PRIVILEGED:
            yield Failure(f"EXPOSE {exposed}")


def check_remote_login(config: Config) -> Iterator[Failure]:
    for first, exposed in _ports(config):
        last = int(exposed.partition("/")[0].rpartition("-")[2])
        for port, service in _LOGIN.items():
            if first <= port <= last:
                yield Failure(f"EXPOSE {exposed} ({service})")


def texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)][:_ENTRIES] if isinstance(value, list) else []


def _keys(value: object) -> list[str]:
    return [str(key) for key in list(value)[:_ENTRIES]] if isinstance(value, dict) else []


def _ports(config: Config) -> Iterator[tuple[int, str]]:
    """The lowest port of each range that is exposed, and how it is written."""
    for exposed in _keys(config.get("ExposedPorts")):
        match = _PORT.fullmatch(exposed)
        if match is not None and int(match[1]) > 0:
            yield int(match[1]), exposed
