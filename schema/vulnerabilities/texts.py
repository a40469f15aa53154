"""The words a vulnerability is searched by, once for each flaw of each package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.ext.asyncio import AsyncSession

from schema.kernel.columns import metadata
from schema.kernel.tenancy import tenant
from schema.kernel.upsert import batches, insert_missing
from schema.vulnerabilities.models import FlawText


async def keep_texts(session: AsyncSession, organization_id: str, titles: Mapping[tuple[str, str], str]) -> None:
    """Titles by (flaw, package): new ones are added, of those that are there the title is brought up to date."""
    table = metadata.tables[str(FlawText.__tablename__)]
    change = (
        update(table)
        .where(
            tenant(FlawText, organization_id),
            table.c.cve_id == bindparam("cve"),
            table.c.package_name == bindparam("package"),
            table.c.title != bindparam("new_title"),
        )
        .values(title=bindparam("new_title"))
    )
    for batch in batches(sorted(titles.items())):
        rows: list[dict[str, Any]] = [
            {"organization_id": organization_id, "cve_id": cve, "package_name": package, "title": title}
            for (cve, package), title in batch
        ]
        added = await insert_missing(session, FlawText, rows, unique=("organization_id", "cve_id", "package_name"))
        if added < len(rows):
            known = [{"cve": cve, "package": package, "new_title": title} for (cve, package), title in batch]
            await (await session.connection()).execute(change, known)
