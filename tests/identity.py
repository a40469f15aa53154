"""A small server for tests of identity: real database, real secrets, a clock and a limiter that are held in hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import strawberry
from argon2 import PasswordHasher
from sqlalchemy import event, select, update
from sqlmodel import col
from strawberry.schema.config import StrawberryConfig

from app.keys import FileKeyProvider
from schema.audit.models import AuditEvent
from schema.credentials.mutations import CredentialsMutation
from schema.credentials.queries import CredentialsQuery
from schema.kernel import secrets
from schema.kernel.columns import metadata
from schema.kernel.context import Limits, RequestContext, Services
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from schema.kernel.outbox import OutboxRelay
from schema.kernel.ports import BlobStore, JobQueue, RateBudget, RateState, RegistryProbe, Signals
from schema.kernel.principal import ActorKind, Principal, Role
from schema.kernel.scalars import SCALARS
from schema.kernel.secrets import SessionSigner, TokenMint, hash_password
from schema.organizations.models import Membership, MembershipStatus, Plan
from schema.organizations.mutations import OrganizationsMutation
from schema.organizations.queries import OrganizationsQuery
from schema.organizations.repository import add_member, create_organization, create_user

START = datetime(2026, 4, 26, 14, 22, 11, tzinfo=UTC)
PASSWORD = "correct horse battery"
MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
PEPPER, SESSION_KEY = b"p" * 32, b"s" * 32
IDLE_SECONDS, ABSOLUTE_SECONDS = 3_600, 86_400
# What a password costs is argon2's business; tests only need it to be argon2.
CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class HeldClock:
    """Time that moves when told to."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class WindowCounter:
    """A sliding window over the held clock, in memory."""

    clock: HeldClock
    hits: dict[tuple[str, str], list[datetime]] = field(default_factory=dict)

    async def hit(self, budget: RateBudget, bucket: str) -> RateState:
        now = self.clock()
        since = now - timedelta(seconds=budget.seconds)
        recent = [moment for moment in self.hits.get((budget.family, bucket), []) if moment > since]
        allowed = len(recent) < budget.requests
        if allowed:
            recent.append(now)
        self.hits[budget.family, bucket] = recent
        return RateState(
            allowed=allowed,
            limit=budget.requests,
            remaining=budget.requests - len(recent),
            reset_at=int((recent[0] + timedelta(seconds=budget.seconds)).timestamp()),
        )


@strawberry.type
class _Query(OrganizationsQuery, CredentialsQuery):
    pass


@strawberry.type
class _Mutation(OrganizationsMutation, CredentialsMutation):
    pass


SCHEMA = strawberry.Schema(query=_Query, mutation=_Mutation, config=StrawberryConfig(scalar_map=SCALARS))


@dataclass(frozen=True, kw_only=True)
class Member:
    organization_id: str
    user_id: str
    email: str
    principal: Principal  # as if signed in; no session row stands behind it


@dataclass(frozen=True)
class Answer:
    """What an operation gave: the data under its only root field, and the context it ran in."""

    data: Any
    context: RequestContext

    @property
    def cookie(self) -> str:
        return self.context.response_cookies[-1][0]


