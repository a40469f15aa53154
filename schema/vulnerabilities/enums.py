"""The enums of vulnerabilities as the schema names them. Imported by whatever declares a type with one."""

from __future__ import annotations

import strawberry

from schema.dependencies.records import PackageType
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade

strawberry.enum(Severity, description="How bad a flaw is. UNKNOWN is a statement of its own, never LOW.")
strawberry.enum(Grade, description="A: no critical or high. B: up to 3 high. C: more than 3 high. D: any critical.")
strawberry.enum(TriageStatus, description="Where a vulnerability stands in its life.")
strawberry.enum(PackageType, graphql_name_from="value", description="Package types; `pip` is a Python distribution.")

__all__ = ["Grade", "PackageType", "Severity", "TriageStatus"]
