"""An organization with as many findings as asked for, written straight into the tables.

Shaped like what scans leave: images of 500 findings each, severities as advisories have them, a few hundred flaws that
are in many images, triage on every tenth.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from schema.dependencies.records import PackageType
from schema.images.models import Image
from schema.kernel.database import Database
from schema.kernel.ids import IdPrefix, new_id
from schema.vulnerabilities import counts
from schema.vulnerabilities.deadlines import DEFAULT_DAYS, SlaPolicy
from schema.vulnerabilities.models import TriageStatus, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank
from schema.vulnerabilities.texts import keep_texts

FINDINGS_PER_IMAGE = 500
BATCH = 5_000
_SEVERITIES = (
    [Severity.CRITICAL] * 4
    + [Severity.HIGH] * 22
    + [Severity.MEDIUM] * 46
    + [Severity.LOW] * 22
    + [Severity.UNKNOWN] * 6
)
_STATUSES = [TriageStatus.OPEN] * 9 + [TriageStatus.ACKNOWLEDGED]
DUE = SlaPolicy(days=DEFAULT_DAYS)
_START = datetime(2026, 1, 1, tzinfo=UTC)


async def furnish(database: Database, organization_id: str, count: int) -> None:
    """Adds `count` findings."""
    draw = random.Random(count)
    images = [_image(organization_id, number) for number in range(-(-count // FINDINGS_PER_IMAGE))]
    async with database.write() as session:
        await session.execute(insert(Image), images)
    batch: list[dict[str, Any]] = []
    for row in _vulnerabilities(organization_id, [image["id"] for image in images], count, draw):
        batch.append(row)
        if len(batch) == BATCH:
            await _store(database, batch)
            batch = []
    if batch:
        await _store(database, batch)
    async with database.write() as session:
        await counts.refresh(session, organization_id, [image["id"] for image in images])
    await _settle(database)


async def _settle(database: Database) -> None:
    """What a database does by itself sooner or later: statistics, and on PostgreSQL a first vacuum."""
    async with database.writer.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("ANALYZE" if database.is_sqlite else "VACUUM ANALYZE")


async def _store(database: Database, rows: list[dict[str, Any]]) -> None:
    async with database.write() as session:
        await session.execute(insert(Vulnerability), rows)
        titles = {(row["cve_id"], row["package_name"]): row["title"] for row in rows}
        await keep_texts(session, rows[0]["organization_id"], titles)


def _image(organization_id: str, number: int) -> dict[str, Any]:
    return {
        "id": new_id(IdPrefix.IMAGE),
        "organization_id": organization_id,
        "name": f"registry.example/team-{number % 40}/service-{number}",
        "created_at": _START + timedelta(minutes=number),
    }


def _vulnerabilities(
    organization_id: str, images: list[str], count: int, draw: random.Random
) -> Iterator[dict[str, Any]]:
    for number in range(count):
        severity = draw.choice(_SEVERITIES)
        cvss = round(draw.uniform(0.1, 10.0), 1)
        detected_at = _START + timedelta(seconds=draw.randrange(25_000_000))
        flaw = draw.randrange(1_000, 60_000)
        yield {
            "id": new_id(IdPrefix.VULNERABILITY),
            "organization_id": organization_id,
            "image_id": images[number // FINDINGS_PER_IMAGE],
            "cve_id": f"CVE-{2015 + flaw % 12}-{flaw}",
            "aliases": [f"GHSA-{flaw:04x}-{flaw:04x}-{flaw:04x}"],
            "advisory_ids": [f"GHSA-{flaw:04x}-{flaw:04x}-{flaw:04x}"],
            "title": f"A flaw in the parser of library-{flaw % 900} lets a remote caller read memory",
            "severity": severity,
            "severity_key": severity_rank(severity),
            "cvss": cvss,
            "cvss_key": cvss,
            "cvss_vectors": ["CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"],
            "package_name": f"library-{flaw % 900}",
            "package_version": f"{flaw % 7}.{number % FINDINGS_PER_IMAGE}.0",
            "package_type": PackageType.DEB,
            "fixed_versions": [f"{flaw % 7 + 1}.0.0"] if flaw % 3 else [],
            "fixable": bool(flaw % 3),
            "sources": ["native"],
            "agreement": 1,
            "status": draw.choice(_STATUSES),
            "detected_at": detected_at,
            "last_seen_at": detected_at + timedelta(days=1),
            "due_at": DUE.due(severity, detected_at),
        }
