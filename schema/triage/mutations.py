"""Deciding about vulnerabilities."""

from __future__ import annotations

from typing import Annotated, cast

import strawberry

from schema.kernel.operations import Info, mutation_field
from schema.triage import operating, repository, ruling, saving
from schema.triage.inputs import BulkTriageInput, SavedFilterInput, TriageInput, TriageRuleInput
from schema.triage.operating import Operated
from schema.triage.types import BulkTriage, SavedFilter, TriageResult, TriageRule
from schema.vulnerabilities.repository import get_vulnerability
from schema.vulnerabilities.types import VulnerabilityDetail


def _bulk(operated: Operated) -> BulkTriage:
    outcomes = {outcome.id: outcome for outcome in operated.outcomes}
    results = []
    for vulnerability_id in operated.ids:
        outcome = outcomes.get(vulnerability_id)
        results.append(
            TriageResult(
                id=strawberry.ID(vulnerability_id),
                status=outcome.status if outcome else None,
                changed=outcome is not None and outcome.changed,
                error=outcome.refusal if outcome else "Vulnerability not found",
            )
        )
    return BulkTriage(
        operation_id=strawberry.ID(operated.operation_id) if operated.operation_id else None,
        matched=len(results),
        changed=sum(result.changed for result in results),
        refused=sum(result.error is not None for result in results),
        results=results,
    )


@strawberry.type
class TriageMutation:
    @mutation_field(
        "vulnerabilities:triage",
        description=(
            "Decides about one vulnerability. CONFLICT for a transition that is not allowed, naming those that are, and for a "
            "CVE id that more than one vulnerability has. NOT_FOUND."
        ),
    )
    async def triage_vulnerability(
        self,
        info: Info,
        id: Annotated[
            strawberry.ID, strawberry.argument(description="`vuln-…`, or the id of a flaw that is in one place only.")
        ],
        input: Annotated[TriageInput, strawberry.argument(description="The decision.")],
    ) -> VulnerabilityDetail:
        context = info.context
        async with context.write() as session:
            found = await operating.triage_one(context, id, input.decision())
            row = await get_vulnerability(session, context.organization_id, found)
        return cast("VulnerabilityDetail", row)

    @mutation_field(
        "vulnerabilities:triage",
        description=(
            "Decides about many vulnerabilities, each by itself; the answer says what became of each. With `atomic` all or "
            "none: CONFLICT if one of them cannot be done."
        ),
    )
    async def triage_vulnerabilities(
        self, info: Info, input: Annotated[BulkTriageInput, strawberry.argument(description="Which, and the decision.")]
    ) -> BulkTriage:
        return _bulk(await operating.triage_many(info.context, input))

    @mutation_field(
        "vulnerabilities:triage",
        description=(
            "Takes a decision back, about all that it changed and that nothing has changed since. CONFLICT when that was done "
            "already. NOT_FOUND."
        ),
    )
    async def undo_triage(
        self, info: Info, operation_id: Annotated[strawberry.ID, strawberry.argument(description="`trg-…`.")]
    ) -> BulkTriage:
        return _bulk(await operating.undo(info.context, operation_id))

    @mutation_field(
        "vulnerabilities:triage",
        description=(
            "Adds a rule that decides about all vulnerabilities alike, those there are and those to come. If the policy wants "
            "it, a second person has to approve it first. NOT_FOUND for an image that is not there."
        ),
    )
    async def create_triage_rule(
        self, info: Info, input: Annotated[TriageRuleInput, strawberry.argument(description="What it decides.")]
    ) -> TriageRule:
        context = info.context
        async with context.write() as session:
            rule_id = await ruling.add_rule(context, input)
            return cast("TriageRule", await repository.get_rule(session, context.organization_id, rule_id))

    @mutation_field(
        "vulnerabilities:triage",
        description="Lets a rule decide from now on. Not whoever made it. CONFLICT when it does not wait. NOT_FOUND.",
    )
    async def approve_triage_rule(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`rul-…`.")]
    ) -> TriageRule:
        context = info.context
        async with context.write() as session:
            await ruling.decide_rule(context, id, approve=True)
            return cast("TriageRule", await repository.get_rule(session, context.organization_id, id))

    @mutation_field(
        "vulnerabilities:triage",
        description="Refuses a rule that waits for a second person. CONFLICT when it does not. NOT_FOUND.",
    )
    async def reject_triage_rule(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`rul-…`.")]
    ) -> TriageRule:
        context = info.context
        async with context.write() as session:
            await ruling.decide_rule(context, id, approve=False)
            return cast("TriageRule", await repository.get_rule(session, context.organization_id, id))

    @mutation_field(
        "vulnerabilities:triage",
        description=(
            "Ends a rule. What it decided, and nobody after it, is open again; it stays in the list. CONFLICT when it has "
            "ended already. NOT_FOUND. Returns its id."
        ),
    )
    async def revoke_triage_rule(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`rul-…`.")]
    ) -> strawberry.ID:
        await ruling.revoke_rule(info.context, id)
        return id

    @mutation_field("vulnerabilities:view", description="Saves a filter of the list of vulnerabilities.")
    async def create_saved_filter(
        self, info: Info, input: Annotated[SavedFilterInput, strawberry.argument(description="The filter.")]
    ) -> SavedFilter:
        context = info.context
        async with context.write() as session:
            filter_id = await saving.save_filter(context, input)
            row = await repository.get_filter(
                session, context.organization_id, filter_id, owner=context.principal.actor_id
            )
        return cast("SavedFilter", row)

    @mutation_field(
        "vulnerabilities:view", description="Saves one's own filter anew, or as an admin a shared one. NOT_FOUND."
    )
    async def update_saved_filter(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`flt-…`.")],
        input: Annotated[SavedFilterInput, strawberry.argument(description="The filter.")],
    ) -> SavedFilter:
        context = info.context
        async with context.write() as session:
            await saving.save_filter(context, input, id)
            row = await repository.get_filter(session, context.organization_id, id, owner=context.principal.actor_id)
        return cast("SavedFilter", row)

    @mutation_field(
        "vulnerabilities:view",
        description="Deletes one's own filter, or as an admin a shared one. NOT_FOUND. Returns its id.",
    )
    async def delete_saved_filter(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="`flt-…`.")]
    ) -> strawberry.ID:
        await saving.delete_filter(info.context, id)
        return id
