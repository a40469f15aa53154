"""What is known of CVEs: followed from a server, stored where it differs, and weighed in every verdict."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from app.outgoing import OutgoingClient
from schema.advisories import repository as feeds
from schema.advisories.catalog import Feed, find_feed
from schema.advisories.importing import ImportSummary
from schema.cves.models import Cve
from schema.images.models import Image, Tag
from schema.jobs.models import Job, JobKind, JobState
from schema.kernel.errors import HarborGuardError
from schema.scans.models import Scan
from schema.vulnerabilities.models import Vulnerability
from tests.simulators.feeds import FeedServer, answering
from tests.workers.workshop import Workshop, advisories, store_advisories
from workers.feeds import download as downloads
from workers.feeds.update import FeedSource, update_feed
from workers.reconciler import review_if_more_is_known


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.0)


class Station:
    def __init__(self, workshop: Workshop, http: OutgoingClient, server: FeedServer, directory: Path) -> None:
        self.workshop, self.server = workshop, server
        clock = workshop.runtime().services.clock
        self.source = FeedSource(database=workshop.database, http=http, directory=directory, clock=clock)
        self.mirrors = {"kev": f"{server.url}/kev.json", "epss": f"{server.url}/epss.csv.gz"}

    def feed(self, name: str) -> Feed:
        return find_feed(name, self.mirrors)

    async def update(self, name: str, **how: Any) -> ImportSummary | None:
        return await update_feed(self.feed(name), self.source, **how)

    def publish_kev(self, *cves: str, released: str = "2026-01-02") -> None:
        entries = [{"cveID": cve, "dateAdded": "2026-01-01", "dueDate": "2026-01-22"} for cve in cves]
        document = {"dateReleased": f"{released}T00:00:00Z", "count": len(entries), "vulnerabilities": entries}
        self.server.publish("/kev.json", json.dumps(document).encode())

    def publish_epss(self, day: str = "2026-01-02", **scores: float) -> None:
        lines = [f"#model_version:v1,score_date:{day}T00:00:00+0000", "cve,epss,percentile"]
        lines += [f"{cve.replace('_', '-')},{score},0.5" for cve, score in scores.items()]
        self.server.publish("/epss.csv.gz", gzip.compress("\n".join(lines).encode()))

    async def known(self) -> dict[str, tuple[bool, float | None]]:
        return {row.id: (row.kev, row.epss) for row in await self.workshop.rows(Cve)}


@pytest.fixture
def station(workshop: Workshop, http: OutgoingClient, server: FeedServer, tmp_path: Path) -> Station:
    return Station(workshop, http, server, tmp_path / "feeds")


async def test_two_feeds_tell_of_one_cve_and_keep_to_their_own(station: Station) -> None:
    station.publish_kev("CVE-2024-0001", "CVE-2024-0002")
    station.publish_epss(CVE_2024_0002=0.5, CVE_2024_0003=0.25)
    assert await station.update("kev") is not None
    first = await station.update("epss")
    assert first is not None
    assert (first.records, first.changed, first.removed) == (2, 2, 0)
    assert await station.known() == {
        "CVE-2024-0001": (True, None),
        "CVE-2024-0002": (True, 0.5),
        "CVE-2024-0003": (False, 0.25),
    }

    station.publish_kev("CVE-2024-0002", "CVE-2024-0004", released="2026-01-03")
    second = await station.update("kev")
    assert second is not None
    assert (second.changed, second.removed) == (1, 1), "what has not changed is not written"
    assert (await station.known())["CVE-2024-0001"] == (False, None)
    assert (await station.known())["CVE-2024-0002"] == (True, 0.5)
    assert await station.update("kev") is None, "it is the published one already"


@pytest.mark.parametrize("what", ["older", "future", "shrunk", "no feed", "unavailable"])
async def test_a_feed_that_cannot_be_right_changes_nothing(station: Station, what: str) -> None:
    station.publish_kev(*(f"CVE-2024-000{number}" for number in range(5)), released="2026-01-05")
    await station.update("kev")
    before = await station.known()

    match what:
        case "older":
            station.publish_kev("CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003", released="2026-01-04")
        case "future":
            station.publish_kev("CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003", released="2999-01-01")
        case "shrunk":
            station.publish_kev("CVE-2024-0001", released="2026-01-06")
        case "no feed":
            station.server.publish("/kev.json", b"<html>Try again later</html>")
        case _:
            station.publish_kev("CVE-2024-0001", "CVE-2024-0002", "CVE-2024-0003", released="2026-01-06")
            station.server.faults += [answering(503)] * 20

    with pytest.raises(HarborGuardError):
        await station.update("kev")
    assert await station.known() == before
    async with station.workshop.database.read() as session:
        [state] = await feeds.feeds(session)
    assert state.error
    assert state.lease_owner is None
    if what == "shrunk":
        accepted = await station.update("kev", accept_shrink=True)
        assert accepted is not None
        assert accepted.removed == 4


async def test_what_is_exploited_weighs_more_and_is_told_everywhere(station: Station) -> None:
    workshop = station.workshop
    await store_advisories(workshop.database, advisories("openssl"))
    await workshop.scanned()
    [vulnerability] = await workshop.rows(Vulnerability)
    [tag] = await workshop.rows(Tag)
    assert (tag.kev, tag.last_scan_id is not None) == (0, True)
    before = tag.risk_score

    station.publish_kev(vulnerability.cve_id)
    await station.update("kev")
    state = await review_if_more_is_known(workshop.runtime(), None)
    assert await review_if_more_is_known(workshop.runtime(), None) == state, "once for each state of what is known"
    [job] = [job for job in await workshop.rows(Job) if job.kind is JobKind.REVIEW]
    async with workshop.runner() as runner:
        runner.wake()
        await runner.idle()

    assert (await workshop.job(job.subject_id)).state is JobState.DONE
    for table in (Tag, Scan, Image):
        [row] = await workshop.rows(table)
        assert row.kev == 1, table
        assert (before is None and row.risk_score is None) or row.risk_score >= before
    [same] = await workshop.rows(Vulnerability)
    assert same == vulnerability, "no vulnerability is touched"
