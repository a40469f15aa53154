"""Who is asking."""

from __future__ import annotations

import strawberry

from schema.kernel.operations import Info, query_field
from schema.organizations.policy.repository import load_policy
from schema.organizations.policy.types import CompliancePolicy
from schema.organizations.types import Me


@strawberry.type
class OrganizationsQuery:
    @query_field(None, description="The caller: person or machine, organization, role and permissions.")
    async def me(self, info: Info) -> Me:
        async with info.context.read() as session:
            return await Me.load(session, info.context.principal)

    @query_field("vulnerabilities:view", description="What the organization demands of itself.")
    async def compliance_policy(self, info: Info) -> CompliancePolicy:
        async with info.context.read() as session:
            return CompliancePolicy.of(await load_policy(session, info.context.organization_id))
