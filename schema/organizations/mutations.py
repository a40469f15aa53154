"""Opening a fresh server."""

from __future__ import annotations

from typing import Annotated

import strawberry

from schema.credentials.passwords import hash_password
from schema.credentials.signing_in import open_session
from schema.kernel.errors import ErrorCode, HarborGuardError, conflict
from schema.kernel.operations import Info, mutation_field
from schema.kernel.ports import RateBudget
from schema.kernel.principal import Role
from schema.organizations import repository
from schema.organizations.inputs import CompleteSetupInput
from schema.organizations.models import Plan
from schema.organizations.policy.inputs import CompliancePolicyInput
from schema.organizations.policy.repository import load_policy
from schema.organizations.policy.saving import change_policy
from schema.organizations.policy.types import CompliancePolicy
from schema.organizations.setup import Founding, found_organization
from schema.organizations.types import Me

SETUP_BUDGET = RateBudget(family="setup", requests=10, seconds=60)


@strawberry.type
class OrganizationsMutation:
    @mutation_field(
        None,
        public=True,
        budget=SETUP_BUDGET,
        description="Creates the first organization and its owner, and signs the owner in. CONFLICT once that is done.",
    )
    async def complete_setup(
        self, info: Info, input: Annotated[CompleteSetupInput, strawberry.argument(description="What to create.")]
    ) -> Me:
        context = info.context
        async with context.write() as session:
            if await repository.is_set_up(session):
                raise conflict("HarborGuard is already set up; sign in")
            token_hash = context.services.mint.hash(input.token)
            if not await repository.use_setup_token(session, token_hash, now=context.now()):
                raise HarborGuardError(
                    ErrorCode.UNAUTHORIZED, "This setup token is not valid; the latest start printed the one that is"
                )
            founding = Founding(
                organization=input.organization,
                plan=Plan.ENTERPRISE,
                email=input.email,
                name=input.name,
                password_hash=await hash_password(input.password),
            )
            organization_id, user_id = await found_organization(
                session, founding, ip=context.client_ip, now=context.now()
            )
            principal = await open_session(
                context, session, user_id=user_id, organization_id=organization_id, role=Role.OWNER
            )
            return await Me.load(session, principal)

    @mutation_field(
        "vulnerabilities:admin",
        description="Changes what is given of the compliance policy, and with `backfillOnSave` the deadlines of what is open.",
    )
    async def update_compliance_policy(
        self, info: Info, input: Annotated[CompliancePolicyInput, strawberry.argument(description="What to change.")]
    ) -> CompliancePolicy:
        context = info.context
        async with context.write() as session:
            backfilled = await change_policy(context, input)
            policy = await load_policy(session, context.organization_id)
            return CompliancePolicy.of(policy, backfilled=backfilled)
