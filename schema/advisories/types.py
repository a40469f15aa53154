"""The advisory store as the schema shows it."""

from __future__ import annotations

from datetime import datetime

import strawberry


@strawberry.type(description="What the advisory store holds for one ecosystem.")
class AdvisoryEcosystem:
    ecosystem: str = strawberry.field(description="As OSV names it: `Debian:12`, `PyPI`, `npm`.")
    advisories: int = strawberry.field(description="Advisories that are not withdrawn.")
    database_date: datetime = strawberry.field(description="The newest change among them.")
    sample: bool = strawberry.field(
        description="Only the demonstration's small sample: import full data for real work."
    )
    updated_at: datetime = strawberry.field(description="When the store was last filled.")


@strawberry.type(description="One import of advisories.")
class AdvisoryImport:
    source: str = strawberry.field(description="File or address it came from.")
    records: int = strawberry.field(description="Records stored.")
    rejected: int = strawberry.field(description="Records that could not be read.")
    database_date: datetime | None = strawberry.field(description="The newest change it carried.")
    started_at: datetime = strawberry.field(description="When it began.")
    finished_at: datetime | None = strawberry.field(description="When it ended; null: it was cut off or still runs.")


@strawberry.type(description="What the advisory store holds. An ecosystem that is missing here cannot be judged.")
class AdvisoryStatus:
    ecosystems: list[AdvisoryEcosystem] = strawberry.field(description="By name.")
    imports: list[AdvisoryImport] = strawberry.field(description="The latest imports, newest first.")
