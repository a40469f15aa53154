"""Downloads: whole or not at all, in parts that fit together, whatever the server does in between."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from app.outgoing import OutgoingClient
from schema.kernel.errors import HarborGuardError
from schema.kernel.ports import OutgoingError, OutgoingErrorKind
from tests.simulators.feeds import (
    FeedServer,
    altered,
    announcing,
    answering,
    cut_after,
    dripping,
    from_the_start,
    hanging_after,
    redirecting,
)
from workers.feeds import download as downloads
from workers.feeds.download import ATTEMPTS, Downloaded, Version, download

DATA = hashlib.shake_128(b"a").digest(200_000)
OTHER = hashlib.shake_128(b"b").digest(150_000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""

    monkeypatch.setattr(downloads, "WAIT_SECONDS", 0.0)


async def fetch(
    http: OutgoingClient, server: FeedServer, directory: Path, *, known: Version | None = None, max_bytes: int = 1 << 20
) -> Downloaded | None:
    return await download(http, f"{server.url}/all.zip", directory / "feed.zip", known=known, max_bytes=max_bytes)


def ranges(server: FeedServer) -> list[str]:
    return [request.headers.get("range", "") for request in server.requests]


def left_behind(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def test_a_whole_file(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA, checksum=True)
    server.faults = [dripping]

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == DATA
    assert found.version.date is not None
    assert found.version.date.isoformat() == "2024-05-06T07:00:00+00:00"


async def test_it_goes_on_where_it_was_cut(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA, checksum=True)
    server.faults = [cut_after(70_000), cut_after(50_000), hanging_after(10_000)]

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == DATA
    assert ranges(server) == ["", "bytes=70000-", "bytes=120000-", "bytes=130000-"]


async def test_another_process_goes_on(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    server.faults = [cut_after(70_000), answering(404)]
    with pytest.raises(HarborGuardError, match="answered 404"):
        await fetch(http, server, tmp_path)

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == DATA
    assert ranges(server)[-1] == "bytes=70000-"


@pytest.mark.parametrize("lies", [False, True], ids=["honest", "ignores If-Range"])
async def test_a_file_that_changed_meanwhile_is_fetched_anew(
    http: OutgoingClient, server: FeedServer, tmp_path: Path, *, lies: bool
) -> None:
    server.publish("/all.zip", DATA)
    server.faults = [cut_after(70_000), answering(404)]
    with pytest.raises(HarborGuardError):
        await fetch(http, server, tmp_path)
    server.publish("/all.zip", OTHER)
    if lies:
        headers = {"content_range": f"bytes 70000-{len(OTHER) - 1}/{len(OTHER)}", "etag": '"other"'}
        server.faults = [answering(206, OTHER[70_000:], **headers)]

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == OTHER


async def test_a_part_from_elsewhere_is_not_taken(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    server.faults = [cut_after(70_000), from_the_start]

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == DATA


@pytest.mark.parametrize("etag", ["", 'W/"weak"'], ids=["without", "weak"])
async def test_without_a_strong_etag_the_date_decides(
    http: OutgoingClient, server: FeedServer, tmp_path: Path, etag: str
) -> None:
    server.publish("/all.zip", DATA, etag=etag)
    server.faults = [cut_after(70_000)]
    found = await fetch(http, server, tmp_path)
    assert found is not None
    assert found.path.read_bytes() == DATA
    assert ranges(server) == ["", "bytes=70000-"]


async def test_without_any_mark_it_begins_again(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA, etag="", modified="")
    server.faults = [cut_after(70_000)]

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == DATA
    assert ranges(server) == ["", ""]


async def test_416_begins_again(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    server.faults = [cut_after(70_000), answering(416, content_range="bytes */9")]

    found = await fetch(http, server, tmp_path)

    assert found is not None
    assert found.path.read_bytes() == DATA
    assert ranges(server) == ["", "bytes=70000-", ""]


async def test_what_is_known_is_not_fetched_again(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    found = await fetch(http, server, tmp_path)
    assert found is not None
    found.path.unlink()
    known = Version(found.version.url, found.version.etag, found.version.modified)

    assert await fetch(http, server, tmp_path, known=known) is None
    assert server.requests[-1].headers["if-none-match"] == found.version.etag
    server.publish("/all.zip", OTHER)
    changed = await fetch(http, server, tmp_path, known=known)
    assert changed is not None
    assert changed.path.read_bytes() == OTHER


async def test_a_whole_file_that_was_not_used_is_kept(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    await fetch(http, server, tmp_path)

    again = await fetch(http, server, tmp_path)

    assert again is not None
    assert again.path.read_bytes() == DATA
    assert "if-none-match" in server.requests[-1].headers


async def test_bytes_that_are_not_what_the_publisher_says(
    http: OutgoingClient, server: FeedServer, tmp_path: Path
) -> None:
    server.publish("/all.zip", DATA, checksum=True)
    server.faults = [altered] * ATTEMPTS
    with pytest.raises(HarborGuardError, match="checksum"):
        await fetch(http, server, tmp_path)
    assert left_behind(tmp_path) == []

    server.faults = [altered]
    found = await fetch(http, server, tmp_path)
    assert found is not None
    assert found.path.read_bytes() == DATA


async def test_a_server_that_brings_nothing_is_given_up(
    http: OutgoingClient, server: FeedServer, tmp_path: Path
) -> None:
    server.publish("/all.zip", DATA)
    server.faults = [answering(503)] * ATTEMPTS
    with pytest.raises(HarborGuardError, match="503"):
        await fetch(http, server, tmp_path)
    assert len(server.requests) == ATTEMPTS

    server.faults = [announcing(len(DATA) + 1), *[cut_after(0)] * (ATTEMPTS + 5)]
    with pytest.raises((OutgoingError, HarborGuardError)):
        await fetch(http, server, tmp_path)


async def test_a_file_over_the_limit(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    with pytest.raises(OutgoingError) as refused:
        await fetch(http, server, tmp_path, max_bytes=len(DATA) - 1)
    assert refused.value.kind is OutgoingErrorKind.TOO_LARGE
    server.faults = [cut_after(90_000), answering(206, b"x", content_range="bytes 90000-90000/99999999999")]
    with pytest.raises((OutgoingError, HarborGuardError)):
        await fetch(http, server, tmp_path, max_bytes=100_000)
    assert not (tmp_path / "feed.zip").exists()


async def test_a_redirect_to_where_nobody_may_go(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.faults = [redirecting("http://169.254.169.254/latest/meta-data/")]
    with pytest.raises(OutgoingError) as refused:
        await fetch(http, server, tmp_path)
    assert refused.value.kind is OutgoingErrorKind.BLOCKED
    assert len(server.requests) == 1


async def test_a_note_nobody_can_read_is_no_note(http: OutgoingClient, server: FeedServer, tmp_path: Path) -> None:
    server.publish("/all.zip", DATA)
    (tmp_path / "feed.zip.part").write_bytes(b"of something else")
    for note in (b"", b"[]", b'{"url": 1}', b"\x00"):
        (tmp_path / "feed.zip.version").write_bytes(note)
        found = await fetch(http, server, tmp_path)
        assert found is not None
        assert found.path.read_bytes() == DATA
