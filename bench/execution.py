"""B1: a GraphQL list of 50 rows with 23 fields, one of them an object, without a database.

Four ways to the same bytes, in turn in this process: dictionaries written by hand, our executor on a prepared document,
strawberry's `execute` with its parser and validation caches, and without.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, cast

import orjson
import strawberry
from graphql import ExecutionResult
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.schema.config import StrawberryConfig

from bench.results import Result
from schema.execution.documents import prepare
from schema.execution.executor import CompiledExecutor
from schema.kernel.clock import iso_utc
from schema.kernel.scalars import SCALARS

ROWS = 50


@strawberry.enum
class Severity(StrEnum):
    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    LOW = "LOW"


@strawberry.type
class Package:
    name: str
    version: str
    kind: Severity


@strawberry.type
class Finding:
    id: strawberry.ID
    cve_id: str
    title: str
    severity: Severity
    cvss: float | None
    fixable: bool
    status: Severity
    image_id: strawberry.ID
    image: str
    agreement: int
    path: str
    layer_digest: str
    layer_index: int
    aliases: list[str]
    vectors: list[str]
    fixed_versions: list[str]
    detected_at: datetime
    last_seen_at: datetime
    remediated_at: datetime | None
    package: Package


def _finding(number: int) -> Finding:
    detected_at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
    return Finding(
        id=strawberry.ID(f"vuln-{number}"),
        cve_id=f"CVE-2026-{number}",
        title="A flaw in a parser lets a remote caller read memory",
        severity=Severity.CRITICAL,
        cvss=9.8,
        fixable=True,
        status=Severity.LOW,
        image_id=strawberry.ID("img-1"),
        image="registry.example/team/service",
        agreement=2,
        path="usr/lib/library.so",
        layer_digest="sha256:" + "a" * 64,
        layer_index=3,
        aliases=["GHSA-xxxx-xxxx-xxxx", "PYSEC-2026-1"],
        vectors=["CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"],
        fixed_versions=["1.2.3"],
        detected_at=detected_at,
        last_seen_at=detected_at + timedelta(days=1),
        remediated_at=None,
        package=Package(name="library", version="1.0.0", kind=Severity.HIGH),
    )


FINDINGS = [_finding(number) for number in range(ROWS)]


@strawberry.type
class Query:
    @strawberry.field
    def findings(self) -> list[Finding]:
        return FINDINGS


DOCUMENT = """
{ findings { id cveId title severity cvss fixable status imageId image agreement path layerDigest layerIndex aliases vectors
  fixedVersions detectedAt lastSeenAt remediatedAt package { name version kind } } }
"""
CONFIG = StrawberryConfig(scalar_map=SCALARS)


def by_hand() -> bytes:
    rows = [
        {
            "id": row.id,
            "cveId": row.cve_id,
            "title": row.title,
            "severity": row.severity.name,
            "cvss": row.cvss,
            "fixable": row.fixable,
            "status": row.status.name,
            "imageId": row.image_id,
            "image": row.image,
            "agreement": row.agreement,
            "path": row.path,
            "layerDigest": row.layer_digest,
            "layerIndex": row.layer_index,
            "aliases": row.aliases,
            "vectors": row.vectors,
            "fixedVersions": row.fixed_versions,
            "detectedAt": iso_utc(row.detected_at),
            "lastSeenAt": iso_utc(row.last_seen_at),
            "remediatedAt": None if row.remediated_at is None else iso_utc(row.remediated_at),
            "package": {
                "name": row.package.name,
                "version": row.package.version,
                "kind": row.package.kind.name,
            },
        }
        for row in FINDINGS
    ]
    return orjson.dumps({"data": {"findings": rows}})


def run(size: str) -> list[Result]:
    rounds = 300 if size == "small" else 3_000
    plain = strawberry.Schema(Query, config=CONFIG)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a cache is only one when every request shares it
        caches: Sequence[Any] = (ParserCache(100), ValidationCache(100))  # instances, which are deprecated
        cached = strawberry.Schema(Query, config=CONFIG, extensions=caches)
    operation = prepare(plain._schema, DOCUMENT).operation(None)  # noqa: SLF001 -- strawberry has no public name for it
    assert operation is not None

    def compiled() -> bytes:
        executor = CompiledExecutor.planned(operation.plan, {}, None)
        assert isinstance(executor, CompiledExecutor)
        return _written(cast("ExecutionResult", executor.execute_operation()))

    ways: dict[str, Callable[[], bytes]] = {
        "by hand": by_hand,
        "compiled": compiled,
        "schema.execute with caches": lambda: _written(cached.execute_sync(DOCUMENT)),
        "schema.execute": lambda: _written(plain.execute_sync(DOCUMENT)),
    }
    if len({way() for way in ways.values()}) != 1:
        msg = "the ways do not agree"
        raise RuntimeError(msg)
    medians = _medians(ways, rounds)
    ours, hand = medians["compiled"], medians["by hand"]
    return [
        Result("B1", f"{ROWS} rows x 23 fields, {name}", f"{1000 * median:.2f} ms", "-")
        for name, median in medians.items()
    ] + [
        Result("B1", "compiled to by hand", f"{ours / hand:.2f} x", "<= 1.6 x"),
        Result(
            "B1",
            "schema.execute with caches to compiled",
            f"{medians['schema.execute with caches'] / ours:.1f} x",
            ">= 10 x",
        ),
        Result("B1", "schema.execute to compiled", f"{medians['schema.execute'] / ours:.1f} x", ">= 15 x"),
    ]


def _medians(ways: dict[str, Callable[[], bytes]], rounds: int) -> dict[str, float]:
    """Seconds by name. Slow ways get fewer rounds, but every round has all that are left in turn."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            if name.startswith("schema.") and number % 10:
                continue
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(each) for name, each in times.items()}


def _written(result: Any) -> bytes:
    if result.errors:
        raise result.errors[0]
    return orjson.dumps({"data": result.data})
