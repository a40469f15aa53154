"""Whether a sensor is there. No I/O."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum

SILENCE = timedelta(minutes=2)  # a sensor asks or beats every half minute
# Right after its registration a sensor loads its databases and says nothing meanwhile.
WARM_UP = timedelta(minutes=6)


class Presence(StrEnum):
    ONLINE = "online"
    SCANNING = "scanning"
    OFFLINE = "offline"
    NONE = "none"  # of a registry that has no sensor


def presence(*, last_seen_at: datetime, registered_at: datetime, active_scans: int, now: datetime) -> Presence:
    if now > max(last_seen_at + SILENCE, registered_at + WARM_UP):
        return Presence.OFFLINE
    return Presence.SCANNING if active_scans > 0 else Presence.ONLINE


def together(presences: Collection[Presence]) -> Presence:
    """Of all sensors of a registry: the best of them."""
    order = (Presence.SCANNING, Presence.ONLINE, Presence.OFFLINE)
    return next((each for each in order if each in presences), Presence.NONE)
