"""POST /api/scans/import as a pipeline calls it."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest
from sqlalchemy import func, select

from schema.audit.models import AuditEvent
from schema.images.models import Upload
from schema.jobs.models import Job
from schema.kernel.principal import Role
from schema.scans.models import Scan, SourceKind
from tests.app.site import Site, Tenant, on_sqlite
from tests.workers.imports.samples import CURL, DIGEST, sbom

IMPORT = "/api/scans/import"
IMAGE = "ghcr.io/acme/api:1.4"


async def send(client: httpx.AsyncClient, tenant: Tenant, content: Any = None, **how: Any) -> httpx.Response:
    role, headers, parameters = how.pop("role", Role.ADMIN), how.pop("headers", {}), {"image": IMAGE, **how}
    return await client.post(
        IMPORT,
        params=parameters,
        headers={"Content-Type": "application/json", **tenant.headers(role), **headers},
        content=content if isinstance(content, bytes) else orjson.dumps(content or sbom(CURL)),
    )


async def rows(site: Site, table: Any) -> list[Any]:
    async with site.database.read() as session:
        return list((await session.execute(select(table))).scalars())


async def test_a_report_is_kept_and_queued(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    response = await send(client, tenant, format="cyclonedx", digest=DIGEST, platform="linux/amd64")

    assert response.status_code == 202, response.text
    data = response.json()["data"]
    assert (data["status"], data["scanId"]) == ("QUEUED", data["id"])
    assert response.headers["location"] == data["statusUrl"] == f"/api/scans/{data['id']}/status"
    [scan], [upload], [_] = await rows(site, Scan), await rows(site, Upload), await rows(site, Job)
    assert (scan.source_kind, scan.source) == (SourceKind.REPORT, f"{upload.id} cyclonedx")
    assert (scan.scanners, scan.digest, scan.platform, scan.reference) == ([], DIGEST, "linux/amd64", IMAGE)
    assert site.services.blobs.path(upload.blob).read_bytes() == orjson.dumps(sbom(CURL))
    assert {"report.uploaded", "scan.triggered"} <= {entry.action for entry in await rows(site, AuditEvent)}
    shown = await client.get(f"/api/scans/{data['id']}", headers=tenant.headers())
    assert (shown.status_code, shown.json()["data"]["engines"]) == (200, [])


@on_sqlite
@pytest.mark.parametrize(
    ("content", "how", "status", "said"),
    [
        (b"", {}, 400, "JSON object"),
        (b"[]", {}, 400, "JSON object"),
        (b'{"what": 1}', {}, 400, "of no format that is read here"),
        (None, {"format": "trivy"}, 400, "is CycloneDX JSON, not Trivy JSON"),
        (None, {"format": "pdf"}, 400, "format"),
        (None, {"image": ""}, 400, "image"),
        (None, {"image": "UPPER"}, 400, "image"),
        (None, {"digest": "sha256:x"}, 400, "digest"),
        (None, {"platform": "linux"}, 400, "platform"),
        (
            None,
            {"image": f"{IMAGE}@{DIGEST}", "digest": DIGEST.replace("d", "e")},
            400,
            "another than the one in image",
        ),
        (b'{"artifacts": ["' + b"x" * 2**21 + b'"]}', {}, 413, "larger than"),
        (None, {"headers": {"Content-Type": "text/plain"}}, 415, "application/json"),
        (None, {"headers": {"Content-Encoding": "gzip"}}, 415, "Content-Encoding"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    site: Site, client: httpx.AsyncClient, tenant: Tenant, content: Any, how: dict[str, Any], status: int, said: str
) -> None:
    response = await send(client, tenant, content, **how)

    assert (response.status_code, said in response.text) == (status, True), response.text
    async with site.database.read() as session:
        counted = [
            (await session.execute(select(func.count()).select_from(each))).scalar_one() for each in (Scan, Upload)
        ]
    assert counted == [0, 0]
    assert [path for path in site.uploads.rglob("*") if path.is_file()] == []


@on_sqlite
async def test_whoever_may_trigger_scans_may_import(site: Site, client: httpx.AsyncClient) -> None:
    tenant = await site.tenant("acme", Role.CI, Role.VIEWER)

    assert (await send(client, tenant, role=Role.CI)).status_code == 202
    assert (await send(client, tenant, role=Role.VIEWER)).status_code == 403
    assert (await client.post(IMPORT, params={"image": IMAGE}, content=b"{}")).status_code == 401


@on_sqlite
async def test_one_key_imports_once(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    once = {"Idempotency-Key": "build-1"}
    first, again = [await send(client, tenant, headers=once) for _ in range(2)]
    other = await send(client, tenant, headers=once, format="cyclonedx")

    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert other.status_code == 409
    assert len(await rows(site, Scan)) == 1


@on_sqlite
async def test_another_organization_sees_nothing_of_it(site: Site, client: httpx.AsyncClient, tenant: Tenant) -> None:
    stranger = await site.tenant("stranger")
    scan_id = (await send(client, tenant)).json()["data"]["id"]
    [upload] = await rows(site, Upload)

    assert (await client.get(f"/api/scans/{scan_id}", headers=stranger.headers())).status_code == 404
    taken = {"image": IMAGE, "scanners": ["syft"], "uploadId": upload.id}
    assert (await client.post("/api/scans", json=taken, headers=stranger.headers())).status_code == 404
