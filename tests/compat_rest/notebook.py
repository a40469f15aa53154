"""A noun that only exists in tests: notes, with every kind of field a REST row can be bound to.

Nothing is stored. What a note does is written in its id: `note-<something>` is there, `broken-…` fails, any other id is
missing.
"""

# ruff: noqa: A002, FBT001 -- arguments carry the names the schema shows

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, cast

import httpx
import strawberry
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send
from strawberry.schema.config import StrawberryConfig

from compat_rest.adapter import CONTEXT, bind_routes
from compat_rest.routes import Envelope, Route
from schema.kernel.background import Background
from schema.kernel.clock import utc_now
from schema.kernel.context import Limits, RequestContext, Services
from schema.kernel.errors import ErrorCode, HarborGuardError, conflict, not_found
from schema.kernel.operations import Info, mutation_field, query_field, received_field, subscription_field
from schema.kernel.pagination import PageMeta, page_request
from schema.kernel.ports import BlobStore, KeyProvider, RateBudget, RateState, RegistryProbe, Signals, StoredBlob
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.scalars import SCALARS, Archive, ByteStream
from schema.kernel.secrets import SessionSigner, TokenMint
from schema.kernel.validation import Constraint, constrained

MAX_UPLOAD_BYTES = 1_000_000


@strawberry.enum
class Colour(Enum):
    RED = "RED"
    GREEN = "GREEN"


@strawberry.type
class Note:
    id: strawberry.ID
    title: str
    colour: Colour
    written_at: datetime | None = None

    @strawberry.field
    def pages(self, info: Info, page: int | None = None, limit: int | None = None) -> NotePage:
        return page_of(page, limit)

    @strawberry.field
    def tags(self) -> list[str]:
        return ["a", "b"]

    @strawberry.field
    def attachment(self, colour: Colour) -> Attachment:
        return Attachment(media_type="application/json", content='{"colour": "' + colour.value + '"}')


@strawberry.type
class Attachment:
    media_type: str
    content: str


@strawberry.type
class NotePage:
    items: list[Note]
    meta: PageMeta


def page_of(page: int | None, limit: int | None, *, total: int = 312) -> NotePage:
    asked = page_request(page=page, limit=limit, sort=None)
    first = (asked.page - 1) * asked.limit
    pages = -(-total // asked.limit)
    return NotePage(
        items=[note(f"note-{number}") for number in range(first, min(first + asked.limit, total))],
        meta=PageMeta(
            total_is_exact=True,
            page=asked.page,
            page_size=asked.limit,
            total=total,
            total_pages=pages,
            has_next=asked.page < pages,
            has_prev=asked.page > 1,
            end_cursor=None,
        ),
    )


def note(note_id: str) -> Note:
    kind = note_id.partition("-")[0]
    if kind == "broken":
        code = note_id.partition("-")[2]
        if code == "CRASH":
            msg = "secret detail of /srv/app/db.py"
            raise RuntimeError(msg)
        raise HarborGuardError(ErrorCode(code), f"It is {code}")
    if kind != "note":
        raise not_found("Note")
    return Note(id=strawberry.ID(note_id), title="A note", colour=Colour.RED)


@strawberry.input
class Place:
    street: str
    number: int | None = None


@strawberry.input
class NoteInput:
    title: str = constrained(Constraint(min_length=1, max_length=20), description="")
    colours: list[Colour] = constrained(Constraint(min_length=1), description="")
    rating: int | None = constrained(Constraint(minimum=1, maximum=5), description="", default=None)
    weight: float | None = None
    pinned: bool | None = None
    due: datetime | None = None
    place: Place | None = None


BUDGET = RateBudget(family="notes.create", requests=3, seconds=60)


@strawberry.type
class Query:
    @query_field("scans:view", description="")
    async def notes(
        self,
        info: Info,
        page: int | None = None,
        limit: int | None = None,
        colour: list[Colour] | None = None,
        pinned: bool | None = None,
        rating: int | None = None,
        text: str | None = None,
    ) -> NotePage:
        return page_of(page, limit)

    @query_field("scans:view", description="")
    async def note(self, info: Info, id: strawberry.ID) -> Note:
        if id == "slow":
            await asyncio.sleep(60)
        return note(id)


@strawberry.type
class Mutation:
    @mutation_field("scans:create", description="", budget=BUDGET)
    async def write_note(self, info: Info, input: NoteInput) -> Note:
        if input.title == "taken":
            raise conflict("There is such a note already")
        if input.title == "quota":
            raise HarborGuardError(ErrorCode.PLAN_LIMIT, "Note limit reached for current plan")
        NUMBERS.append(input.title)
        return note(f"note-{len(NUMBERS)}")

    @mutation_field("scans:delete", description="")
    async def drop_note(self, info: Info, id: strawberry.ID) -> strawberry.ID:
        return note(id).id

    @received_field("scans:create", description="")
    async def send_note(self, info: Info, name: str, archive: Archive) -> Note:
        stream = cast("ByteStream", archive)
        stored = await info.context.services.blobs.receive(
            info.context.organization_id, stream.chunks, max_bytes=info.context.services.limits.max_upload_bytes
        )
        return Note(id=strawberry.ID(f"note-{name}"), title=str(stored.size_bytes), colour=Colour.GREEN)

    @mutation_field(None, description="", public=True)
    async def knock(self, info: Info, input: Place, other: Place | None = None) -> bool:
        return other is None and input.street == "Elm"


@strawberry.type
class Subscription:
    @subscription_field("scans:view", description="")
    async def note_changes(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="")]
    ) -> AsyncGenerator[Note, None]:
        opened = note(id)
        STREAMS.append("opened")
        try:
            yield opened
            if id == "note-endless":
                while True:
                    await asyncio.sleep(0.01)
                    await info.context.recheck()
            yield Note(id=opened.id, title="Changed", colour=Colour.GREEN)
            if id == "note-revoked":
                raise HarborGuardError(ErrorCode.UNAUTHORIZED, "Authentication is required")
        finally:
            STREAMS.append("closed")


