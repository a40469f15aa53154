"""Documents and comparisons over REST and GraphQL, of scans as workers leave them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from schema.documents.formats import RENDERERS, DocumentFormat
from schema.images.repository import get_image
from schema.kernel.ids import IdPrefix, new_id
from schema.kernel.principal import ActorKind, Principal, Role
from schema.scans.models import Scan
from schema.scans.repository import load_scan
from schema.vulnerabilities.records import Severity
from tests.app.site import Site, Tenant, on_sqlite
from tests.schema.documents import standards
from tests.schema.scans import factories as made


def principal_of(tenant: Tenant) -> Principal:
    return Principal(
        organization_id=tenant.organization_id,
        role=Role.ADMIN,
        actor_kind=ActorKind.USER,
        actor_id=tenant.user_id,
        user_id=tenant.user_id,
        credential_id="ses-test",
    )


OLD = made.package("openssl", "3.0.1")
NEW = made.package("openssl", "3.0.2")


@pytest.fixture
async def scans(site: Site, tenant: Tenant) -> tuple[Scan, Scan]:
    """Two scans of one image under two tags, an hour apart: one flaw fixed, one new, one of another severity."""
    principal = principal_of(tenant)
    before = made.results(
        made.finding("CVE-2024-1", of=OLD),
        made.finding("CVE-2024-2", of=OLD),
        packages=(OLD, made.package("zlib", "1")),
    )
    after = made.results(
        made.finding("CVE-2024-2", Severity.CRITICAL, of=NEW),
        made.finding("CVE-2024-3", of=NEW),
        packages=(NEW, made.package("zlib", "1")),
        digest="sha256:" + "e" * 64,
    )
    later = made.NOW + timedelta(hours=1)
    return (
        await made.scanned(site.database, principal, before, image="ghcr.io/acme/api:1.4.7"),
        await made.scanned(site.database, principal, after, image="ghcr.io/acme/api:1.4.8", now=later),
    )


async def ask(client: httpx.AsyncClient, tenant: Tenant, query: str, **variables: Any) -> Any:
    body = {"query": query, "variables": variables}
    return (await client.post("/graphql", json=body, headers=tenant.headers())).json()


@pytest.mark.parametrize("wanted", DocumentFormat)
async def test_rest_and_graphql_give_the_same_document(
    client: httpx.AsyncClient, tenant: Tenant, scans: tuple[Scan, Scan], wanted: DocumentFormat
) -> None:
    scan = scans[0]
    url = f"/api/scans/{scan.id}/export?format={wanted}"
    response = await client.get(url, headers=tenant.headers())
    selection = "document(format: $format) { mediaType filename content }"
    query = f"query ($id: ID!, $format: DocumentFormat!) {{ scan(id: $id) {{ {selection} }} }}"
    document = (await ask(client, tenant, query, id=scan.id, format=wanted))["data"]["scan"]["document"]

    assert response.status_code == 200
    assert response.text == document["content"]
    media_type = RENDERERS[wanted].media_type
    assert document["mediaType"] == media_type
    assert response.headers["content-type"].startswith(media_type)
    filename = f"api-{scan.id}{RENDERERS[wanted].suffix}"
    assert document["filename"] == filename
    assert response.headers["content-disposition"] == f'attachment; filename="{filename}"'
    assert (await client.get(url, headers=tenant.headers())).content == response.content


@on_sqlite
async def test_stored_scans_keep_to_the_standards(
    client: httpx.AsyncClient, tenant: Tenant, scans: tuple[Scan, Scan]
) -> None:
    async def get(path: str) -> bytes:
        response = await client.get(f"/api/scans/{scans[1].id}/{path}", headers=tenant.headers())
        assert response.status_code == 200, response.text
        return response.content

    assert standards.json_problems(standards.cyclonedx_schema(), await get("sbom")) == []
    assert standards.spdx_problems(await get("sbom?format=spdx")) == []
    sarif = await get("sarif")
    assert standards.json_problems(standards.sarif_schema(), sarif) == []
    assert sarif == await get("export?format=sarif")
    split = json.loads(await get("sarif?perEngine=true"))
    assert [run["tool"]["driver"]["name"] for run in split["runs"]] == ["native"]
    assert standards.json_problems(standards.GITLAB, await get("export?format=gitlab")) == []
    assert standards.junit_problems(await get("export?format=junit")) == []
    bom = json.loads(await get("sbom"))
    assert {each["id"] for each in bom["vulnerabilities"]} == {"CVE-2024-2", "CVE-2024-3"}
    assert {"name": "harborguard:operatingSystem", "value": "Debian 12"} in bom["metadata"]["component"]["properties"]


async def test_an_image_means_its_latest_scan_and_a_tag_that_of_the_tag(
    client: httpx.AsyncClient, tenant: Tenant, scans: tuple[Scan, Scan]
) -> None:
    old, new = scans

    async def get(path: str) -> httpx.Response:
        return await client.get(f"/api/images/{new.image_id}/{path}", headers=tenant.headers())

    async def of_scan(scan: Scan, path: str) -> bytes:
        return (await client.get(f"/api/scans/{scan.id}/{path}", headers=tenant.headers())).content

    assert (await get("sbom")).content == await of_scan(new, "sbom")
    assert (await get("sarif?tag=1.4.7")).content == await of_scan(old, "sarif")
    assert (await get("export?format=json&tag=1.4.8")).content == await of_scan(new, "export?format=json")
    assert (await get("sbom?tag=nowhere")).status_code == 404
    assert (await get("export?format=pdf")).status_code == 400
    assert (await get("export")).status_code == 400


@on_sqlite
async def test_a_scan_that_is_not_complete_is_a_conflict(client: httpx.AsyncClient, site: Site, tenant: Tenant) -> None:
    scan_id = await made.trigger(site.database, principal_of(tenant))
    async with site.database.read() as session:
        scan = await load_scan(session, tenant.organization_id, scan_id)
        assert (await get_image(session, tenant.organization_id, scan.image_id)).id == scan.image_id
    for path in (f"scans/{scan_id}/sbom", f"scans/{scan_id}/sarif", f"images/{scan.image_id}/sbom"):
        response = await client.get(f"/api/{path}", headers=tenant.headers())
        assert (response.status_code, response.json()["error"]["code"]) == (409, "CONFLICT")
    compared = await client.get(f"/api/scans/compare?base={scan_id}&target={scan.tag_id}", headers=tenant.headers())
    assert compared.status_code == 409
    assert "QUEUED" in compared.json()["error"]["message"]


async def test_comparing_tells_what_is_new_fixed_and_changed(
    client: httpx.AsyncClient, tenant: Tenant, scans: tuple[Scan, Scan]
) -> None:
    old, new = scans
    answers = []
    for base, target in ((old.id, new.id), (old.tag_id, new.tag_id), (old.tag_id, new.image_id)):
        response = await client.get(f"/api/scans/compare?base={base}&target={target}", headers=tenant.headers())
        assert response.status_code == 200, response.text
        answers.append(response.json()["data"])
    assert answers[0] == answers[1] == answers[2]
    (compared, *_) = answers
    assert (compared["base"]["scanId"], compared["target"]["scanId"]) == (old.id, new.id)
    findings, packages = compared["findings"], compared["packages"]
    assert [(each["change"], each["cveId"]) for each in findings["items"]] == [
        ("ADDED", "CVE-2024-3"),
        ("FIXED", "CVE-2024-1"),
        ("CHANGED", "CVE-2024-2"),
    ]
    assert findings["items"][2]["base"] == {"versions": ["3.0.1"], "severity": "HIGH", "fixedVersions": ["3.0.2"]}
    assert findings["items"][2]["target"]["severity"] == "CRITICAL"
    assert (packages["changed"], packages["unchanged"]) == (1, 1)
    assert packages["items"][0]["targetVersions"] == ["3.0.2"]
    query = "query ($a: ID!, $b: ID!) { compareScans(base: $a, target: $b) { findings { items { cveId change } } } }"
    told = (await ask(client, tenant, query, a=old.id, b=new.id))["data"]["compareScans"]["findings"]["items"]
    assert told == [{"cveId": each["cveId"], "change": each["change"]} for each in findings["items"]]


@on_sqlite
async def test_what_differs_comes_in_pages(client: httpx.AsyncClient, tenant: Tenant, scans: tuple[Scan, Scan]) -> None:
    url = f"/api/scans/compare?base={scans[0].id}&target={scans[1].id}&limit=2&page="
    pages = [(await client.get(f"{url}{page}", headers=tenant.headers())).json()["data"] for page in (1, 2, 3)]
    assert [len(page["findings"]["items"]) for page in pages] == [2, 1, 0]
    assert [page["findings"]["fixed"] for page in pages] == [1, 1, 1]
    assert (await client.get(f"{url}0", headers=tenant.headers())).status_code == 400


@on_sqlite
@pytest.mark.parametrize("prefix", [IdPrefix.SCAN, IdPrefix.TAG, IdPrefix.IMAGE, IdPrefix.USER])
async def test_a_foreign_or_unknown_side_is_not_found(
    client: httpx.AsyncClient, site: Site, scans: tuple[Scan, Scan], prefix: IdPrefix
) -> None:
    stranger = await site.tenant("stranger")
    own = await made.scanned(site.database, principal_of(stranger), made.results(made.finding()))
    foreign = {IdPrefix.SCAN: scans[0].id, IdPrefix.TAG: scans[0].tag_id, IdPrefix.IMAGE: scans[0].image_id}
    told = set()
    for other in (new_id(prefix), foreign.get(prefix) or new_id(prefix)):
        for base, target in ((own.id, other), (other, own.id)):
            response = await client.get(f"/api/scans/compare?base={base}&target={target}", headers=stranger.headers())
            assert response.status_code == 404
            told.add(response.json()["error"]["message"])
    assert len(told) == 1


@on_sqlite
async def test_findings_are_for_those_who_may_see_them(
    client: httpx.AsyncClient, site: Site, tenant: Tenant, scans: tuple[Scan, Scan]
) -> None:
    await site.sign_in(client, tenant)
    created = await client.post(
        "/api/personal-access-tokens",
        json={"name": "scans only", "permissions": ["scans:view"]},
        headers={"X-HarborGuard-Client": "test"},
    )
    client.cookies.clear()
    headers = {"Authorization": f"Bearer {created.json()['data']['secret']}"}
    path = f"/api/scans/{scans[0].id}"

    assert (await client.get(f"{path}/sbom?format=spdx", headers=headers)).status_code == 200
    for refused in (f"{path}/sbom", f"{path}/sarif", f"/api/scans/compare?base={scans[0].id}&target={scans[1].id}"):
        assert (await client.get(refused, headers=headers)).status_code == 403
