"""Organizations and people as the schema shows them."""

from __future__ import annotations

from datetime import datetime

import strawberry
from sqlalchemy.ext.asyncio import AsyncSession

from schema.credentials.repository import get_presented
from schema.kernel.principal import Principal, permissions_of
from schema.organizations import repository
from schema.organizations.enums import ActorKind, Plan, Role


@strawberry.type(description="A tenant: everything a member sees belongs to it.")
class Organization:
    id: strawberry.ID = strawberry.field(description="`org-…`.")
    name: str = strawberry.field(description="Name.")
    plan: Plan = strawberry.field(description="Plan.")


@strawberry.type(description="A person.")
class User:
    id: strawberry.ID = strawberry.field(description="`usr-…`.")
    email: str = strawberry.field(description="E-mail address, in lower case.")
    name: str = strawberry.field(description="Name.")


@strawberry.type(description="The credential this request came with.")
class PresentedCredential:
    id: strawberry.ID = strawberry.field(description="`ses-…`, `key-…` or `pat-…`.")
    name: str | None = strawberry.field(description="Its name; null for a session.")
    prefix: str | None = strawberry.field(description="Its first 10 characters; null for a session.")
    expires_at: datetime | None = strawberry.field(description="When it ends; null: when it is revoked.")


@strawberry.type(description="The caller, and what it may do.")
class Me:
    user: User | None = strawberry.field(description="The person; null for an API key.")
    organization: Organization = strawberry.field(description="The organization the credential belongs to.")
    role: Role = strawberry.field(description="Role in the organization.")
    permissions: list[str] = strawberry.field(
        description="Every permission at hand, `<domain>:<action>`, sorted; a token may hold fewer than its role."
    )
    actor_kind: ActorKind = strawberry.field(description="Kind of the credential.")
    credential: PresentedCredential = strawberry.field(description="The credential.")

    @classmethod
    async def load(cls, session: AsyncSession, principal: Principal) -> Me:
        row = await repository.get_identity(session, principal.organization_id, principal.user_id)
        presented = await get_presented(session, principal)
        user = None
        if row.user_id is not None:
            user = User(id=strawberry.ID(row.user_id), email=row.email, name=row.user_name)
        return cls(
            user=user,
            organization=Organization(id=strawberry.ID(row.id), name=row.name, plan=row.plan),
            role=principal.role,
            permissions=[name for name in permissions_of(principal.role) if principal.can(name)],
            actor_kind=principal.actor_kind,
            credential=PresentedCredential(
                id=strawberry.ID(principal.credential_id),
                name=presented.name,
                prefix=presented.prefix,
                expires_at=presented.expires_at,
            ),
        )