NUMBERS: list[str] = []
STREAMS: list[str] = []

SCHEMA = strawberry.Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    config=StrawberryConfig(scalar_map=SCALARS),
)

DOCUMENTS = {
    "listNotes": """
        query listNotes($page: Int, $limit: Int, $colour: [Colour!], $pinned: Boolean, $rating: Int, $text: String) {
          notes(page: $page, limit: $limit, colour: $colour, pinned: $pinned, rating: $rating, text: $text) {
            items { id title } meta { page pageSize total totalIsExact totalPages hasNext hasPrev }
          }
        }""",
    "getNote": "query getNote($noteId: ID!) { note(id: $noteId) { id title colour writtenAt } }",
    "listNotePages": """
        query listNotePages($noteId: ID!, $page: Int, $limit: Int) {
          note(id: $noteId) {
            pages(page: $page, limit: $limit) {
              items { id } meta { page pageSize total totalIsExact totalPages hasNext hasPrev }
            }
          }
        }""",
    "listNoteTags": "query listNoteTags($noteId: ID!) { note(id: $noteId) { tags } }",
    "downloadNote": """
        query downloadNote($noteId: ID!, $colour: Colour!) {
          note(id: $noteId) { attachment(colour: $colour) { mediaType content } }
        }""",
    "writeNote": "mutation writeNote($input: NoteInput!) { writeNote(input: $input) { id title } }",
    "dropNote": "mutation dropNote($noteId: ID!) { dropNote(id: $noteId) }",
    "sendNote": """
        mutation sendNote($name: String!, $archive: Archive!) { sendNote(name: $name, archive: $archive) { id title } }
    """,
    "knock": "mutation knock($input: Place!) { knock(input: $input) }",
    "followNote": "subscription followNote($noteId: ID!) { noteChanges(id: $noteId) { id title } }",
}


def row(method: str, path: str, operation: str, **options: Any) -> Route:
    return Route(method=method, path=path, operation=operation, tag="notes", **options)


