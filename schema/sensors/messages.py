"""What sensors say, as values. Pure, and forgiving: sensors in the field leave members out, add some, and write null for
an empty list. Of what is there only what a column takes is kept: one printable line of bounded length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from schema.kernel.errors import Issue, invalid
from schema.sensors.handover import read_public_key, write_public_key

MAX_REPOSITORIES = 10_000
MAX_TAGS = 50_000  # of all repositories of one catalogue
_MAX_ENTRIES = 50  # of capabilities and of tool versions
_MAX_COUNT = 1_000
_MAX_UPTIME = 2**53
_MAX_REASON = 1900  # characters; whoever stores it says more before
_SPACES = re.compile(r"\s+")
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


def line(value: object, most: int) -> str:
    """On one line, without control characters, cut to size; "" for what is no text."""
    if not isinstance(value, str):
        return ""
    spaced = _SPACES.sub(" ", value[: 4 * most]).strip()
    return "".join(each if each.isprintable() else "�" for each in spaced)[:most]


def lines(value: object, most: int) -> tuple[str, ...]:
    """Each once, without empty ones. None for what is no list is none."""
    listed = value if isinstance(value, list) else []
    return tuple(dict.fromkeys(found for each in listed[:_MAX_ENTRIES] if (found := line(each, most))))


def _whole(value: object, most: int) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return min(max(int(value), 0), most) if is_number and value == value else 0  # type: ignore[call-overload]  # noqa: PLR0124 -- not for NaN


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A sensor introduces itself. `identity` is "" for an older one, which has nothing but its key."""

    identity: str
    name: str
    hostname: str
    os: str
    arch: str
    version: str
    capabilities: tuple[str, ...]
    scanner_versions: Mapping[str, str]  # raw, and often of no use: "Application:         grype"
    registry_url: str | None
    public_key: str | None  # that credentials are sealed to; only our own sensors have one

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Self:
        """Raises VALIDATION_ERROR for a key that is none: without it a sensor would wait for credentials in vain."""
        versions = message.get("scannerVersions")
        told = versions.items() if isinstance(versions, dict) else ()
        hostname = line(message.get("hostname"), 300)
        return cls(
            identity=line(message.get("sensorId"), 200),
            name=line(message.get("name"), 200) or hostname[:200] or "sensor",
            hostname=hostname,
            os=line(message.get("os"), 50),
            arch=line(message.get("arch"), 50),
            version=line(message.get("version"), 100),
            # What cannot say what it can do is taken to do the one thing every sensor does.
            capabilities=lines(message.get("capabilities"), 50) or ("scan",),
            scanner_versions={line(name, 50): _as_it_is(said) for name, said in list(told)[:_MAX_ENTRIES]},
            registry_url=_USERINFO.sub("", line(message.get("registryUrl"), 500)) or None,
            public_key=_public_key(line(message.get("publicKey"), 100)),
        )


def _public_key(stated: str) -> str | None:
    if not stated:
        return None
    try:
        return write_public_key(read_public_key(stated))
    except ValueError:
        raise invalid(Issue("publicKey", "must be an X25519 public key: 32 bytes, base64")) from None


def _as_it_is(said: object) -> str:
    """Their spaces are kept, so that it is what the tool printed."""
    return "".join(each for each in said[:200] if each.isprintable()) if isinstance(said, str) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """A sensor is there. `is_scanning` while it has a job in hand."""

    agent_id: str
    is_scanning: bool
    active_scans: int
    uptime_seconds: int

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Self:
        active = _whole(message.get("activeScans"), _MAX_COUNT)
        is_scanning = line(message.get("status"), 20).lower() == "scanning" or active > 0
        return cls(
            agent_id=line(message.get("agentId"), 100),
            is_scanning=is_scanning,
            active_scans=max(active, is_scanning),
            uptime_seconds=_whole(message.get("uptimeSeconds"), _MAX_UPTIME),
        )


class JobOutcome(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """How a job ended, in the sensor's words."""

    outcome: JobOutcome
    error: str

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Self:
        """Raises VALIDATION_ERROR for an outcome nobody knows."""
        stated = line(message.get("status"), 20).lower()
        if stated not in {each.value for each in JobOutcome}:
            raise invalid(Issue("status", "must be completed, failed or cancelled"))
        return cls(outcome=JobOutcome(stated), error=_USERINFO.sub("***@", line(message.get("error"), _MAX_REASON)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """What a sensor saw in its registry."""

    agent_id: str
    repositories: Mapping[str, tuple[str, ...]]  # tags by repository
    error: str

    @classmethod
    def read(cls, message: Mapping[str, Any]) -> Self:
        return cls(
            agent_id=line(message.get("agentId"), 100),
            repositories=dict(_repositories(message.get("repositories"))),
            error=_USERINFO.sub("***@", line(message.get("error"), 500)),
        )


def _repositories(value: object) -> Iterator[tuple[str, tuple[str, ...]]]:
    left = MAX_TAGS
    for each in (value if isinstance(value, list) else [])[:MAX_REPOSITORIES]:
        name = line(each.get("name"), 300) if isinstance(each, dict) else ""
        if name:
            given = each.get("tags")
            tags = (
                tuple(dict.fromkeys(filter(None, (line(tag, 200) for tag in (given or [])[:left]))))
                if isinstance(given, list)
                else ()
            )
            left -= len(tags)
            yield name, tags
