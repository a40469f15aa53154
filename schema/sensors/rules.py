"""Times and rights of sensors. Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from enum import StrEnum

SCAN = "scan"
# Of our own sensor: what it pulls with it knows itself, and is never told.
OWN_CREDENTIALS = "own-credentials"
# A sensor sends a heartbeat every 30 seconds, and all of them only once it has warmed its databases up, which takes up to
# five minutes and a half after it registered.
OFFLINE_AFTER = timedelta(minutes=2)
OFFLINE_AFTER_REGISTERING = timedelta(minutes=6)
# A job is another sensor's when its own has been silent for so long, or has said for so long that it does nothing.
LEASE = timedelta(minutes=3)
SEEN_EVERY = timedelta(seconds=5)  # how often it is written down that a sensor was heard of


class SensorStatus(StrEnum):
    """Published, so append-only."""

    ONLINE = "online"
    SCANNING = "scanning"
    OFFLINE = "offline"


def best_of(statuses: Collection[SensorStatus | str]) -> SensorStatus | None:
    """How it stands with several sensors. None: there is none."""
    order = (SensorStatus.SCANNING, SensorStatus.ONLINE, SensorStatus.OFFLINE)
    return next((each for each in order if each in statuses), None)


def can_scan(capabilities: Collection[str]) -> bool:
    return SCAN in capabilities


def is_current(identity: str, capabilities: Collection[str]) -> bool:
    """Whether it is of the second generation in the field. Both say they are version 0.1.0: what tells them apart is an
    identity of its own, or that it can do more than scan.
    """
    return bool(identity) or bool(set(capabilities) - {SCAN})


def takes_credentials(identity: str, capabilities: Collection[str]) -> bool:
    """The first generation reads the credentials of a job and uses them for nothing, so it never gets any."""
    return is_current(identity, capabilities) and OWN_CREDENTIALS not in capabilities
