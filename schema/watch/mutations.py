"""Setting the CVE watch, having it look, and suppressing alerts."""

from __future__ import annotations

from typing import Annotated, Any, cast

import strawberry

from schema.audit.repository import record
from schema.kernel.errors import Issue, conflict, invalid
from schema.kernel.operations import Info, mutation_field
from schema.kernel.ports import RateBudget
from schema.vulnerabilities.enums import Severity
from schema.watch import models, repository
from schema.watch.inputs import CveWatchInput, SuppressAlertInput
from schema.watch.models import AlertStatus
from schema.watch.showing import show_watch
from schema.watch.types import CveAlert, CveWatch, CveWatchRun

TRIGGER_BUDGET = RateBudget(family="cve-watch.trigger", requests=1, seconds=300, shared=True)


@strawberry.type
class WatchMutation:
    @mutation_field("vulnerabilities:admin", description="Changes what is given of the settings of the CVE watch.")
    async def update_cve_watch(
        self, info: Info, input: Annotated[CveWatchInput, strawberry.argument(description="What to change.")]
    ) -> CveWatch:
        context = info.context
        values = _values(input)
        async with context.write() as session:
            before = await repository.hold_watch(session, context.organization_id)
            changed = {name: value for name, value in values.items() if getattr(before, name) != value}
            who = {"updated_by": context.principal.actor_id, "updated_at": context.now()}
            await repository.change_watch(session, context.organization_id, **changed, **who)
            await record(
                session,
                organization_id=context.organization_id,
                actor=context.principal.actor_id,
                action="settings.cve_watch.updated",
                target=f"organization:{context.organization_id}",
                ip=context.client_ip,
                details=changed,
                now=context.now(),
            )
            session.expire_all()
            return await show_watch(session, context.organization_id)

    @mutation_field(
        "vulnerabilities:admin",
        budget=TRIGGER_BUDGET,
        description=(
            "Judges stored packages by the advisories as they are now, and tells of what is new; returns the look that "
            "waits or runs already. Once in five minutes for the whole organization. CONFLICT when the watch is switched off."
        ),
    )
    async def trigger_cve_watch(self, info: Info) -> CveWatchRun:
        context = info.context
        async with context.write() as session:
            watch = await repository.hold_watch(session, context.organization_id)
            if not watch.enabled:
                raise conflict("The CVE watch is switched off")
            job_id = await repository.pending_look(session, context.organization_id)
            if job_id is None:
                job_id = await repository.ask_for_look(session, context.organization_id, now=context.now())
        return CveWatchRun(job_id=strawberry.ID(job_id))

    @mutation_field(
        "vulnerabilities:triage", description="Lets nobody hear of an alert's changes, or lets them again. NOT_FOUND."
    )
    async def suppress_cve_alert(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="`alr-…`.")],
        input: Annotated[SuppressAlertInput, strawberry.argument(description="Whether.")],
    ) -> CveAlert:
        context = info.context
        status = AlertStatus.SUPPRESSED if input.suppressed else AlertStatus.DIGESTED
        async with context.write() as session:
            await repository.get_alert(session, context.organization_id, id)
            await repository.hold_watch(session, context.organization_id)
            await repository.change_alert(session, context.organization_id, id, {"status": status})
            return cast("CveAlert", await repository.get_alert(session, context.organization_id, id))


def _values(given: CveWatchInput) -> dict[str, Any]:
    defaults = models.CveWatch(organization_id="")
    if given.min_severity_filter is Severity.UNKNOWN:
        raise invalid(Issue("minSeverityFilter", "must be one of CRITICAL, HIGH, MEDIUM, LOW"))
    sources = given.sources
    values = {
        "enabled": given.enabled,
        "min_severity": given.min_severity_filter,
        "sources": sorted({source.value for source in sources}) if sources else sources,
    }
    return {
        name: getattr(defaults, name) if value is None else value
        for name, value in values.items()
        if value is not strawberry.UNSET
    }
