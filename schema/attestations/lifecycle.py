"""The life of an attestation: made, renewed, revoked, deleted, expired. What it covered is open again when it ends, with the
deadline it had from the day it was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from schema.attestations import repository
from schema.attestations.models import Attestation, AttestationCategory, AttestationStatus, ScopeType
from schema.audit.repository import record
from schema.events.models import EventType
from schema.events.repository import emit
from schema.kernel.clock import iso_utc
from schema.kernel.context import RequestContext
from schema.kernel.errors import Issue, conflict, invalid, not_found
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.tenancy import tenant_rows
from schema.kernel.upsert import batches
from schema.kernel.validation import check_future
from schema.triage.models import TriageOrigin
from schema.triage.recording import Change, record_changes
from schema.vulnerabilities.models import TriageStatus, Vulnerability
from schema.vulnerabilities.verdicts import settle

BY_TIME = "system:expiry"
NOTICE = timedelta(days=3)  # so long before it ends it is announced that it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What is attested. `original` is the VEX statement it comes from."""

    cve_id: str
    package: str
    category: AttestationCategory
    reason: str
    evidence: str | None = None
    scope_type: ScopeType = ScopeType.BLANKET
    tag_id: str | None = None
    as_of: datetime | None = None
    expires_at: datetime | None = None
    original: dict[str, Any] | None = None

    def issues(self, now: datetime) -> list[Issue]:
        issues = []
        if (self.tag_id is not None) != (self.scope_type is ScopeType.TAG):
            issues.append(Issue("scope.tagId", "is given exactly when the type is tag"))
        if (self.as_of is not None) != (self.scope_type is ScopeType.HISTORICAL):
            issues.append(Issue("scope.asOfDate", "is given exactly when the type is historical"))
        elif self.as_of is not None and self.as_of > now:
            issues.append(Issue("scope.asOfDate", "must not lie in the future"))
        return issues


async def attest(context: RequestContext, statement: Statement) -> str:
    """Its id. VALIDATION_ERROR, also when no finding has that flaw in that package; NOT_FOUND for the tag."""
    organization_id, now = context.organization_id, context.now()
    issues = statement.issues(now)
    if issues:
        raise invalid(*issues)
    check_future(statement.expires_at, now, path="expiresAt")
    async with context.write() as session:
        images = await repository.images_with(session, organization_id, statement.cve_id, statement.package)
        if not images:
            raise invalid(
                Issue("cveId", f"No finding of {statement.cve_id} in the package {statement.package} is known")
            )
        if statement.tag_id is not None and not await repository.has_tag(session, organization_id, statement.tag_id):
            raise not_found("Tag")
        attestation_id = await file_attestation(context, session, statement)
        await settle(session, organization_id, images)
    return attestation_id


async def file_attestation(context: RequestContext, session: AsyncSession, statement: Statement) -> str:
    """Stores one that has been checked, with its audit row; whoever calls settles the images it is about. Its id."""
    now, actor, attestation_id = context.now(), context.principal.actor_id, new_id(IdPrefix.ATTESTATION)
    await repository.insert_attestation(
        session,
        {
            "id": attestation_id,
            "organization_id": context.organization_id,
            "cve_id": statement.cve_id,
            "package_name": statement.package,
            "category": statement.category,
            "reason": statement.reason,
            "evidence": statement.evidence,
            "scope_type": statement.scope_type,
            "tag_id": statement.tag_id,
            "as_of": statement.as_of,
            "expires_at": statement.expires_at,
            "status": AttestationStatus.ACTIVE,
            "attested_by": actor,
            "created_at": now,
            "updated_at": now,
            "history": [_entry("created", actor, statement.expires_at, statement.reason, now)],
            "statement": statement.original,
        },
    )
    details = {
        "cveId": statement.cve_id,
        "package": statement.package,
        "category": statement.category.value,
        "scope": statement.scope_type.value,
    }
    await _record(context, session, "exception.created", attestation_id, details)
    return attestation_id


async def renew(
    context: RequestContext, attestation_id: str, *, expires_at: datetime | None, reason: str | None
) -> None:
    """Moves the end of an active one, or makes an expired one hold again. CONFLICT for a revoked one. NOT_FOUND."""
    organization_id, now = context.organization_id, context.now()
    check_future(expires_at, now, path="expiresAt")
    async with context.write() as session:
        held = await repository.load_attestation(session, organization_id, attestation_id)
        if held.status is AttestationStatus.REVOKED:
            raise conflict("The attestation has been revoked; make a new one")
        await repository.change_attestation(
            session,
            organization_id,
            attestation_id,
            status=AttestationStatus.ACTIVE,
            expires_at=expires_at,
            expiry_notice_at=None,
            updated_at=now,
            history=[*held.history, _entry("renewed", context.principal.actor_id, expires_at, reason, now)],
        )
        details = {"expiresAt": None if expires_at is None else iso_utc(expires_at)}
        await _record(context, session, "exception.renewed", attestation_id, details)
        images = await repository.images_with(session, organization_id, held.cve_id, held.package_name)
        await settle(session, organization_id, images)


