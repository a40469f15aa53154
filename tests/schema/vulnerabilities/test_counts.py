"""Stored counts agree with the rows, whatever happens to them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update
from sqlmodel import col

from schema.dependencies.records import PackageType
from schema.images.models import Image
from schema.kernel.database import Database
from schema.kernel.ids import IdPrefix, new_id
from schema.organizations.models import Plan
from schema.organizations.repository import create_organization
from schema.vulnerabilities import counts
from schema.vulnerabilities.models import TriageStatus, Vulnerability, VulnerabilityCount
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.severity import severity_rank

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# (what happens, image number, severity, status, fixable)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "change", "remove", "drop image"]),
        st.integers(0, 2),
        st.sampled_from(Severity),
        st.sampled_from(TriageStatus),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
async def test_counts_follow_every_change(
    database: Database, changes: list[tuple[str, int, Severity, TriageStatus, bool]]
) -> None:
    async with database.write() as session:
        organization_id = await create_organization(session, name="Acme", plan=Plan.ENTERPRISE, now=NOW)
        images = [new_id(IdPrefix.IMAGE) for _ in range(3)]
        rows = [{"id": image, "organization_id": organization_id, "name": image, "created_at": NOW} for image in images]
        await session.execute(insert(Image), rows)
    gone: set[str] = set()
    for what, number, severity, status, fixable in changes:
        image_id = images[number]
        if image_id in gone:
            continue
        values = {"severity": severity, "severity_key": severity_rank(severity), "status": status, "fixable": fixable}
        of_image = (col(Vulnerability.organization_id) == organization_id, col(Vulnerability.image_id) == image_id)
        async with database.write() as session:
            match what:
                case "add":
                    await session.execute(insert(Vulnerability), [_row(organization_id, image_id) | values])
                case "change":
                    await session.execute(update(Vulnerability).where(*of_image).values(**values))
                case "remove":
                    await session.execute(delete(Vulnerability).where(*of_image))
                case _:
                    await session.execute(delete(Image).where(col(Image.id) == image_id))
                    gone.add(image_id)
            await counts.refresh(session, organization_id, [image_id])
    assert await _stored(database, organization_id) == await _counted(database, organization_id)


def _row(organization_id: str, image_id: str) -> dict[str, object]:
    vulnerability_id = new_id(IdPrefix.VULNERABILITY)
    return {
        "id": vulnerability_id,
        "organization_id": organization_id,
        "image_id": image_id,
        "cve_id": vulnerability_id,
        "aliases": [],
        "advisory_ids": [],
        "title": "",
        "cvss_vectors": [],
        "package_name": "openssl",
        "package_version": "3.0",
        "package_type": PackageType.DEB,
        "fixed_versions": [],
        "sources": ["native"],
        "detected_at": NOW,
        "last_seen_at": NOW,
    }


async def _stored(database: Database, organization_id: str) -> Counter[tuple[object, ...]]:
    """By image, with the sums under EVERY_IMAGE."""
    table = VulnerabilityCount
    columns = (col(table.image_id), col(table.severity), col(table.status), col(table.fixable), col(table.count))
    async with database.read() as session:
        rows = await session.execute(select(*columns).where(col(table.organization_id) == organization_id))
        return +Counter({tuple(row[:4]): row[4] for row in rows})


async def _counted(database: Database, organization_id: str) -> Counter[tuple[object, ...]]:
    table = Vulnerability
    columns = (col(table.image_id), col(table.severity), col(table.status), col(table.fixable))
    counted: Counter[tuple[object, ...]] = Counter()
    async with database.read() as session:
        for row in await session.execute(select(*columns).where(col(table.organization_id) == organization_id)):
            counted[tuple(row)] += 1
            counted[counts.EVERY_IMAGE, *row[1:]] += 1
    return counted
