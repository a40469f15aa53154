"""Events as the schema shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import strawberry

from schema.events.models import EventType
from schema.kernel.rows import resolved_field

strawberry.enum(EventType, graphql_name_from="value", description="What has happened.")


@strawberry.type(description="One detail of an event.")
class EventDetail:
    name: str = strawberry.field(description="What it is, like `cveId`.")
    value: str = strawberry.field(description="Its value.")


@strawberry.type(description="Something that has happened, and that somebody may want to be told. Each is there once.")
class Event:
    id: strawberry.ID = strawberry.field(description="`eve-…`.")
    type: EventType = strawberry.field(description="What has happened.")
    subject: strawberry.ID = strawberry.field(description="Id of what it is about: a vulnerability, an attestation, …")
    created_at: datetime = strawberry.field(description="When.")

    @resolved_field(description="More about it.", reads=("details",))
    def details(self) -> list[EventDetail]:
        return [
            EventDetail(name=name, value=str(value))
            for name, value in cast("Any", self).details.items()
            if value is not None
        ]