async def revoke(context: RequestContext, attestation_id: str, *, reason: str) -> None:
    """CONFLICT for one that has ended. NOT_FOUND."""
    organization_id, now = context.organization_id, context.now()
    async with context.write() as session:
        held = await repository.load_attestation(session, organization_id, attestation_id)
        if held.status is not AttestationStatus.ACTIVE:
            raise conflict(f"The attestation is {held.status} already")
        entry = _entry("revoked", context.principal.actor_id, held.expires_at, reason, now)
        await _end(session, held, AttestationStatus.REVOKED, entry, now=now)
        await _record(context, session, "exception.revoked", attestation_id, {"reason": reason})


async def remove(context: RequestContext, attestation_id: str) -> None:
    """As if it had never been made; an active one is revoked by it. The audit log keeps what it was. NOT_FOUND."""
    organization_id, now = context.organization_id, context.now()
    async with context.write() as session:
        held = await repository.load_attestation(session, organization_id, attestation_id)
        details = {"cveId": held.cve_id, "package": held.package_name, "status": held.status.value, "deleted": True}
        if held.status is AttestationStatus.ACTIVE:
            entry = _entry("revoked", context.principal.actor_id, held.expires_at, "Deleted", now)
            await _end(session, held, AttestationStatus.REVOKED, entry, now=now)
        await _record(context, session, "exception.revoked", attestation_id, details)
        await repository.delete_attestation(session, organization_id, attestation_id)


async def expire_attestations(session: AsyncSession, *, now: datetime) -> int:
    """Ends those whose time has come, and announces those whose time is near; returns how many ended."""
    ended = await repository.expired(session, now=now)
    for held in ended:
        organization_id, attestation_id = held.organization_id, held.id
        details = {"cveId": held.cve_id, "package": held.package_name}
        entry = _entry("expired", BY_TIME, held.expires_at, None, now)
        await _end(session, held, AttestationStatus.EXPIRED, entry, now=now)
        await record(
            session,
            organization_id=organization_id,
            actor=BY_TIME,
            action="exception.expired",
            target=f"exception:{attestation_id}",
            details=details,
            now=now,
        )
    for held in await repository.expiring(session, until=now + NOTICE):
        assert held.expires_at is not None, "only those that expire"
        await emit(
            session,
            held.organization_id,
            EventType.EXCEPTION_EXPIRING,
            subject=held.id,
            key=f"{held.id}:{iso_utc(held.expires_at)}",
            details={"cveId": held.cve_id, "package": held.package_name, "expiresAt": iso_utc(held.expires_at)},
            now=now,
        )
        await repository.change_attestation(session, held.organization_id, held.id, expiry_notice_at=now)
    return len(ended)


async def _end(
    session: AsyncSession, held: Attestation, status: AttestationStatus, entry: dict[str, Any], *, now: datetime
) -> None:
    organization_id, attestation_id = held.organization_id, held.id
    covered = await repository.covered_by(session, organization_id, attestation_id)
    images = await repository.images_with(session, organization_id, held.cve_id, held.package_name)
    await repository.change_attestation(
        session, organization_id, attestation_id, status=status, updated_at=now, history=[*held.history, entry]
    )
    await settle(session, organization_id, images)
    await _reopen(session, organization_id, attestation_id, covered, actor=entry["actor"], now=now)
    await settle(session, organization_id, images)


async def _reopen(
    session: AsyncSession, organization_id: str, attestation_id: str, covered: Any, *, actor: str, now: datetime
) -> None:
    """What no other attestation covers is open again, whatever was decided; what is fixed stays so."""
    changes: list[Change] = []
    for batch in batches(covered):
        statement = (
            update(Vulnerability)
            .where(
                tenant_rows(Vulnerability, organization_id, [row.id for row in batch]),
                col(Vulnerability.exception_id).is_(None),
                col(Vulnerability.status).not_in((TriageStatus.OPEN, TriageStatus.FIXED)),
            )
            .values(status=TriageStatus.OPEN, triaged_by=None, triaged_at=None, triage_reason=None, rule_id=None)
            .returning(col(Vulnerability.id))
        )
        reopened = set((await session.execute(statement)).scalars())
        changes += [Change(row.id, row.status, TriageStatus.OPEN) for row in batch if row.id in reopened]
    await record_changes(
        session,
        organization_id,
        changes,
        origin=TriageOrigin.ATTESTATION,
        actor=actor,
        operation_id=attestation_id,
        now=now,
    )


def _entry(action: str, actor: str, expires_at: datetime | None, reason: str | None, now: datetime) -> dict[str, Any]:
    return {
        "action": action,
        "actor": actor,
        "at": iso_utc(now),
        "reason": reason,
        "expiresAt": None if expires_at is None else iso_utc(expires_at),
    }


async def _record(
    context: RequestContext, session: AsyncSession, action: str, attestation_id: str, details: dict[str, Any]
) -> None:
    await record(
        session,
        organization_id=context.organization_id,
        actor=context.principal.actor_id,
        action=action,
        target=f"exception:{attestation_id}",
        ip=context.client_ip,
        details=details,
        now=context.now(),
    )
