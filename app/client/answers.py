"""The answers of REST, as far as the client reads them. What it does not know is kept, and printed with `--format json`."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.scores import Grade

T = TypeVar("T")
ENDED = frozenset({"COMPLETE", "FAILED", "CANCELLED"})


class Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True, alias_generator=to_camel, validate_by_name=True)


class One(Answer, Generic[T]):
    data: T


class PageMeta(Answer):
    total: int
    total_is_exact: bool = True
    has_next: bool


class Several(Answer, Generic[T]):
    data: list[T]
    meta: PageMeta


class Created(Answer):
    id: str


class Status(Answer):
    id: str
    status: str
    phase: str
    progress: int


class Coverage(Answer):
    ecosystem: str
    packages: int
    advisories: int
    covered: bool
    sample: bool


class EngineRun(Answer):
    engine: str
    status: str
    provider: str | None
    message: str | None
    database_date: str | None
    coverage: list[Coverage]
    finding_count: int
    package_count: int


class Counts(Answer):
    critical: int
    high: int
    medium: int
    low: int
    unknown: int


class PastScan(Answer):
    """A scan in a list."""

    id: str
    image: str
    tag_id: str | None
    digest: str | None
    platform: str | None
    status: str
    partial: bool
    compliance: Grade | None
    grade_reason: str | None
    risk_score: int | None
    counts: Counts
    package_count: int
    failure_code: str | None
    failure_reason: str | None
    duration: int | None
    scanned_at: str | None


class Scan(PastScan):
    compared_with: str | None
    engines: list[EngineRun]


class Package(Answer):
    name: str
    version: str
    type: str


class Finding(Answer):
    id: str
    cve_id: str
    aliases: list[str]
    severity: Severity
    cvss: float | None
    package: Package
    fixed_versions: list[str]
    fixable: bool
    is_new: bool
    status: TriageStatus
    sources: list[str]
    layer_index: int