ROWS = (
    row("GET", "/api/notes", "listNotes", envelope=Envelope.PAGE),
    row(
        "POST",
        "/api/notes",
        "writeNote",
        status=202,
        location="/api/notes/{id}",
        additions=(("message", "Written"), ("url", "/notes/{id}")),
        creates=True,
    ),
    row("POST", "/api/notes/send", "sendNote", status=201, creates=True),
    row("GET", "/api/notes/{noteId}", "getNote"),
    row("DELETE", "/api/notes/{noteId}", "dropNote", envelope=Envelope.EMPTY),
    row("GET", "/api/notes/{noteId}/pages", "listNotePages", envelope=Envelope.PAGE, data=("pages",)),
    row("GET", "/api/notes/{noteId}/tags", "listNoteTags", envelope=Envelope.LIST, data=("tags",)),
    row(
        "GET",
        "/api/notes/{noteId}/attachments/{colour}",
        "downloadNote",
        envelope=Envelope.FILE,
        data=("attachment",),
        filename="{noteId}-{colour}",
    ),
    row("GET", "/api/notes/{noteId}/events", "followNote", envelope=Envelope.EVENTS),
    row("POST", "/api/knock", "knock", envelope=Envelope.EMPTY),
)


APPLICATION = Starlette(routes=[bind_routes(SCHEMA._schema, ROWS, documents=DOCUMENTS)])


class NoDatabase:
    """A transaction without anything in it."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        yield None

    @asynccontextmanager
    async def write(self, *, awaited: bool) -> AsyncIterator[None]:
        assert awaited, "a request is waited for"
        yield None


class NoRelay:
    def drain_soon(self, _background: Background) -> None: ...


@dataclass
class CountedBudgets:
    used: dict[tuple[str, str], int] = field(default_factory=dict)

    async def hit(self, budget: RateBudget, bucket: str) -> RateState:
        used = self.used.get((budget.family, bucket), 0) + 1
        self.used[budget.family, bucket] = used
        return RateState(
            allowed=used <= budget.requests, limit=budget.requests, remaining=max(0, budget.requests - used), reset_at=1
        )


@dataclass
class MemoryBlobs:
    kept: dict[str, bytes] = field(default_factory=dict)

    async def receive(self, organization_id: str, chunks: AsyncIterator[bytes], *, max_bytes: int) -> StoredBlob:
        received = b""
        async for chunk in chunks:
            received += chunk
            if len(received) > max_bytes:
                raise HarborGuardError(ErrorCode.PAYLOAD_TOO_LARGE, "Too large")
        self.kept[organization_id] = received
        return StoredBlob(key=organization_id, size_bytes=len(received), sha256="")


def principal(role: Role = Role.DEVELOPER) -> Principal:
    return Principal(
        organization_id="org-1",
        role=role,
        actor_kind=ActorKind.API_KEY,
        actor_id="key-1",
        user_id=None,
        credential_id="key-1",
    )


class Notebook:
    """The rows above as an application; `caller` is who asks."""

    def __init__(self, *, services: Services | None = None) -> None:
        NUMBERS.clear()
        STREAMS.clear()
        self.caller: Principal | None = principal()
        self.blobs = MemoryBlobs()
        self.budgets = CountedBudgets()
        self.contexts: list[RequestContext] = []
        self.services = services or Services(
            database=cast("Any", NoDatabase()),
            relay=cast("Any", NoRelay()),
            signals=cast("Signals", object()),
            blobs=cast("BlobStore", self.blobs),
            keys=cast("KeyProvider", object()),
            mint=TokenMint(b"p" * 32),
            signer=SessionSigner(b"s" * 32),
            rates=self.budgets,
            registry_probe=cast("RegistryProbe", object()),
            clock=utc_now,
            limits=Limits(max_upload_bytes=MAX_UPLOAD_BYTES, session_idle_seconds=60, session_absolute_seconds=60),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def ask_again() -> Principal | None:
            return self.caller

        scope[CONTEXT] = RequestContext(
            services=self.services,
            principal_or_none=self.caller,
            request_id="req-1",
            client_ip="192.0.2.7",
            resolve_again=ask_again,
        )
        self.contexts.append(scope[CONTEXT])
        await APPLICATION(scope, receive, send)

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self), base_url="http://test")


def good_note(**changes: Any) -> Mapping[str, Any]:
    return {"title": "Milk", "colours": ["RED"], **changes}
