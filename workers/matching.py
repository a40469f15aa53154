"""The native provider's judgement: packages meet the advisories that are stored for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from schema.advisories.matching import covering_ecosystems, lookup_keys, match_packages
from schema.advisories.repository import candidates, ecosystems
from schema.kernel.database import Database
from schema.scans.ingest import distinct
from workers.engines.native import EcosystemData, NativeRun


async def match(run: NativeRun, database: Database) -> NativeRun:
    """The run with what was found in its packages, and with what there was to judge them by."""
    packages, clock = run.inventory.packages, time.monotonic()
    keys = {key for package in packages for key in lookup_keys(package)}
    async with database.snapshot() as session:
        held = {row.ecosystem: row for row in await ecosystems(session)}
        advisories = await candidates(session, keys)
    store = {}
    for name in run.packages_by_ecosystem:
        speaking = [held[each] for each in covering_ecosystems(name, held.keys())]
        if speaking:
            store[name] = EcosystemData(
                advisories=sum(row.advisories for row in speaking),
                date=min(row.database_date for row in speaking),
                sample=all(row.sample for row in speaking),
            )
    # Comparing versions is pure computation: off the event loop, so that requests and heartbeats go on.
    findings = await asyncio.to_thread(match_packages, packages, advisories)
    return replace(run, findings=distinct(findings), store=store, matching_ms=int((time.monotonic() - clock) * 1000))
