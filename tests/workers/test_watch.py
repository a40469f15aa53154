"""The CVE watch: what becomes known of the packages that are there is told once, without a scan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schema.advisories.osv import parse_osv
from schema.advisories.records import AdvisoryRecord
from schema.attestations.lifecycle import Statement, attest
from schema.attestations.models import AttestationCategory
from schema.cves.models import Cve
from schema.events.models import Event, EventType
from schema.jobs.models import Job, JobKind, JobState
from schema.kernel.clock import utc_now
from schema.kernel.context import RequestContext
from schema.vulnerabilities.records import Severity
from schema.watch import repository
from schema.watch.models import AlertStatus, CveAlert, CveWatch, WatchSource
from tests.app.site import on_sqlite
from tests.workers.workshop import Workshop, debian, store_advisories
from workers.leases import LeaseLostError
from workers.reconciler import rematch_if_switched

_VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:{0}/I:{0}/A:{0}"
_CRITICAL, _LOW = _VECTOR.format("H"), "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
NEW, KEV, FIX = EventType.CVE_WATCH_NEW, EventType.CVE_WATCH_KEV, EventType.FIX_AVAILABLE


def flaw(
    package: str,
    number: int = 1,
    *,
    vector: str = _CRITICAL,
    fixed: str | None = None,
    published: str = "2020-01-01",
    advisory: str = "DSA",
) -> AdvisoryRecord:
    events = [{"introduced": "0"}, *([{"fixed": fixed}] if fixed else [])]
    affected = {
        "package": {"ecosystem": "Debian:12", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return parse_osv(
        {
            "id": f"{advisory}-{number}",
            "aliases": [f"CVE-2024-{number:04}"],
            "published": f"{published}T00:00:00Z",
            # Each version of a record is newer than the one before.
            "modified": utc_now().isoformat().replace("+00:00", "Z"),
            "severity": [{"type": "CVSS_V3", "score": vector}],
            "affected": [affected],
        }
    )


class Watched:
    """An organization with an image of openssl and curl, and the one flaw it was scanned with."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop

    async def work(self) -> None:
        async with self.workshop.runner() as runner:
            runner.wake()
            await runner.idle()

    async def learn(self, *records: AdvisoryRecord) -> None:
        """What the reconciler does after an import, and what workers then do."""
        await store_advisories(self.workshop.database, records)
        await rematch_if_switched(self.workshop.runtime(), None)
        await self.work()

    async def learn_of_exploits(self, cve: str) -> None:
        async with self.workshop.database.write() as session:
            session.add(Cve(id=cve, kev=True))
        await self.ask()

    async def ask(self) -> None:
        async with self.workshop.database.write() as session:
            await repository.ask_for_look(session, self.organization_id, now=utc_now())
        await self.work()

    async def wish(self, **values: Any) -> None:
        async with self.workshop.database.write() as session:
            await repository.hold_watch(session, self.organization_id)
            await repository.change_watch(session, self.organization_id, **values)

    async def alerts(self) -> dict[str, CveAlert]:
        return {row.cve_id: row for row in await self.workshop.rows(CveAlert)}

    async def told(self) -> list[tuple[EventType, str, str]]:
        rows = await self.workshop.rows(Event)
        return [(row.type, row.details["cveId"], row.details["change"]) for row in sorted(rows, key=lambda row: row.id)]

    @property
    def organization_id(self) -> str:
        return self.workshop.principal.organization_id


@pytest.fixture
async def watched(workshop: Workshop) -> Watched:
    await store_advisories(workshop.database, [flaw("openssl")])
    await workshop.scanned(workshop.layout(debian()))
    return Watched(workshop)


async def test_a_flaw_that_becomes_known_is_told_once_and_without_a_scan(watched: Watched) -> None:
    await watched.learn(flaw("openssl"), flaw("curl", 2))

    alerts = await watched.alerts()
    assert {cve: alert.status for cve, alert in alerts.items()} == {
        "CVE-2024-0001": AlertStatus.DIGESTED,  # of this the scan has told
        "CVE-2024-0002": AlertStatus.PENDING,
    }
    news = alerts["CVE-2024-0002"]
    assert (news.package_name, news.severity, news.cvss, news.source) == (
        "curl",
        Severity.CRITICAL,
        9.8,
        WatchSource.OSV,
    )
    assert (news.kev, news.fixed_version, news.published_at) == (False, None, datetime(2020, 1, 1, tzinfo=UTC))
    assert await watched.told() == [(NEW, "CVE-2024-0002", "detected")]
    [watch] = await watched.workshop.rows(CveWatch)
    assert watch.polled_at is not None

    await watched.ask()
    await watched.learn(flaw("openssl"), flaw("curl", 2), flaw("nobody-has-it", 3))
    assert len(await watched.told()) == 1
    assert await watched.alerts() == alerts


async def test_an_alert_names_every_tag_that_has_the_flaw_now(watched: Watched) -> None:
    await watched.workshop.scanned(watched.workshop.layout(debian()))  # the same again: its results are those of before
    await watched.workshop.scanned(watched.workshop.layout(debian()), name="ghcr.io/acme/copy:2")
    await watched.workshop.scanned(watched.workshop.layout(debian({"zlib": "1.2"})), name="ghcr.io/acme/without:1")
    async with watched.workshop.database.read() as session:
        images = await repository.affected_images(session, watched.organization_id, ["CVE-2024-0001", "CVE-2024-0002"])

    [first, copy] = images["CVE-2024-0001"]
    assert (copy.image_name, copy.tag, copy.package_name) == ("ghcr.io/acme/copy", "2", "openssl")
    assert first.image_name != copy.image_name
    assert "CVE-2024-0002" not in images


