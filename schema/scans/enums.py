"""The enums of scans as the schema names them. Imported by whatever declares a type with one."""

from __future__ import annotations

import strawberry

from schema.scans.evidence import CheckLevel
from schema.scans.failures import FailureCode
from schema.scans.formats import ReportFormat
from schema.scans.models import Engine, EngineRunStatus, ScanOrigin, ScanPhase, ScanStatus

strawberry.enum(
    Engine, graphql_name_from="value", description="The six engines. Who answered for one is its run's `provider`."
)
strawberry.enum(EngineRunStatus, description="How an engine's run stands.")
strawberry.enum(ScanStatus, description="How a scan stands.")
strawberry.enum(ScanPhase, description="What a running scan is doing.")
strawberry.enum(ScanOrigin, graphql_name_from="value", description="Who scanned: our workers, or a sensor.")
strawberry.enum(CheckLevel, description="How much a failed configuration check matters, in Dockle's words.")
strawberry.enum(FailureCode, description="Why a scan failed.")
strawberry.enum(
    ReportFormat,
    graphql_name_from="value",
    description="What a report that was made elsewhere is written in: a tool's own JSON, or a format of several tools.",
)

__all__ = [
    "CheckLevel",
    "Engine",
    "EngineRunStatus",
    "FailureCode",
    "ReportFormat",
    "ScanOrigin",
    "ScanPhase",
    "ScanStatus",
]
