"""T-93: vulnerabilities, attestations, rules and deadlines live as a simple model of them in memory does, on both databases.

After every step the database is compared with the model, and so is everything that counts: the stored counts, the lists,
the dashboard, the posture, and the verdicts of scans, tags and images.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlmodel import col

from schema.attestations.lifecycle import Statement, attest, expire_attestations, remove, renew, revoke
from schema.attestations.models import Attestation, AttestationCategory, AttestationStatus, ScopeType
from schema.cves.models import Cve
from schema.dashboard.repository import figures as dashboard_figures
from schema.events.models import Event, EventType
from schema.images.models import Image, Tag
from schema.kernel.clock import iso_utc
from schema.kernel.context import RequestContext
from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.pagination import PageRequest
from schema.organizations.policy.inputs import CompliancePolicyInput, SlaPolicyInput
from schema.organizations.policy.saving import change_policy
from schema.posture.repository import figures as posture_figures
from schema.scans.models import Scan
from schema.triage.deciding import Decision
from schema.triage.inputs import BulkTriageInput, TriageRuleInput
from schema.triage.operating import triage_many, triage_one, undo
from schema.triage.ruling import add_rule, expire_rules, revoke_rule
from schema.vulnerabilities.announcing import announce_deadlines, organizations_with_news
from schema.vulnerabilities.filters import VulnerabilityFilter
from schema.vulnerabilities.models import TriageStatus, Vulnerability
from schema.vulnerabilities.records import Severity
from schema.vulnerabilities.repository import list_vulnerabilities
from schema.vulnerabilities.scores import Grade
from tests.conftest import BACKENDS
from tests.identity import Identity, Member
from tests.schema.scans.factories import finding, package, results, scanned
from tests.servers import Server, create_database

_S = TriageStatus
# Written out once more, from the documented state machine: the product's own table is what is tested.
ALLOWED = {
    (_S.OPEN, _S.ACKNOWLEDGED),
    (_S.ACKNOWLEDGED, _S.IN_PROGRESS),
    (_S.IN_PROGRESS, _S.FIXED),
    (_S.OPEN, _S.WONT_FIX),
    (_S.ACKNOWLEDGED, _S.WONT_FIX),
    (_S.IN_PROGRESS, _S.OPEN),
}
RUNNING = {_S.OPEN, _S.ACKNOWLEDGED, _S.IN_PROGRESS}
FLAWS = {
    "CVE-2026-0001": Severity.CRITICAL,
    "CVE-2026-0002": Severity.HIGH,  # known to be exploited
    "CVE-2026-0003": Severity.LOW,
}
KEV = "CVE-2026-0002"
WEIGHTS = {Severity.CRITICAL: 10, Severity.HIGH: 5, Severity.LOW: 1}
TAGS = ("1.0", "2.0")
LEAD = timedelta(days=3)

flaws = st.sampled_from(sorted(FLAWS))
tags = st.sampled_from(TAGS)
statuses = st.sampled_from(list(TriageStatus))
hours = st.sampled_from((1, 20, 30, 80, 200))
ends = st.one_of(st.none(), hours)


@dataclass(eq=False)
class Life:
    """A vulnerability as the model has it."""

    flaw: str
    detected: datetime
    since: datetime
    due: datetime | None
    status: TriageStatus = _S.OPEN
    present: bool = True
    by_hand: bool = False
    decided: bool = False
    rule: str | None = None
    warned: bool = False
    breached: bool = False
    changes: int = 0  # entries of its history

    def become(self, status: TriageStatus, *, decided: bool, rule: str | None = None) -> None:
        self.status, self.decided, self.rule = status, decided, rule
        self.changes += 1

    def deadline(self, due: datetime | None) -> None:
        if due != self.due:
            self.due, self.warned, self.breached = due, False, False


@dataclass(eq=False)
class Made:
    """An attestation, or a triage rule, as the model has it."""

    id: str
    flaw: str
    ends_at: datetime | None
    active: bool = True
    revoked: bool = False
    scope: ScopeType = ScopeType.BLANKET
    tag: str | None = None  # of a rule: the only tag it is about
    as_of: datetime | None = None
    decision: TriageStatus = _S.OPEN


@dataclass(eq=False)
class Operation:
    id: str
    before: dict[str, tuple[TriageStatus, int]]  # by flaw: the status it had, and how long its history was afterwards
    undone: bool = False


@dataclass
class Model:
    days: dict[Severity, int] = field(
        default_factory=lambda: {Severity.CRITICAL: 1, Severity.HIGH: 3, Severity.LOW: 14}
    )
    lives: dict[str, Life] = field(default_factory=dict)
    latest: dict[str, frozenset[str]] = field(default_factory=dict)  # what the latest scan of each tag saw
    newest: str | None = None  # the tag scanned last
    attestations: list[Made] = field(default_factory=list)
    rules: list[Made] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    announced: set[tuple[EventType, str, datetime]] = field(default_factory=set)

    def due(self, flaw: str, since: datetime) -> datetime:
        return since + timedelta(days=self.days[FLAWS[flaw]])

    def scan(self, tag: str, seen: frozenset[str], now: datetime) -> None:
        for flaw in sorted(seen):
            life = self.lives.get(flaw)
            if life is None:
                self.lives[flaw] = Life(flaw, now, now, self.due(flaw, now))
                continue
            life.present = True
            if life.status is _S.FIXED:
                life.since, life.by_hand = now, False
                life.due, life.warned, life.breached = self.due(flaw, now), False, False
                life.become(_S.OPEN, decided=False)
        for made in self.rules:
            if made.active and made.tag in {None, tag} and made.flaw in seen:
                self._decide(made)
        for flaw in self.latest.get(tag, frozenset()) - seen:
            if not any(flaw in self.latest[other] for other in self.latest if other != tag):
                life = self.lives[flaw]
                life.present = False
                if life.status in RUNNING:
                    life.become(_S.FIXED, decided=life.decided, rule=life.rule)
        self.latest[tag], self.newest = seen, tag

    def _decide(self, made: Made) -> None:
        life = self.lives[made.flaw]
        if life.status is _S.OPEN and not life.decided:
            life.become(made.decision, decided=True, rule=made.id)

    def begin(self, made: Made) -> None:
        self.rules.append(made)
        if made.flaw in self.lives and (made.tag is None or made.flaw in self.latest.get(made.tag, ())):
            self._decide(made)

    def end_rule(self, made: Made) -> None:
        made.active = False
        life = self.lives.get(made.flaw)
        if life is not None and life.rule == made.id and life.status is made.decision:
            life.become(_S.OPEN, decided=False)

    def exception(self, life: Life) -> str | None:
        """The oldest attestation that covers it."""
        active = [each for each in self.attestations if each.active and each.flaw == life.flaw]
        seeing = {tag for tag, seen in self.latest.items() if life.flaw in seen}
        attested = {each.tag for each in active}
        for each in active:
            if each.scope is ScopeType.BLANKET:
                return each.id
            if each.as_of is not None and each.as_of >= life.detected:
                return each.id
            if each.tag in seeing and seeing <= attested:
                return each.id
        return None

    def end_attestation(self, made: Made) -> None:
        covered = [life for life in self.lives.values() if self.exception(life) == made.id]
        made.active = False
        for life in covered:
            if self.exception(life) is None and life.status not in {_S.OPEN, _S.FIXED}:
                life.become(_S.OPEN, decided=False)

    def pass_time(self, now: datetime) -> None:
        for made in self.attestations:
            if made.active and made.ends_at is not None and made.ends_at <= now:
                self.end_attestation(made)
        for made in self.rules:
            if made.active and made.ends_at is not None and made.ends_at <= now:
                self.end_rule(made)
        for life in self.lives.values():
            if life.due is None or life.status not in RUNNING or self.exception(life) or life.breached:
                continue
            if life.due <= now:
                life.breached = True
                self.announced.add((EventType.SLA_BREACH, life.flaw, life.due))
            elif not life.warned and life.due <= now + LEAD:
                life.warned = True
                self.announced.add((EventType.SLA_WARNING, life.flaw, life.due))

    def counted(self, tag: str) -> list[Life]:
        """What counts for the verdict of a tag: it sees it, and nothing attests it away."""
        return [
            self.lives[flaw]
            for flaw in self.latest[tag]
            if self.exception(self.lives[flaw]) is None
            and not any(each.active and each.flaw == flaw and each.tag == tag for each in self.attestations)
        ]


class Lives(RuleBasedStateMachine):
    """One image with two tags."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database = Database(url)
        self.identity = Identity(self.database)
        self.clock = self.identity.clock
        self.ada: Member = self.do(self.identity.member())
        self.context: RequestContext = self.identity.context(self.ada.principal)
        self.model = Model()
        self.ids: dict[str, str] = {}

    def do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.do(self.database.close())
        self.runner.close()

    @property
    def now(self) -> datetime:
        return self.clock()

    def refused(self, code: ErrorCode, coroutine: Coroutine[Any, Any, Any]) -> None:
        with pytest.raises(HarborGuardError) as caught:
            self.do(coroutine)
        assert caught.value.code is code

    @initialize()
    def exploited(self) -> None:
        async def file() -> None:
            async with self.database.write() as session:
                session.add(Cve(id=KEV, kev=True, epss=0.9))

        self.do(file())

    @rule(tag=tags, seen=st.frozensets(flaws))
    def scan(self, tag: str, seen: frozenset[str]) -> None:
        found = [finding(flaw, FLAWS[flaw], of=package(flaw.lower()), score=None) for flaw in sorted(seen)]
        self.do(
            scanned(self.database, self.ada.principal, results(*found), now=self.now, image=f"ghcr.io/acme/api:{tag}")
        )
        self.model.scan(tag, seen, self.now)
        self.ids = self.do(self._ids())

    async def _ids(self) -> dict[str, str]:
        async with self.database.read() as session:
            rows = await session.execute(select(col(Vulnerability.cve_id), col(Vulnerability.id)))
            return {row[0]: row[1] for row in rows}

    @rule(by=hours)
    def pass_time(self, by: int) -> None:
        self.clock.advance(hours=by)

        async def keep_time() -> None:
            async with self.database.write() as session:
                await expire_attestations(session, now=self.now)
                await expire_rules(session, now=self.now)
            async with self.database.read() as session:
                pressed = await organizations_with_news(session, now=self.now)
            for organization_id in pressed:
                async with self.database.write() as session:
                    await announce_deadlines(session, organization_id, now=self.now)

        self.do(keep_time())
        self.model.pass_time(self.now)

    @precondition(lambda self: self.ids)
    @rule(flaw=flaws, status=statuses)
    def triage(self, flaw: str, status: TriageStatus) -> None:
        if flaw not in self.ids:
            self.refused(ErrorCode.NOT_FOUND, triage_one(self.context, flaw, Decision(status=status)))
            return
        life = self.model.lives[flaw]
        deciding = triage_one(self.context, flaw, Decision(status=status))
        if status is not life.status and (life.status, status) not in ALLOWED:
            self.refused(ErrorCode.CONFLICT, deciding)
            return
        self.do(deciding)
        if status is not life.status:
            life.become(status, decided=True)

    @precondition(lambda self: self.ids)
    @rule(status=statuses, atomic=st.booleans())
    def triage_all(self, status: TriageStatus, atomic: bool) -> None:  # noqa: FBT001 -- hypothesis gives it by name
        ids = {flaw: self.ids[flaw] for flaw in sorted(self.ids)}
        deciding = triage_many(
            self.context,
            BulkTriageInput(ids=list(ids.values()), status=status, atomic=atomic),  # type: ignore[arg-type]
        )
        refused = {
            flaw
            for flaw in ids
            if (life := self.model.lives[flaw]).status is not status and (life.status, status) not in ALLOWED
        }
        if atomic and refused:
            self.refused(ErrorCode.CONFLICT, deciding)
            return
        operated = self.do(deciding)
        assert {each.id for each in operated.outcomes if each.refusal} == {ids[flaw] for flaw in refused}
        changed = {}
        for flaw in ids.keys() - refused:
            life = self.model.lives[flaw]
            if life.status is not status:
                before = life.status
                life.become(status, decided=True)
                changed[flaw] = (before, life.changes)
        assert (operated.operation_id is not None) == bool(changed)
        if changed:
            self.model.operations.append(Operation(operated.operation_id, changed))

    @precondition(lambda self: self.model.operations)
    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(self.model.operations))
        if operation.undone:
            self.refused(ErrorCode.CONFLICT, undo(self.context, operation.id))
            return
        self.do(undo(self.context, operation.id))
        operation.undone = True
        for flaw, (status, changes) in operation.before.items():
            life = self.model.lives[flaw]
            if life.changes == changes:  # nothing has happened to it since
                life.become(status, decided=True)

    @precondition(lambda self: self.ids)
    @rule(data=st.data(), days=st.one_of(st.none(), st.integers(1, 40)))
    def set_deadline(self, data: st.DataObject, days: int | None) -> None:
        flaw = data.draw(st.sampled_from(sorted(self.ids)))
        life = self.model.lives[flaw]
        wanted = None if days is None else self.now + timedelta(days=days)
        self.do(triage_one(self.context, self.ids[flaw], Decision(due_at=wanted)))
        by_policy = self.model.due(flaw, life.since)
        due = wanted or by_policy
        if (due, due != by_policy) != (life.due, life.by_hand):
            life.deadline(due)
            life.by_hand = due != by_policy
            life.become(life.status, decided=True)

    @rule(scale=st.sampled_from((1, 2, 5)), backfill=st.booleans())
    def change_policy(self, scale: int, backfill: bool) -> None:  # noqa: FBT001
        sla = SlaPolicyInput(critical=scale, high=3 * scale, medium=7 * scale, low=14 * scale)
        self.do(change_policy(self.context, CompliancePolicyInput(sla_policy=sla, backfill_on_save=backfill)))
        self.model.days = {Severity.CRITICAL: scale, Severity.HIGH: 3 * scale, Severity.LOW: 14 * scale}
        for life in self.model.lives.values():
            if backfill and life.status in RUNNING and not life.by_hand:
                life.deadline(self.model.due(life.flaw, life.since))

    @rule(flaw=flaws, scope=st.sampled_from((ScopeType.TAG, *ScopeType)), tag=tags, ends_in=ends)
    def attest(self, flaw: str, scope: ScopeType, tag: str, ends_in: int | None) -> None:
        about = {"tag_id": self.do(self._tag_id(tag)) if scope is ScopeType.TAG else None}
        as_of = self.now if scope is ScopeType.HISTORICAL else None
        ends_at = None if ends_in is None else self.now + timedelta(hours=ends_in)
        statement = Statement(
            cve_id=flaw,
            package=flaw.lower(),
            category=AttestationCategory.RISK_ACCEPTED,
            reason="as the model has it",
            scope_type=scope,
            as_of=as_of,
            expires_at=ends_at,
            **about,
        )
        if flaw not in self.ids:
            self.refused(ErrorCode.VALIDATION_ERROR, attest(self.context, statement))
            return
        if scope is ScopeType.TAG and tag not in self.model.latest:
            self.refused(ErrorCode.NOT_FOUND, attest(self.context, statement))
            return
        attestation_id = self.do(attest(self.context, statement))
        made = Made(attestation_id, flaw, ends_at, scope=scope, as_of=as_of)
        made.tag = tag if scope is ScopeType.TAG else None
        self.model.attestations.append(made)

    async def _tag_id(self, name: str) -> str:
        async with self.database.read() as session:
            found = (await session.execute(select(col(Tag.id)).where(col(Tag.name) == name))).scalar_one_or_none()
            return found or "tag-none"

    @precondition(lambda self: self.model.attestations)
    @rule(data=st.data(), how=st.sampled_from(("revoke", "renew", "remove")), ends_in=ends)
    def change_attestation(self, data: st.DataObject, how: str, ends_in: int | None) -> None:
        made = data.draw(st.sampled_from(self.model.attestations))
        if how == "renew":
            ends_at = None if ends_in is None else self.now + timedelta(hours=ends_in)
            renewing = renew(self.context, made.id, expires_at=ends_at, reason=None)
            if made.revoked:
                self.refused(ErrorCode.CONFLICT, renewing)
                return
            self.do(renewing)
            made.active, made.ends_at = True, ends_at
            return
        if how == "revoke":
            revoking = revoke(self.context, made.id, reason="no longer so")
            if not made.active:
                self.refused(ErrorCode.CONFLICT, revoking)
                return
            self.do(revoking)
            made.revoked = True
        else:
            self.do(remove(self.context, made.id))
        if made.active:
            self.model.end_attestation(made)
        if how == "remove":
            self.model.attestations.remove(made)

    @rule(
        flaw=flaws,
        tag=st.one_of(st.none(), tags),
        decision=st.sampled_from((_S.ACKNOWLEDGED, _S.WONT_FIX)),
        ends_in=ends,
    )
    def add_rule(self, flaw: str, tag: str | None, decision: TriageStatus, ends_in: int | None) -> None:
        ends_at = None if ends_in is None else self.now + timedelta(hours=ends_in)
        given = TriageRuleInput(cve_id=flaw, tag_pattern=tag, status=decision, expires_at=ends_at)
        rule_id = self.do(add_rule(self.context, given))
        self.model.begin(Made(rule_id, flaw, ends_at, tag=tag, decision=decision))

    @precondition(lambda self: self.model.rules)
    @rule(data=st.data())
    def revoke_rule(self, data: st.DataObject) -> None:
        made = data.draw(st.sampled_from(self.model.rules))
        if not made.active:
            self.refused(ErrorCode.CONFLICT, revoke_rule(self.context, made.id))
            return
        self.do(revoke_rule(self.context, made.id))
        self.model.end_rule(made)

    @invariant()
    def the_database_says_the_same(self) -> None:
        self.do(self._compare())

    async def _compare(self) -> None:
        async with self.database.read() as session:
            rows = (await session.execute(select(Vulnerability))).scalars().all()
            said = {
                row.cve_id: (
                    row.status,
                    row.is_present,
                    row.due_at,
                    row.due_by_hand,
                    row.triaged_by is not None,
                    row.rule_id,
                    row.exception_id,
                    row.breached_at is not None,
                )
                for row in rows
            }
            lives = self.model.lives.values()
            assert said == {
                life.flaw: (
                    life.status,
                    life.present,
                    life.due,
                    life.by_hand,
                    life.decided,
                    life.rule,
                    self.model.exception(life),
                    life.breached,
                )
                for life in lives
            }
            held = {row.id: row.status for row in (await session.execute(select(Attestation))).scalars()}
            assert held == {
                made.id: AttestationStatus.ACTIVE
                if made.active
                else AttestationStatus.REVOKED
                if made.revoked
                else AttestationStatus.EXPIRED
                for made in self.model.attestations
            }
            told = (
                await session.execute(select(Event).where(col(Event.type) != EventType.EXCEPTION_EXPIRING))
            ).scalars()
            assert sorted((event.type, event.key) for event in told) == sorted(
                (kind, f"{self.ids[flaw]}:{iso_utc(due)}") for kind, flaw, due in self.model.announced
            )
            await self._compare_counts(session)
            await self._compare_verdicts(session)

    async def _compare_counts(self, session: Any) -> None:
        """The list and its totals, the dashboard, and the posture."""
        organization_id, lives = self.ada.organization_id, self.model.lives.values()
        for filters, expected in self._filters():
            page = await list_vulnerabilities(session, organization_id, PageRequest(), VulnerabilityFilter(**filters))
            assert (len(page.items), page.meta.total) == (expected, expected), filters
        counted = Counter[tuple[Any, ...]]()
        for group in (await dashboard_figures(session, organization_id)).groups:
            counted[group.severity, group.status, group.excepted] += group.count
        assert +counted == Counter(
            (FLAWS[life.flaw], life.status, self.model.exception(life) is not None) for life in lives
        )
        open_ones = [life for life in lives if life.status in RUNNING and self.model.exception(life) is None]
        posture = await posture_figures(session, organization_id, now=self.now)
        assert +posture.open == Counter(FLAWS[life.flaw] for life in open_ones)
        assert posture.overdue == sum(life.breached for life in open_ones)
        assert posture.urgent_overdue == sum(
            life.breached for life in open_ones if FLAWS[life.flaw] is not Severity.LOW
        )
        assert posture.excepted == sum(self.model.exception(life) is not None for life in lives)
        assert posture.exceptions == sum(made.active for made in self.model.attestations)

    def _filters(self) -> list[tuple[Mapping[str, Any], int]]:
        lives = self.model.lives.values()
        excepted = sum(self.model.exception(life) is not None for life in lives)
        return [
            ({}, len(lives)),
            *(({"statuses": [status]}, sum(life.status is status for life in lives)) for status in TriageStatus),
            ({"excepted": True}, excepted),
            ({"excepted": False}, len(lives) - excepted),
            ({"present": True}, sum(life.present for life in lives)),
            ({"kev": True}, sum(life.flaw == KEV for life in lives)),
            (
                {"overdue": True},
                sum(life.breached and life.status in RUNNING and self.model.exception(life) is None for life in lives),
            ),
        ]

    async def _compare_verdicts(self, session: Any) -> None:
        judged = {}
        for tag in (await session.execute(select(Tag))).scalars():
            counted = self.model.counted(tag.name)
            by_severity = Counter(FLAWS[life.flaw] for life in counted)
            # Part B: by what is there, whatever was decided about it. The score: by what is open.
            weight = sum(
                WEIGHTS[FLAWS[life.flaw]] * (2 if life.flaw == KEV else 1) for life in counted if life.status in RUNNING
            )
            grade = Grade.D if by_severity[Severity.CRITICAL] else Grade.B if by_severity[Severity.HIGH] else Grade.A
            expected = (
                *(by_severity[severity] for severity in (Severity.CRITICAL, Severity.HIGH, Severity.LOW)),
                len(self.model.latest[tag.name]) - len(counted),
                grade,
                round(100 * (1 - 2.718281828459045 ** (-weight / 200))),
            )
            assert _verdict(tag) == expected
            assert _verdict(await session.get(Scan, tag.last_scan_id)) == expected
            judged[tag.name] = expected
        for image in (await session.execute(select(Image))).scalars():
            assert _verdict(image) == judged[self.model.newest or ""]


def _verdict(row: Any) -> tuple[Any, ...]:
    return (row.critical, row.high, row.low, row.excepted, row.grade, row.risk_score)


@pytest.mark.parametrize("backend", BACKENDS)
def test_t93_lives_as_the_model_has_them(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    make: Callable[[], str]
    if backend == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")

        def make() -> str:
            path = tmp_path / f"{secrets.token_hex(6)}.db"
            shutil.copyfile(template, path)
            return f"sqlite+aiosqlite:///{path}"

    else:
        server: Server = request.getfixturevalue("postgres")
        name: str = request.getfixturevalue("postgresql_template")

        def make() -> str:
            return asyncio.run(create_database(server.url, f"test_{secrets.token_hex(6)}", template=name))

    run_state_machine_as_test(
        lambda: Lives(make()),  # type: ignore[arg-type]  # it takes whatever makes a machine
        settings=settings(max_examples=8, stateful_step_count=25),
    )