async def test_it_is_told_again_when_a_fix_appears_when_it_is_exploited_and_when_it_is_worse(watched: Watched) -> None:
    await watched.learn(flaw("openssl", vector=_VECTOR.format("L")))
    assert await watched.told() == []

    await watched.learn(flaw("openssl", vector=_VECTOR.format("L"), fixed="9999"))
    await watched.learn_of_exploits("CVE-2024-0001")
    await watched.learn(flaw("openssl", fixed="9999"))

    assert await watched.told() == [
        (FIX, "CVE-2024-0001", "fix_appeared"),
        (KEV, "CVE-2024-0001", "kev_added"),
        (NEW, "CVE-2024-0001", "severity_rose"),
    ]
    [alert] = (await watched.alerts()).values()
    assert (alert.status, alert.source, alert.fixed_version) == (AlertStatus.PENDING, WatchSource.CISA_KEV, "9999")
    assert [entry["change"] for entry in alert.changes] == ["detected", "fix_appeared", "kev_added", "severity_rose"]

    await watched.learn(flaw("openssl", vector=_VECTOR.format("L")))
    await watched.learn(flaw("openssl", fixed="9999"))
    assert len(await watched.told()) == 3, "what was told is not told again"


@on_sqlite
async def test_a_flaw_published_lately_is_news_even_if_a_scan_brought_it(workshop: Workshop) -> None:
    await store_advisories(workshop.database, [flaw("openssl", published=f"{utc_now():%Y-%m-%d}", advisory="GHSA")])
    await workshop.scanned(workshop.layout(debian()))
    watched = Watched(workshop)
    await watched.ask()

    [alert] = (await watched.alerts()).values()
    assert (alert.status, alert.source) == (AlertStatus.PENDING, WatchSource.GHSA)


@on_sqlite
async def test_what_is_not_severe_enough_is_not_kept_unless_it_is_exploited(watched: Watched) -> None:
    await watched.learn(flaw("openssl"), flaw("curl", 2, vector=_LOW))
    assert set(await watched.alerts()) == {"CVE-2024-0001"}

    await watched.learn_of_exploits("CVE-2024-0002")
    alert = (await watched.alerts())["CVE-2024-0002"]
    assert (alert.severity, alert.kev, alert.status) == (Severity.LOW, True, AlertStatus.PENDING)


@on_sqlite
async def test_only_wanted_sources_are_heard(watched: Watched) -> None:
    await watched.wish(sources=["ghsa"])
    await watched.learn(flaw("openssl"), flaw("curl", 2, advisory="GHSA"))
    await watched.learn_of_exploits("CVE-2024-0001")
    assert {cve: alert.source for cve, alert in (await watched.alerts()).items()} == {"CVE-2024-0002": WatchSource.GHSA}

    await watched.wish(enabled=False, sources=[source.value for source in WatchSource])
    await watched.ask()
    assert len(await watched.alerts()) == 1, "switched off"
    await watched.wish(enabled=True)
    await watched.ask()
    assert len(await watched.alerts()) == 2


@on_sqlite
async def test_nobody_hears_of_what_is_attested_or_suppressed(watched: Watched) -> None:
    workshop = watched.workshop
    context = RequestContext(
        services=workshop.services, principal_or_none=workshop.principal, request_id="req-1", client_ip=""
    )
    statement = Statement(
        cve_id="CVE-2024-0001", package="openssl", category=AttestationCategory.FALSE_POSITIVE, reason="not compiled in"
    )
    await attest(context, statement)
    await watched.learn(flaw("openssl"), flaw("curl", 2))
    [alert] = (await watched.alerts()).values()
    assert alert.cve_id == "CVE-2024-0002"

    async with workshop.database.write() as session:
        suppressed = {"status": AlertStatus.SUPPRESSED}
        await repository.change_alert(session, watched.organization_id, alert.id, suppressed)
    await watched.learn(flaw("openssl"), flaw("curl", 2, fixed="9999"))
    [alert] = (await watched.alerts()).values()
    assert (alert.status, alert.fixed_version) == (AlertStatus.SUPPRESSED, "9999")
    assert await watched.told() == [(NEW, "CVE-2024-0002", "detected")]


async def test_a_worker_that_loses_its_job_while_it_tells_tells_nothing_twice(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = repository.change_watch

    async def lost(*_arguments: Any, **_values: Any) -> None:
        monkeypatch.setattr(repository, "change_watch", change)
        raise LeaseLostError

    monkeypatch.setattr(repository, "change_watch", lost)
    await watched.learn(flaw("openssl"), flaw("curl", 2))
    [job] = [job for job in await watched.workshop.rows(Job) if job.kind is JobKind.WATCH]
    assert job.state is not JobState.DONE
    await watched.ask()

    assert await watched.told() == [(NEW, "CVE-2024-0002", "detected")]
    [watch] = await watched.workshop.rows(CveWatch)
    assert watch.polled_at is not None
