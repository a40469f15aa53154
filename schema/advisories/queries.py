"""Reading the state of the advisory store."""

from __future__ import annotations

import strawberry

from schema.advisories import repository
from schema.advisories.types import AdvisoryEcosystem, AdvisoryImport, AdvisoryStatus
from schema.kernel.operations import Info, query_field


@strawberry.type
class AdvisoriesQuery:
    @query_field("vulnerabilities:view", description="What advisory data there is, and how old it is.")
    async def advisory_status(self, info: Info) -> AdvisoryStatus:
        async with info.context.read() as session:
            ecosystems = await repository.ecosystems(session)
            imports = await repository.imports(session)
        return AdvisoryStatus(
            ecosystems=[
                AdvisoryEcosystem(
                    ecosystem=row.ecosystem,
                    advisories=row.advisories,
                    database_date=row.database_date,
                    sample=row.sample,
                    updated_at=row.updated_at,
                )
                for row in ecosystems
            ],
            imports=[
                AdvisoryImport(
                    source=row.source,
                    records=row.records,
                    rejected=row.rejected,
                    database_date=row.database_date,
                    started_at=row.started_at,
                    finished_at=row.finished_at,
                )
                for row in imports
            ],
        )
