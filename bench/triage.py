"""B13: one decision about 10,000 findings among a million, over REST, with a result for each."""

from __future__ import annotations

import time

import orjson
from sqlalchemy import func, select
from sqlmodel import col

from bench.product import Product, post
from bench.results import Result
from schema.kernel.tenancy import tenant
from schema.triage.models import TriageEvent
from schema.vulnerabilities.models import TriageStatus, Vulnerability

ROWS = 10_000
TARGET_SECONDS = 2


async def measure(name: str, product: Product, count: int) -> list[Result]:
    async with product.services.database.read() as session:
        wanted = select(col(Vulnerability.id)).where(
            tenant(Vulnerability, product.organization_id), col(Vulnerability.status) == TriageStatus.OPEN
        )
        ids = list((await session.execute(wanted.limit(ROWS))).scalars())
    before = await _history(product)
    body = orjson.dumps({"ids": ids, "status": "ACKNOWLEDGED", "comment": "We know of these"})
    began = time.perf_counter()
    answer = orjson.loads(await post(product.app, "/api/vulnerabilities/triage", body, key=product.key))
    seconds = time.perf_counter() - began
    written = await _history(product) - before
    if answer["data"]["changed"] != len(ids) or written != len(ids):
        message = f"{answer['data']['changed']} of {len(ids)} changed, with {written} rows of history"
        raise RuntimeError(message)
    what = f"{name}, {len(ids):,} of {count:,} findings decided at once, a row of history for each"
    return [Result("B13", what, f"{seconds:.2f} s", f"<= {TARGET_SECONDS} s")]


async def _history(product: Product) -> int:
    async with product.services.database.read() as session:
        rows = select(func.count()).select_from(TriageEvent).where(tenant(TriageEvent, product.organization_id))
        return (await session.execute(rows)).scalar_one()
