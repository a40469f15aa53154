"""Following feeds: from a publisher's server into the store, and what stays when something is wrong with it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.outgoing import OutgoingClient
from schema.advisories import repository
from schema.advisories.catalog import Feed, find_feed
from schema.advisories.importing import ImportSummary, filling
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from tests.identity import HeldClock
from tests.processes import PATIENCE, until
from tests.simulators.feeds import FeedServer, answering, cut_after, hanging_after, redirecting
from workers.feeds import download as downloads
from workers.feeds.update import FeedSchedule, FeedSource, refresh_due, update_feed

ROOT = Path(__file__).parents[3]
PATHS = {"osv": "/{name}/all.zip", "debian": "/tracker.json", "alpine": "/{name}/{repository}.json"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.0)


class Station:
    """A store that follows feeds of the simulated server."""

    def __init__(self, database: Database, http: OutgoingClient, server: FeedServer, directory: Path) -> None:
        self.database, self.server, self.directory = database, server, directory
        self.clock = HeldClock()
        self.source = FeedSource(database=database, http=http, directory=directory, clock=self.clock, max_bytes=1 << 20)
        self.mirrors = {publisher: server.url + path for publisher, path in PATHS.items()}

    def feed(self, name: str) -> Feed:
        return find_feed(name, self.mirrors)

    async def update(self, name: str, **how: Any) -> ImportSummary | None:
        return await update_feed(self.feed(name), self.source, **how)

    async def ids(self, ecosystem: str, name: str) -> set[str]:
        async with self.database.snapshot() as session:
            found = await repository.candidates(session, [(ecosystem, name)])
        return {record.id for pairs in found.values() for record, _ in pairs}

    async def state(self) -> Mapping[str, Any]:
        async with self.database.read() as session:
            return {feed.name: feed for feed in await repository.feeds(session)}


@pytest.fixture
def station(database: Database, http: OutgoingClient, server: FeedServer, tmp_path: Path) -> Station:
    return Station(database, http, server, tmp_path / "feeds")


def osv(identity: str, *, fixed: str = "2.0.0") -> dict[str, Any]:
    ranges = [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
    package = {"ecosystem": "npm", "name": "thing"}
    return {"id": identity, "modified": "2024-05-01T00:00:00Z", "affected": [{"package": package, "ranges": ranges}]}


def archive(*documents: dict[str, Any], **members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for document in documents:
            file.writestr(f"{document['id']}.json", json.dumps(document))
        for name, data in members.items():
            file.writestr(f"{name}.json", data)
    return packed.getvalue()


def tracker(**packages: str) -> bytes:
    """Debian's dump: of each package one open flaw, a CVE's number."""
    state = {"status": "open", "repositories": {"bookworm": "1"}, "urgency": "not yet assigned"}
    flaws = {name: {f"CVE-2024-{number}": {"releases": {"bookworm": state}}} for name, number in packages.items()}
    return json.dumps(flaws).encode()


def secdb(repository_name: str, **packages: str) -> bytes:
    entries = [{"pkg": {"name": name, "secfixes": {"1.0": [f"CVE-2024-{cve}"]}}} for name, cve in packages.items()]
    return json.dumps({"distroversion": "v3.20", "reponame": repository_name, "packages": entries}).encode()


async def test_a_feed_is_fetched_followed_and_left_alone(station: Station) -> None:
    station.server.publish("/npm/all.zip", archive(osv("GHSA-1"), osv("GHSA-2")))
    first = await station.update("osv:npm")
    assert first is not None
    assert (first.records, first.changed) == (2, 2)
    assert list(station.directory.iterdir()) == [], "what is in the store needs no file"

    assert await station.update("osv:npm") is None
    station.server.publish("/npm/all.zip", archive(osv("GHSA-1", fixed="3.0.0"), osv("GHSA-3"), osv("GHSA-4")))
    station.clock.advance(hours=1)
    second = await station.update("osv:npm")
    assert second is not None
    assert (second.records, second.changed, second.removed) == (3, 3, 1)
    assert await station.ids("npm", "thing") == {"GHSA-1", "GHSA-3", "GHSA-4"}
    state = (await station.state())["osv:npm"]
    assert (state.checked_at, state.changed_at, state.error) == (station.clock(), station.clock(), None)


async def test_debian_and_alpine_are_as_new_as_their_files(station: Station) -> None:
    station.server.publish("/tracker.json", tracker(openssl="0001", zlib="0002"))
    station.server.publish("/v3.20/main.json", secdb("main", curl="0003"))
    station.server.publish(
        "/v3.20/community.json", secdb("community", nginx="0003"), modified="Tue, 07 May 2024 07:00:00 GMT"
    )

    await station.update("debian")
    await station.update("alpine:v3.20")

    assert await station.ids("Debian:12", "openssl") == {"DEBIAN-CVE-2024-0001"}
    assert await station.ids("Alpine:v3.20", "curl") == await station.ids("Alpine:v3.20", "nginx")
    dates = {name: state.database_date.isoformat() for name, state in (await station.state()).items()}
    assert dates == dict.fromkeys(("debian", "alpine:v3.20"), "2024-05-06T07:00:00+00:00")


async def test_one_changed_file_of_a_feed_is_read_beside_the_others(station: Station) -> None:
    station.server.publish("/v3.20/main.json", secdb("main", curl="0001"))
    station.server.publish("/v3.20/community.json", secdb("community", nginx="0002"))
    await station.update("alpine:v3.20")

    station.server.publish("/v3.20/community.json", secdb("community", nginx="0003"))
    await station.update("alpine:v3.20")

    assert await station.ids("Alpine:v3.20", "curl") == {"ALPINE-CVE-2024-0001"}
    assert await station.ids("Alpine:v3.20", "nginx") == {"ALPINE-CVE-2024-0003"}
    assert await station.update("alpine:v3.20") is None


BOMB = archive(osv("GHSA-9"), bomb=b"0" * 80_000_000)


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        (b"<html>Sign in to the Wi-Fi</html>", "no advisory"),
        (archive(osv("GHSA-9"))[:-30], "no.* archive|no advisory|readable"),
        (archive(), "no advisory"),
        (archive(osv("GHSA-9")), "shrunk"),
        (archive(*(osv(f"GHSA-{number}") for number in range(4)), broken=b"{"), "cannot be read"),
        (BOMB, "cannot be read"),
        (b"x" * (2 << 20), "larger than"),
    ],
    ids=["not JSON", "cut archive", "empty", "shrunk", "malformed", "bomb", "huge"],
)
async def test_what_is_wrong_is_refused_and_the_old_data_stays(station: Station, published: bytes, reason: str) -> None:
    station.server.publish("/npm/all.zip", archive(*(osv(f"GHSA-{number}") for number in range(4))))
    await station.update("osv:npm")
    station.server.publish("/npm/all.zip", published)

    with pytest.raises(HarborGuardError, match=reason) as refused:
        await station.update("osv:npm")

    assert await station.ids("npm", "thing") == {f"GHSA-{number}" for number in range(4)}
    state = (await station.state())["osv:npm"]
    assert state.error
    assert state.error in refused.value.message
    assert state.lease_owner is None
    station.server.publish("/npm/all.zip", archive(*(osv(f"GHSA-{number}") for number in range(1, 5))))
    assert await station.update("osv:npm") is not None
    assert (await station.state())["osv:npm"].error is None


async def test_a_dump_that_was_cut_does_not_pass_for_a_shorter_one(station: Station) -> None:
    names = {f"package-{number}": f"{number:04}" for number in range(20)}
    station.server.publish("/tracker.json", tracker(**names))
    await station.update("debian")
    whole = tracker(**names, another="9999")
    for cut in (whole[:-1], whole[: len(whole) * 3 // 4], whole + b"{", b"[" * 100_000, b'{"a": ' + b"[" * 100_000):
        station.server.publish("/tracker.json", cut)
        with pytest.raises(HarborGuardError, match="not a JSON object"):
            await station.update("debian")
    assert await station.ids("Debian:12", "package-19") == {"DEBIAN-CVE-2024-0019"}


async def test_shrinking_can_be_accepted(station: Station) -> None:
    station.server.publish("/npm/all.zip", archive(*(osv(f"GHSA-{number}") for number in range(4))))
    await station.update("osv:npm")
    station.server.publish("/npm/all.zip", archive(osv("GHSA-0")))
    assert await station.update("osv:npm", accept_shrink=True) is not None
    assert await station.ids("npm", "thing") == {"GHSA-0"}


async def test_a_download_that_failed_goes_on_next_time(station: Station) -> None:
    data = archive(*(osv(f"GHSA-{number}") for number in range(40)))
    station.server.publish("/npm/all.zip", data)
    station.server.faults = [cut_after(3000), answering(403)]
    with pytest.raises(HarborGuardError, match="403"):
        await station.update("osv:npm")

    await station.update("osv:npm")

    assert station.server.requests[-1].headers["range"] == "bytes=3000-"
    assert len(await station.ids("npm", "thing")) == 40


async def test_a_redirect_inside_is_not_followed(station: Station) -> None:
    station.server.faults = [redirecting("http://10.0.0.1:8080/all.zip")]
    with pytest.raises(HarborGuardError, match="osv:npm could not be updated"):
        await station.update("osv:npm")
    assert (await station.state())["osv:npm"].error


async def test_a_schedule_updates_what_is_due_and_lets_failures_rest(station: Station) -> None:
    schedule = FeedSchedule(
        names=("osv:npm", "debian"), every_seconds=7200, mirrors=station.mirrors, directory=station.directory
    )
    station.server.publish("/tracker.json", tracker(openssl="0001"))

    async def look(**later: float) -> list[str]:
        station.clock.advance(**later)
        station.server.requests.clear()
        await refresh_due(schedule, station.source)
        return [request.path for request in station.server.requests]

    assert await look() == ["/npm/all.zip", "/tracker.json"], "one that fails keeps no other waiting"
    assert await look(minutes=10) == []
    assert await look(minutes=6) == ["/npm/all.zip"]
    station.server.publish("/npm/all.zip", archive(osv("GHSA-1")))
    assert await look(minutes=16) == ["/npm/all.zip"]
    assert await look(minutes=90) == ["/tracker.json"]
    station.clock.advance(hours=3)
    async with filling(station.database, "debian", clock=station.clock):
        assert await look() == ["/npm/all.zip"], "another process has the other"


async def test_an_update_that_was_killed_goes_on(server: FeedServer, tmp_path: Path) -> None:
    """The command line, killed in the middle of a download, with the server that hangs there."""
    data = archive(*(osv(f"GHSA-{number}") for number in range(200)))
    server.publish("/npm/all.zip", data)
    server.faults = [hanging_after(9000)]

    async def command() -> asyncio.subprocess.Process:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONPATH": str(ROOT),
            "HARBORGUARD_DATA_DIR": str(tmp_path / "data"),
            "HARBORGUARD_ADVISORY_FEEDS": "osv:npm",
            "HARBORGUARD_ADVISORY_MIRRORS": f"osv={server.url}/{{name}}/all.zip",
            "HARBORGUARD_OUTGOING_ALLOWED_NETWORKS": "127.0.0.1/32",
        }
        arguments = ("-m", "app.cli", "advisories", "update")
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE
        )

    killed = await command()
    await asyncio.wait_for(server.stalled.wait(), PATIENCE)
    part = tmp_path / "data/feeds/osv-npm-0.zip.part"

    async def arrived() -> bool:
        return part.exists() and part.stat().st_size > 0

    await until(arrived)
    killed.send_signal(signal.SIGKILL)
    await killed.communicate()
    held = part.stat().st_size
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'data/harborguard.db'}")
    async with database.write() as session:  # as if the minute had passed after which a dead process loses its feed
        await repository.release_feed(session, await _owner(session))
    await database.close()

    again = await command()
    printed, _ = await again.communicate()

    assert again.returncode == 0
    assert b"200 advisories, 200 new or changed" in printed
    assert server.requests[-1].headers["range"] == f"bytes={held}-"


async def _owner(session: Any) -> repository.Filling:
    (feed,) = await repository.feeds(session)
    return repository.Filling(feed=feed.name, owner=feed.lease_owner or "", generation=0, records=0, validators={})
