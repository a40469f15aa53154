"""The enums of sensors as the schema names them."""

from __future__ import annotations

import strawberry

from schema.sensors.rules import SensorStatus

strawberry.enum(SensorStatus, graphql_name_from="value", description="Whether a sensor is there, and at work.")

__all__ = ["SensorStatus"]
