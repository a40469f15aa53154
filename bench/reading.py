"""B2: a page of a million findings over REST, against a bare route that runs the same statements. Then, because there are
now a million findings, what else is measured beside them: B9, look-ups, B11 and B13.

The routes are called as ASGI applications in this process, in turn, so that neither a network nor the machine's mood differs.
The bare route knows its organization, checks nothing, and writes its dictionaries by hand.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from app.runtime import spare_collector
from bench import cves, dashboard, findings, looking_up, triage
from bench.product import Product, get, new_database, opened, postgresql
from bench.results import Result
from schema.kernel.database import Database
from schema.kernel.listing import Shape
from schema.kernel.pagination import SortOrder
from schema.kernel.parameters import ORGANIZATION
from schema.vulnerabilities import counts
from schema.vulnerabilities.repository import VULNERABILITIES

LIMIT = 50
PAGES = (1, 200)
SORTS = ("severity", "cvss", "detectedAt", "cveId", "triageStatus")
TARGET = 1.5
SORT_TARGET = 2.0
Call = Callable[[], Awaitable[object]]


def run(size: str) -> list[Result]:
    count, rounds = (10_000, 60) if size == "small" else (1_000_000, 200)
    results = []
    # The server's own event loop.
    with (
        tempfile.TemporaryDirectory() as directory,
        postgresql() as server,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        results += runner.run(_on("SQLite", Path(directory) / "sqlite", "", count, rounds))
        url = runner.run(new_database(server, "reading"))
        results += runner.run(_on("PostgreSQL", Path(directory) / "postgresql", url, count, rounds))
    return results


async def _on(name: str, directory: Path, database_url: str, count: int, rounds: int) -> list[Result]:
    async with opened(directory, database_url) as product:
        await findings.furnish(product.services.database, product.organization_id, count)
        spare_collector()  # as a server does when it has started
        bare = bare_route(product.services.database, product.organization_id)
        results, medians = [], {}
        for sort in SORTS:
            for page in PAGES:
                url = f"/api/vulnerabilities?limit={LIMIT}&page={page}&sort={sort}:desc"
                ours, theirs = await _compare(product, bare, url, rounds)
                medians[sort, page] = statistics.median(ours)
                ratio = _p95(ours) / _p95(theirs)
                what = f"{name}, {count:,} findings, sort {sort}, page {page}: p95, and its ratio to the bare route's"
                measured = f"{_p95(ours):.2f} ms, {ratio:.2f} x (medians {_median_ratio(ours, theirs):.2f} x)"
                results.append(Result("B2", what, measured, f"<= {TARGET} x"))
        for page in PAGES:
            slowest = max(SORTS, key=lambda sort: medians[sort, page])
            ratio = medians[slowest, page] / medians["severity", page]
            what = f"{name}, page {page}, the slowest sort ({slowest}) to the default"
            results.append(Result("B2", what, f"{ratio:.2f} x", f"<= {SORT_TARGET} x"))
        results += await dashboard.measure(name, product, count, rounds // 10)
        results += await looking_up.measure(name, product, count, rounds // 10)
        results += await cves.measure(name, product, directory, count)
        results += await triage.measure(name, product, count)
    return results


async def _compare(product: Product, bare: ASGIApp, url: str, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each call, ours and the bare route's in turn."""
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(rounds + 5):
        for times, call in ((ours, product.get(url)), (theirs, get(bare, url))):
            began = time.perf_counter()
            await call
            if number >= 5:  # the first ones fill caches on both sides
                times.append((time.perf_counter() - began) * 1000)
    return ours, theirs


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


def _median_ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(ours) / statistics.median(theirs)


# Everything but the advisories' ids, which the REST operation does not show.
SHOWN = frozenset(VULNERABILITIES.names) - {"advisory_ids"}


def bare_route(database: Database, organization_id: str) -> ASGIApp:
    """What somebody would write by hand who wants nothing but these rows."""
    total = counts.total(frozenset())
    statements = {
        sort: VULNERABILITIES.page(Shape(frozenset(), SortOrder(column=sort, descending=True), False, SHOWN))[0]
        for sort in SORTS
    }

    async def answer(request: Request) -> Response:
        given = request.query_params
        page, limit = int(given["page"]), int(given["limit"])
        sort, _, _ = given["sort"].partition(":")
        values = {ORGANIZATION: organization_id, "limit": limit + 1, "offset": (page - 1) * limit}
        async with database.read() as session:
            counted = (await session.execute(total, values)).scalar_one()
            rows = (await session.execute(statements[sort], values)).all()
        meta = {"page": page, "pageSize": limit, "total": counted, "hasNext": len(rows) > limit, "hasPrev": page > 1}
        body = {"data": [_row(*row) for row in rows[:limit]], "meta": meta}
        return Response(orjson.dumps(body), media_type="application/json")

    return Starlette(routes=[Route("/api/vulnerabilities", answer)])


def _row(
    cve_id: str,
    aliases: list[str],
    title: str,
    cvss: float | None,
    cvss_vectors: list[str],
    package_name: str,
    package_version: str,
    package_type: str,
    fixed_versions: list[str],
    fixable: bool,  # noqa: FBT001
    status: str,
    id_: str,
    severity: str,
    sources: list[str],
    agreement: int,
    image_id: str,
    image: str,
    detected_at: datetime,
    last_seen_at: datetime,
    remediated_at: datetime | None,
    *_key: object,
) -> dict[str, Any]:
    return {
        "id": id_,
        "cveId": cve_id,
        "aliases": aliases,
        "title": title,
        "severity": severity,
        "cvss": cvss,
        "cvssVectors": cvss_vectors,
        "package": {"name": package_name, "version": package_version, "type": package_type},
        "fixedVersions": fixed_versions,
        "fixable": fixable,
        "status": status,
        "sources": sources,
        "agreement": agreement,
        "imageId": image_id,
        "image": image,
        "detectedAt": detected_at,
        "lastSeenAt": last_seen_at,
        "remediatedAt": remediated_at,
    }
