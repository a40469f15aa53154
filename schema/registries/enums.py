"""The enums of registries as the schema names them. Imported by whatever declares a type with one."""

from __future__ import annotations

import strawberry

from schema.kernel.ports import RegistryAuthentication
from schema.registries.models import RegistryProvider, RegistryStatus, ScanMethod, Schedule, SyncStatus
from schema.registries.presence import Presence

strawberry.enum(RegistryProvider, description="Who runs a registry, or which product it is.")
strawberry.enum(
    ScanMethod,
    graphql_name_from="value",
    description="Who fetches and scans a registry's images: our workers, or a sensor inside its network.",
)
strawberry.enum(
    Schedule,
    graphql_name_from="value",
    description="When a registry is synchronized and its tags scanned by themselves.",
)
strawberry.enum(RegistryStatus, description="How a registry stands. DISCONNECTED: it was never reached yet.")
strawberry.enum(SyncStatus, description="How a look at a registry's catalogue stands.")
strawberry.enum(
    RegistryAuthentication,
    graphql_name_from="value",
    description="How a registry wants to know who asks: not at all, with user name and password, or with a token.",
)
strawberry.enum(
    Presence,
    name="SensorPresence",
    graphql_name_from="value",
    description="Whether sensors answer. offline: none has for two minutes; none: there is no sensor.",
)

__all__ = [
    "Presence",
    "RegistryAuthentication",
    "RegistryProvider",
    "RegistryStatus",
    "ScanMethod",
    "Schedule",
    "SyncStatus",
]
