"""Making, renewing, revoking and deleting attestations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, cast

import strawberry

from schema.attestations import lifecycle, repository
from schema.attestations.inputs import AttestationInput, RenewAttestationInput, RevokeAttestationInput
from schema.attestations.lifecycle import Statement
from schema.attestations.types import Attestation, VexImport, VexResult
from schema.attestations.vex.importing import Outcome, import_vex
from schema.kernel.errors import Issue, invalid
from schema.kernel.operations import Info, mutation_field
from schema.kernel.ports import RateBudget
from schema.kernel.scalars import VexDocument

ATTEST_BUDGET = RateBudget(family="attestations.create", requests=20, seconds=60)
IMPORT_BUDGET = RateBudget(family="attestations.import", requests=10, seconds=60)
_ID = strawberry.argument(description="`att-…`.")


@strawberry.type
class AttestationsMutation:
    @mutation_field(
        "exceptions:create",
        budget=ATTEST_BUDGET,
        description=(
            "States that a flaw in a package need not be fixed. From then on what it covers counts no more: in reports, "
            "deadlines, grades and risk scores. The flaw must be known in that package. NOT_FOUND for a tag that is not there."
        ),
    )
    async def create_attestation(
        self, info: Info, input: Annotated[AttestationInput, strawberry.argument(description="What is attested.")]
    ) -> Attestation:
        context = info.context
        statement = Statement(
            cve_id=input.cve_id,
            package=input.package,
            category=input.category,
            reason=input.reason,
            evidence=input.evidence,
            scope_type=input.scope.type,
            tag_id=input.scope.tag_id,
            as_of=input.scope.as_of_date,
            expires_at=input.expires_at,
        )
        async with context.write() as session:
            attestation_id = await lifecycle.attest(context, statement)
            row = await repository.get_attestation(session, context.organization_id, attestation_id)
        return cast("Attestation", row)

    @mutation_field(
        "exceptions:edit",
        description="Lets one hold until another time; an expired one holds again. CONFLICT for a revoked one. NOT_FOUND.",
    )
    async def renew_attestation(
        self,
        info: Info,
        id: Annotated[strawberry.ID, _ID],
        input: Annotated[RenewAttestationInput, strawberry.argument(description="Until when.")],
    ) -> Attestation:
        context = info.context
        if input.expires_at is strawberry.UNSET:
            raise invalid(Issue("expiresAt", "Required"))
        async with context.write() as session:
            await lifecycle.renew(context, id, expires_at=input.expires_at, reason=input.reason)
            return cast("Attestation", await repository.get_attestation(session, context.organization_id, id))

    @mutation_field(
        "exceptions:revoke",
        description="Ends an attestation; what it covered is open again. CONFLICT when it has ended. NOT_FOUND.",
    )
    async def revoke_attestation(
        self,
        info: Info,
        id: Annotated[strawberry.ID, _ID],
        input: Annotated[RevokeAttestationInput, strawberry.argument(description="Why.")],
    ) -> Attestation:
        context = info.context
        async with context.write() as session:
            await lifecycle.revoke(context, id, reason=input.reason)
            return cast("Attestation", await repository.get_attestation(session, context.organization_id, id))

    @mutation_field(
        "exceptions:delete",
        description="Deletes an attestation; an active one is revoked by it. NOT_FOUND. Returns its id.",
    )
    async def delete_attestation(self, info: Info, id: Annotated[strawberry.ID, _ID]) -> strawberry.ID:
        await lifecycle.remove(info.context, id)
        return id

    @mutation_field(
        "exceptions:create",
        budget=IMPORT_BUDGET,
        description=(
            "Makes attestations of the statements of a VEX document that say why a product is not affected, of flaws and "
            "packages that are there. Statement by statement: one that is refused does not stop the others, and the same "
            "document again changes nothing. BAD_REQUEST for what is no VEX document."
        ),
    )
    async def import_vex(
        self, info: Info, document: Annotated[VexDocument, strawberry.argument(description="The document.")]
    ) -> VexImport:
        imported = await import_vex(info.context, cast("Mapping[str, Any]", document))
        counts = Counter(result.outcome for result in imported.results)
        return VexImport(
            format=imported.format,
            document=imported.document,
            results=cast("list[VexResult]", imported.results),
            **{outcome.value: counts[outcome] for outcome in Outcome},
        )
