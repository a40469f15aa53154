"""B3: storing a report of 10,000 findings: the first time, again unchanged, and again with one in twenty changed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy import event

from app.runtime import spare_collector
from bench.product import Product, new_database, opened, postgresql
from bench.results import Result
from schema.dependencies.records import PackageRecord, PackageType
from schema.kernel.database import Database
from schema.scans.ingest import EngineResult, FetchedImage, ScanResults, ingest
from schema.scans.merging import Voice, merge
from schema.scans.models import Engine, EngineRunStatus
from schema.scans.repository import load_scan
from schema.scans.trigger import ScanRequest, queue_scan
from schema.vulnerabilities.records import FindingRecord, Severity

FINDINGS = 10_000
PER_PACKAGE = 5
FIRST_SECONDS, UNCHANGED_SECONDS = 2.0, 0.5


def run(size: str) -> list[Result]:
    rounds = 1 if size == "small" else 5
    results = []
    with (
        tempfile.TemporaryDirectory() as directory,
        postgresql() as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        results += runner.run(_on("SQLite", Path(directory) / "sqlite", "", rounds))
        url = runner.run(new_database(server, "storing"))
        results += runner.run(_on("PostgreSQL", Path(directory) / "postgresql", url, rounds))
    return results


async def _on(name: str, directory: Path, database_url: str, rounds: int) -> list[Result]:
    same = _results(lambda _number: False)
    changed = _results(lambda number: number % 20 == 0)
    times: dict[str, list[float]] = {"first": [], "unchanged": [], "one in twenty changed": []}
    written: dict[str, Counter[str]] = {}
    async with opened(directory, database_url) as product:
        spare_collector()
        for number in range(rounds):
            for what, results in zip(times, (same, same, changed), strict=True):
                with _counted(product.services.database) as written[what]:
                    times[what].append(await _store(product, f"registry.example/app-{number}:1", results))
    return [
        Result(
            "B3",
            f"{name}, {FINDINGS:,} findings, {what}",
            f"{min(each):.2f} s, {written[what].total()} statements, {written[what]['vulnerabilities']} of them on known rows",
            {"first": f"<= {FIRST_SECONDS} s", "unchanged": f"<= {UNCHANGED_SECONDS} s"}.get(what, "-"),
        )
        for what, each in times.items()
    ]


async def _store(product: Product, image: str, results: ScanResults) -> float:
    database, now = product.services.database, product.services.clock()
    async with database.write() as session:
        request = ScanRequest(image=image, scanners=(Engine.TRIVY,))
        scan_id = await queue_scan(session, request, product.principal, now=now)
    began = time.perf_counter()
    async with database.write() as session:
        scan = await load_scan(session, product.organization_id, scan_id)
        await ingest(session, scan, results, now=now)
    return time.perf_counter() - began


@contextmanager
def _counted(database: Database) -> Iterator[Counter[str]]:
    """Statements, and under "vulnerabilities" those that write rows which outlive a scan."""
    counts: Counter[str] = Counter()

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        writes = statement.startswith(("INSERT INTO vulnerabilities ", "UPDATE vulnerabilities "))
        counts["vulnerabilities" if writes else "others"] += 1

    engine = database.writer.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield counts
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _results(is_changed: Callable[[int], bool]) -> ScanResults:
    packages = [_package(number) for number in range(FINDINGS // PER_PACKAGE)]
    findings = [_finding(number, packages[number // PER_PACKAGE]) for number in range(FINDINGS)]
    findings = [
        replace(finding, fixed_versions=("9.9.9",)) if is_changed(number) else finding
        for number, finding in enumerate(findings)
    ]
    voice = Voice(source="trivy", engines=(Engine.TRIVY,), packages=tuple(packages), findings=tuple(findings))
    merged = merge([voice])
    return ScanResults(
        image=FetchedImage(
            digest="sha256:" + "1" * 64, platform="linux/amd64", size_bytes=1, operating_system=None, config={}
        ),
        inventory=None,
        engines=(EngineResult(engine=Engine.TRIVY, status=EngineRunStatus.COMPLETE, provider="trivy 0.76.0"),),
        packages=merged.packages,
        findings=merged.findings,
        answered=frozenset({"trivy"}),
        grade_reason=None,
    )


def _package(number: int) -> PackageRecord:
    name = f"library-{number}"
    return PackageRecord(
        name=name,
        version=f"1.{number}",
        type=PackageType.DEB,
        ecosystem="Debian:12",
        source_name=name,
        source_version=f"1.{number}",
        purl=f"pkg:deb/debian/{name}@1.{number}",
        path="var/lib/dpkg/status",
        layer_digest="sha256:" + "2" * 64,
        layer_index=0,
    )


def _finding(number: int, package: PackageRecord) -> FindingRecord:
    return FindingRecord(
        vulnerability_id=f"CVE-2025-{number}",
        aliases=(f"GHSA-{number:04x}-{number:04x}-{number:04x}",),
        advisory_ids=(f"DEBIAN-CVE-2025-{number}",),
        package=package,
        severity=tuple(Severity)[number % 5],
        cvss_score=number % 100 / 10,
        cvss_vectors=("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",),
        fixed_versions=("2.0",) if number % 3 else (),
        title=f"A flaw in the parser of {package.name} lets a remote caller read memory",
    )