class Identity:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = HeldClock()
        self.limiter = WindowCounter(self.clock)
        self.services = Services(
            database=database,
            relay=OutboxRelay(database, cast("JobQueue", object())),
            signals=cast("Signals", object()),
            blobs=cast("BlobStore", object()),
            keys=FileKeyProvider(Path("unused"), MASTER_KEY),
            mint=TokenMint(PEPPER),
            signer=SessionSigner(SESSION_KEY),
            rates=self.limiter,
            registry_probe=cast("RegistryProbe", object()),
            clock=self.clock,
            limits=Limits(
                max_upload_bytes=1, session_idle_seconds=IDLE_SECONDS, session_absolute_seconds=ABSOLUTE_SECONDS
            ),
        )

    def context(self, caller: Principal | None, *, ip: str = "192.0.2.7") -> RequestContext:
        return RequestContext(
            services=self.services,
            principal_or_none=caller,
            request_id="req-1",
            client_ip=ip,
            user_agent="Firefox",
        )

    async def run(
        self, document: str, *, caller: Principal | None = None, ip: str = "192.0.2.7", **variables: Any
    ) -> Answer:
        """Raises the HarborGuardError of the first error, or AssertionError for an unexpected one."""
        context = self.context(caller, ip=ip)
        result = await SCHEMA.execute(document, variable_values=variables, context_value=context)
        if result.errors:
            original = result.errors[0].original_error
            assert isinstance(original, HarborGuardError), result.errors
            raise original
        assert result.data is not None
        return Answer(next(iter(result.data.values())), context)

    async def member(
        self,
        *,
        role: Role = Role.OWNER,
        email: str = "ada@acme.example",
        organization_id: str | None = None,
        status: MembershipStatus = MembershipStatus.ACTIVE,
    ) -> Member:
        """Somebody with PASSWORD in a new organization, or in the one named."""
        async with self.database.write() as session:
            if organization_id is None:
                organization_id = await create_organization(
                    session, name="Acme", plan=Plan.ENTERPRISE, now=self.clock()
                )
            user_id = await create_user(
                session, email=email, name="Ada", password_hash=hash_password(PASSWORD), now=self.clock()
            )
            await add_member(session, organization_id, user_id, role=role, status=status, now=self.clock())
        principal = Principal(
            organization_id=organization_id,
            role=role,
            actor_kind=ActorKind.USER,
            actor_id=user_id,
            user_id=user_id,
            credential_id="ses-none",
        )
        return Member(organization_id=organization_id, user_id=user_id, email=email, principal=principal)

    async def change_membership(self, user_id: str, **values: Any) -> None:
        async with self.database.write() as session:
            await session.execute(update(Membership).where(col(Membership.user_id) == user_id).values(**values))

    async def audit(self, action: str) -> list[AuditEvent]:
        async with self.database.read() as session:
            statement = select(AuditEvent).where(col(AuditEvent.action) == action).order_by(col(AuditEvent.id))
            return list((await session.execute(statement)).scalars())

    async def dump(self) -> str:
        """Every value of every table, as a thief of the database would read it."""
        lines = []
        async with self.database.read() as session:
            for table in metadata.sorted_tables:
                rows = (await session.execute(select(table))).all()
                lines += [f"{table.name} {tuple(row)!r}" for row in rows]
        return "\n".join(lines)

    @contextmanager
    def counted_statements(self) -> Iterator[list[str]]:
        """The SQL that runs inside the block."""
        statements: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            statements.append(statement)

        for engine in self.database.engines:
            event.listen(engine.sync_engine, "before_cursor_execute", note)
        try:
            yield statements
        finally:
            for engine in self.database.engines:
                event.remove(engine.sync_engine, "before_cursor_execute", note)


def limited(principal: Principal, *permissions: str) -> Principal:
    """The same caller with a token limited to these permissions."""
    return replace(principal, actor_kind=ActorKind.TOKEN, permissions=frozenset(permissions))


LOGIN = "mutation($email: String!, $password: String!, $organization: ID) { login(input: {email: $email, password: $password, organizationId: $organization}) { user { id email name } organization { id } role permissions actorKind credential { id name prefix expiresAt } } }"  # noqa: E501 -- one document, one line
CREATE_KEY = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) { id name role prefix secret registryId createdBy createdAt expiresAt lastUsed } }"  # noqa: E501
CREATE_TOKEN = "mutation($input: CreatePersonalAccessTokenInput!) { createPersonalAccessToken(input: $input) { id name prefix secret permissions createdAt expiresAt lastUsed } }"  # noqa: E501
ME = "{ me { user { id email name } organization { id name plan } role permissions actorKind credential { id name prefix expiresAt } } }"  # noqa: E501


@pytest.fixture
async def identity(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Identity]:
    monkeypatch.setattr(secrets, "_passwords", CHEAP_HASHER)
    monkeypatch.setattr(secrets, "_NOBODY", CHEAP_HASHER.hash("nobody's"))
    identity = Identity(database)
    yield identity
    await identity.services.background.settle()
