"""What sensors send: received at once, read by a worker, the same scan as any other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select

from schema.dependencies.models import Layer, Package
from schema.images.models import Image, Tag, Upload
from schema.jobs.models import Job
from schema.scans.models import Misconfiguration, Scan, ScanStatus
from schema.vulnerabilities.models import Vulnerability
from schema.vulnerabilities.records import Severity
from tests.app.sensor_site import (
    ALL_ENGINES,
    FINDINGS,
    HOST,
    IMAGE,
    NO_FINDINGS,
    Edge,
    SensorClient,
    envelope,
    open_edge,
)
from tests.app.site import MAX_UPLOAD_BYTES, Site, on_sqlite
from tests.workers.workshop import advisories, store_advisories

SCAN_UUID = "0b8f5ad0-8f0c-4a3e-9c0e-6a1f0e9e4b11"
LAYERS = [
    {"index": 1, "digest": f"sha256:{'b' * 64}", "command": "RUN x", "sizeBytes": 7, "fileCount": 2,
     "topFiles": [{"path": "/x", "size": 7, "status": "added"}]},
    {"index": 0, "command": "ADD rootfs", "sizeBytes": 2**40, "fileCount": 1},
]  # fmt: skip


@pytest.fixture
async def edge(site: Site, tmp_path: Path) -> Edge:
    return await open_edge(site, tmp_path)


@pytest.fixture
async def sensor(edge: Edge, client: httpx.AsyncClient) -> SensorClient:
    opened = SensorClient(client, await edge.key(), second=True)
    await opened.register()
    return opened


async def test_an_envelope_becomes_a_scan(edge: Edge, sensor: SensorClient, client: httpx.AsyncClient) -> None:
    await store_advisories(edge.site.database, advisories("openssl"))  # DSA-0 is CVE-2024-1000, of unknown severity
    scan_id = await edge.trigger(client)
    await sensor.claim()
    assert (await sensor.upload(envelope(scan_id, layers=LAYERS))).status_code == 200
    await edge.work()

    scan = await edge.scan(client, scan_id)
    assert (scan["status"], scan["partial"], scan["origin"]) == ("COMPLETE", False, "sensor")
    assert (scan["image"], scan["digest"]) == (IMAGE, f"sha256:{'d' * 64}")
    # Counted anew: the sensor's own numbers are made up, and so are its grade and its risk.
    counts = scan["counts"]
    assert (counts["critical"], counts["high"], counts["medium"], counts["low"], counts["unknown"]) == (1, 1, 0, 0, 2)
    assert (scan["compliance"], scan["riskScore"]) == ("D", 7)
    found = {row.cve_id: row for row in await edge.rows(Vulnerability)}
    assert {name: (row.severity, row.sources) for name, row in found.items()} == {
        "CVE-2024-0001": (Severity.HIGH, ["trivy"]),
        "GHSA-aaaa-bbbb-cccc": (Severity.CRITICAL, ["grype"]),
        "CVE-2024-1000": (Severity.UNKNOWN, ["osv"]),  # under the name our advisory has for it
        "CVE-2024-0009": (Severity.UNKNOWN, ["grype"]),
    }
    assert found["CVE-2024-1000"].aliases == ["DSA-0"]
    assert found["CVE-2024-0001"].fixed_versions == ["3.0.2-1"]
    assert (found["CVE-2024-0009"].package_name, found["CVE-2024-0009"].package_type) == ("mystery", "generic")
    packages = {(row.name, row.version, row.type.value): row for row in await edge.rows(Package)}
    assert {each: tuple(row.sources) for each, row in packages.items()} == {
        ("libssl3", "3.0.1-1", "deb"): ("trivy", "syft"),
        ("left-pad", "1.0.0", "npm"): ("syft",),
        ("thing", "1", "generic"): ("trivy",),
    }
    library = packages["libssl3", "3.0.1-1", "deb"]
    assert (library.ecosystem, library.source_name, library.licenses) == (
        "Debian:12",
        "openssl",
        ["Apache-2.0", "OpenSSL"],
    )
    checks = {row.check_id: (row.level.value, row.sources, row.evidence) for row in await edge.rows(Misconfiguration)}
    assert checks == {
        "CIS-DI-0001": ("WARN", ["dockle"], ["Last user should not be root"]),
        "DKL-DI-0006": ("WARN", ["dockle"], []),
        "large_layer": ("WARN", ["dive"], ["RUN apt-get install -y everything"]),
    }
    layers = sorted(await edge.rows(Layer), key=lambda row: row.index)
    assert [(row.index, row.created_by, row.diff_size_bytes, row.file_count) for row in layers] == [
        (0, "ADD rootfs", 2**40, 1),
        (1, "RUN x", 7, 2),
    ]
    assert [run["provider"] for run in scan["engines"]] == [
        "trivy 0.69.3", "grype", "syft", "dockle 0.4.15", "osv 2.2.2", "dive 0.13.1",
    ]  # fmt: skip
    raw = await client.get(f"/api/scans/{scan_id}/engines/trivy/raw", headers=edge.tenant.headers())
    assert raw.json()["findings"]["vulnerabilities"][0]["cveId"] == "CVE-2024-0001"
    tag = next(row for row in await edge.rows(Tag) if row.name == "1.4.7")
    assert (tag.digest, tag.last_scan_id) == (f"sha256:{'d' * 64}", scan_id)


async def test_severities_come_from_our_advisories_where_the_sensor_has_none(edge: Edge, sensor: SensorClient) -> None:
    from schema.advisories.osv import parse_osv

    record = {
        "id": "GHSA-dddd-eeee-ffff",
        "aliases": ["CVE-2024-7777"],
        "modified": "2024-05-01T00:00:00Z",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{"package": {"ecosystem": "npm", "name": "left-pad"}, "versions": ["1.0.0"]}],
    }
    await store_advisories(edge.site.database, [parse_osv(record)])
    flaw = {"cveId": "GHSA-dddd-eeee-ffff", "source": "osv", "severity": "INFO", "packageName": "left-pad"}
    findings = {
        **NO_FINDINGS,
        "packages": FINDINGS["packages"],
        "vulnerabilities": [{**flaw, "installedVersion": "1.0.0"}],
    }
    await sensor.upload(envelope(SCAN_UUID, findings=findings))
    await edge.work()
    [row] = await edge.rows(Vulnerability)
    assert (row.cve_id, row.aliases, row.severity, row.cvss, row.sources) == (
        "CVE-2024-7777",
        ["GHSA-dddd-eeee-ffff"],
        Severity.CRITICAL,
        9.8,
        ["osv"],
    )


async def test_an_upload_nobody_asked_for_makes_image_tag_and_scan(
    edge: Edge, sensor: SensorClient, client: httpx.AsyncClient
) -> None:
    first = await sensor.upload(envelope(SCAN_UUID))
    await edge.work()
    again = await sensor.upload(envelope(SCAN_UUID, status="PARTIAL"))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    [scan] = await edge.rows(Scan)
    assert (scan.id, scan.external_id, scan.reference) == (first.json()["scanId"], SCAN_UUID, IMAGE)
    assert scan.scanners == ALL_ENGINES
    [image], [tag] = await edge.rows(Image), await edge.rows(Tag)
    assert (image.id, image.name, image.registry_id) == (first.json()["imageId"], f"{HOST}/team/api", edge.registry_id)
    assert tag.name == "1.4.7"
    assert len(await edge.rows(Upload)) == len(await edge.rows(Job)) == 1


async def test_the_same_id_in_another_organization_is_another_scan(
    site: Site, tmp_path: Path, edge: Edge, sensor: SensorClient, client: httpx.AsyncClient
) -> None:
    stranger = await open_edge(site, tmp_path, "stranger")
    theirs = await SensorClient(client, await stranger.key()).upload(envelope(SCAN_UUID))
    ours = await sensor.upload(envelope(SCAN_UUID))
    assert ours.status_code == theirs.status_code == 200
    assert ours.json()["scanId"] != theirs.json()["scanId"]


async def test_the_same_envelope_twice_in_one_moment_is_one_scan(edge: Edge, sensor: SensorClient) -> None:
    answers = await asyncio.gather(*(sensor.upload(envelope(SCAN_UUID)) for _ in range(4)))
    assert [each.status_code for each in answers] == [200] * 4
    assert len({each.text for each in answers}) == 1
    assert len(await edge.rows(Scan)) == len(await edge.rows(Upload)) == 1
    kept = [path for path in edge.site.uploads.rglob("*") if path.is_file()]
    assert len(kept) == 1


@on_sqlite
@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({"ref": "nginx"}, "docker.io/library/nginx:latest"),
        ({"ref": "ghcr.io/org/app:1.2", "name": "app", "tag": "1.2"}, "ghcr.io/org/app:1.2"),
        (
            {"ref": f"nginx@sha256:{'a' * 64}", "name": "nginx@sha256", "tag": "a" * 64},
            f"docker.io/library/nginx@sha256:{'a' * 64}",
        ),
        ({"ref": "localhost:5000/app:1", "name": "app", "tag": "1"}, "localhost:5000/app:1"),
        ({"ref": "http://localhost:5000/app:1"}, "localhost:5000/app:1"),
        ({"ref": "https://ghcr.io/a/b"}, "ghcr.io/a/b:latest"),
        ({"ref": "/work/My App.tar", "name": "My App.tar", "tag": "latest"}, "localhost/my-app-tar:latest"),
        ({"name": "app", "tag": "2"}, "docker.io/library/app:2"),
    ],
)
async def test_the_reference_decides_where_it_is_filed(
    edge: Edge, sensor: SensorClient, image: dict[str, str], reference: str
) -> None:
    response = await sensor.upload(envelope(SCAN_UUID, image=image))
    assert response.status_code == 200, response.text
    [scan] = await edge.rows(Scan)
    assert scan.reference == reference


@on_sqlite
@pytest.mark.parametrize(
    ("digest", "kept"),
    [
        (f"sha256:{'d' * 64}", f"sha256:{'d' * 64}"),
        (f"ghcr.io/a/b@sha256:{'d' * 64}", f"sha256:{'d' * 64}"),
        ("sha256:short", None),
        ("", None),
        (None, None),
    ],
)
async def test_both_spellings_of_a_digest(
    edge: Edge, sensor: SensorClient, digest: str | None, kept: str | None
) -> None:
    await sensor.upload(envelope(SCAN_UUID, image={"ref": IMAGE, "digest": digest}))
    await edge.work()
    [scan] = await edge.rows(Scan)
    assert (scan.status, scan.digest) == (ScanStatus.COMPLETE, kept)


async def test_some_engines_failed(edge: Edge, sensor: SensorClient, client: httpx.AsyncClient) -> None:
    findings = {**NO_FINDINGS, "packages": FINDINGS["packages"], "vulnerabilities": FINDINGS["vulnerabilities"][:1]}
    uploaded = await sensor.upload(envelope(SCAN_UUID, status="PARTIAL", findings=findings))
    await edge.work()
    scan = await edge.scan(client, uploaded.json()["scanId"])
    assert (scan["status"], scan["partial"]) == ("COMPLETE", True)
    assert {run["engine"]: run["status"] for run in scan["engines"]} == {
        "trivy": "COMPLETE",
        "grype": "FAILED",
        "syft": "COMPLETE",
        "dockle": "FAILED",
        "osv": "FAILED",
        "dive": "FAILED",
    }


@on_sqlite
async def test_an_envelope_of_little_is_taken(edge: Edge, sensor: SensorClient) -> None:
    """Null where Go has no slice or map, nothing where it has nothing, and what nobody knows."""
    findings = {"vulnerabilities": None, "packages": None, "compliance": None, "efficiency": None, "secrets": [1]}
    given: dict[str, Any] = {
        "version": "1.0",
        "sensor": {"version": "0.1.0", "scannerVersions": None, "future": {}},
        "image": {"ref": IMAGE},
        "scan": {"id": SCAN_UUID, "status": "SUCCESS"},
        "findings": findings,
        "aggregates": None,
        "layers": None,
        "future": [],
    }
    assert (await sensor.upload(given)).status_code == 200
    await edge.work()
    [scan] = await edge.rows(Scan)
    assert (scan.status, scan.failure_reason, scan.grade) == (ScanStatus.COMPLETE, None, None)


@on_sqlite
@pytest.mark.parametrize("changes", [{"findings": []}, {"findings": None}])
async def test_what_is_no_envelope_fails_its_scan(edge: Edge, sensor: SensorClient, changes: dict[str, Any]) -> None:
    assert (await sensor.upload(envelope(SCAN_UUID, **changes))).status_code == 200
    await edge.work()
    [scan] = await edge.rows(Scan)
    assert (scan.status, scan.failure_code) == (ScanStatus.FAILED, "REPORT_INVALID")


@on_sqlite
@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "missing"),
        (b"[]", 400, "not a whole JSON object"),
        (b'{"version": "1.0", "image": {', 400, "not a whole JSON object"),
        (b'{"version": "1.0"', 400, "not a whole JSON object"),
        (b'{"version": "2.0", "image": {"ref": "a"}, "scan": {"id": "x"}}', 400, "version: must be 1.0"),
        (b'{"version": "1.0", "image": {"ref": "a"}, "scan": {}}', 400, "scan.id: Required"),
        (b'{"version": "1.0", "image": {}, "scan": {"id": "x"}}', 400, "image.ref: Required"),
        (b'{"version": "1.0", "image": {"ref": "a"}, "scan": {"id": "%s"}}' % (b"x" * 101), 400, "at most 100"),
        (b'{"findings": "' + b"x" * MAX_UPLOAD_BYTES + b'"}', 413, f"larger than {MAX_UPLOAD_BYTES} bytes"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    edge: Edge, sensor: SensorClient, content: bytes, status: int, said: str
) -> None:
    response = await sensor.upload(content)
    assert (response.status_code, said in response.text) == (status, True), response.text
    assert [path for path in edge.site.uploads.rglob("*") if path.is_file()] == []
    async with edge.site.database.read() as session:
        counted = [
            (await session.execute(select(func.count()).select_from(each))).scalar_one() for each in (Scan, Upload)
        ]
    assert counted == [0, 0]


@on_sqlite
async def test_a_cloud_scan_cannot_be_overwritten(edge: Edge, sensor: SensorClient, client: httpx.AsyncClient) -> None:
    scan_id = await edge.trigger(client, "ghcr.io/acme/api:1")
    assert (await sensor.upload(envelope(scan_id))).status_code == 404
    assert (await sensor.status(scan_id, "failed", "mine now")).status_code == 404
    assert (await edge.scan(client, scan_id))["status"] == "QUEUED"


@on_sqlite
async def test_an_envelope_can_be_imported_by_hand(edge: Edge, client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/api/scans/import",
        params={"image": IMAGE},
        content=orjson.dumps(envelope(SCAN_UUID)),
        headers={"Content-Type": "application/json", **edge.tenant.headers()},
    )
    assert response.status_code == 202, response.text
    await edge.work()
    [scan] = await edge.rows(Scan)
    assert (scan.status, scan.origin, scan.external_id) == (ScanStatus.COMPLETE, "cloud", None)
