"""What the times and the rights of sensors come to."""

from __future__ import annotations

from schema.sensors.rules import SensorStatus, best_of


def test_of_several_sensors_the_best_counts() -> None:
    assert best_of([]) is None
    assert best_of([SensorStatus.OFFLINE]) is SensorStatus.OFFLINE
    assert best_of([SensorStatus.OFFLINE, "online"]) is SensorStatus.ONLINE
    assert best_of(["online", "scanning", "offline"]) is SensorStatus.SCANNING
