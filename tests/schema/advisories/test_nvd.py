"""NVD's feeds: what they say of a CVE is read, rates what nobody else rates, and a part never passes for the whole."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schema.advisories.catalog import find_feed
from schema.advisories.importing import Content, fill_feed, filling
from schema.advisories.osv import AdvisoryFormatError
from schema.advisories.reading import read_records, stream_records
from schema.advisories.records import AdvisoryRecord
from schema.advisories.repository import candidates, ecosystems, ratings
from schema.kernel.database import Database
from schema.kernel.errors import HarborGuardError
from schema.vulnerabilities.records import Severity
from tests.identity import HeldClock
from tests.schema.advisories.factories import advisory, entry

FEED = find_feed("nvd:2024")
AS_OF = datetime(2026, 5, 1, tzinfo=UTC)
HIGH = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"
LOW = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"


def metric(vector: str, *, primary: bool = True) -> dict[str, Any]:
    return {"type": "Primary" if primary else "Secondary", "cvssData": {"version": "3.1", "vectorString": vector}}


def cve(number: int = 3094, **more: Any) -> dict[str, Any]:
    """An item in the shape of NVD's API 2.0."""
    return {
        "cve": {
            "id": f"CVE-2024-{number}",
            "published": "2024-03-29T17:15:21.150",
            "lastModified": "2024-11-21T09:29:04.310",
            "vulnStatus": "Modified",
            "descriptions": [{"lang": "es", "value": "Un fallo."}, {"lang": "en", "value": "A flaw.\nIt is bad."}],
            "metrics": {"cvssMetricV31": [metric(LOW, primary=False), metric(HIGH)]},
            "references": [{"url": "https://example.org/1"}, {"url": "ftp://example.org/2"}],
            "configurations": [{"nodes": []}],
            **more,
        }
    }


def feed(path: Path, *items: Any, **more: Any) -> Path:
    head = {"resultsPerPage": len(items), "totalResults": len(items), "format": "NVD_CVE", "version": "2.0"} | more
    text = json.dumps(head | {"timestamp": "2026-05-01T00:00:00.000", "vulnerabilities": items}).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def read(path: Path) -> tuple[dict[str, AdvisoryRecord], dict[str, str]]:
    """(records, what was refused), by name."""
    outcomes = dict(read_records(FEED, [path], as_of=AS_OF))
    refused = {name: str(each) for name, each in outcomes.items() if isinstance(each, AdvisoryFormatError)}
    return {name: each for name, each in outcomes.items() if isinstance(each, AdvisoryRecord)}, refused


@pytest.mark.parametrize("name", ["nvdcve-2.0-2024.json", "nvdcve-2.0-2024.json.gz"])
def test_a_record_is_about_no_package(tmp_path: Path, name: str) -> None:
    records, refused = read(feed(tmp_path / name, cve()))
    assert refused == {}
    assert records["CVE-2024-3094"] == AdvisoryRecord(
        id="CVE-2024-3094",
        aliases=(),
        summary="A flaw.",
        details="A flaw.\nIt is bad.",
        published=datetime(2024, 3, 29, 17, 15, 21, 150_000, tzinfo=UTC),
        modified=datetime(2024, 11, 21, 9, 29, 4, 310_000, tzinfo=UTC),
        withdrawn=None,
        severity=Severity.HIGH,
        cvss_score=7.5,
        cvss_vectors=(HIGH,),
        references=("https://example.org/1",),
        affected=(),
    )


def test_the_reporters_rating_counts_while_nvd_has_none(tmp_path: Path) -> None:
    records, _ = read(feed(tmp_path / "nvd.json", cve(metrics={"cvssMetricV31": [metric(LOW, primary=False)]})))
    assert records["CVE-2024-3094"].cvss_vectors == (LOW,)


def test_a_rejected_cve_is_withdrawn(tmp_path: Path) -> None:
    records, _ = read(feed(tmp_path / "nvd.json", cve(vulnStatus="Rejected", metrics={}), cve(1000)))
    assert records["CVE-2024-3094"].withdrawn == records["CVE-2024-3094"].modified
    assert records["CVE-2024-1000"].withdrawn is None


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    broken = [{}, {"cve": {"id": "GHSA-1"}}, None, cve(1001, lastModified=None), cve(1002, metrics=[]), cve(1003)]
    records, refused = read(feed(tmp_path / "nvd.json", *broken))
    assert sorted(records) == ["CVE-2024-1002", "CVE-2024-1003"]
    assert sorted(refused) == ["CVE-2024-1001", "vulnerabilities[1]", "vulnerabilities[2]", "vulnerabilities[3]"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"vulnerabilities": [{}',
        b'{"vulnerabilities": [{},]}',
        gzip.compress(b'{"format": "NVD_CVE", "version": "2.0", "totalResults": 0, "vulnerabilities": []}', mtime=0)[
            :-9
        ],
    ],
)
def test_what_is_no_feed_is_refused_as_a_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "nvd.json"
    path.write_bytes(content)
    with pytest.raises(HarborGuardError):
        read(path)


def test_a_page_of_the_api_is_no_feed(tmp_path: Path) -> None:
    with pytest.raises(HarborGuardError, match="says that it has 40000 records and has 1"):
        read(feed(tmp_path / "page.json", cve(), totalResults=40_000))


async def test_it_rates_what_nobody_else_rates_and_covers_nothing(database: Database, tmp_path: Path) -> None:
    clock = HeldClock()
    unrated = advisory(
        "DEBIAN-CVE-2024-3094", entry("Debian:12", "xz-utils", ("introduced", "0")), aliases=["CVE-2024-3094"]
    )
    sources = {
        "debian": iter([("", unrated)]),
        FEED.name: read_records(FEED, [feed(tmp_path / "nvd.json", cve())], as_of=AS_OF),
    }
    for name, records in sources.items():
        async with filling(database, name, clock=clock) as held:
            content = Content(source=name, complete=True)
            await fill_feed(database, held, content, stream_records(records), clock=clock)

    async with database.snapshot() as session:
        found = await candidates(session, [("Debian:12", "xz-utils")])
        rated = await ratings(session, ["CVE-2024-3094"])
        covered = [each.ecosystem for each in await ecosystems(session)]
    ((record, _),) = found["Debian:12", "xz-utils"]
    assert record.cvss_vectors == (HIGH,)
    assert rated["CVE-2024-3094"].severity is Severity.HIGH
    assert covered == ["Debian:12"]
