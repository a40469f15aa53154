"""The inventory over REST, as a person who looks for a package asks."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

from schema.kernel.principal import ActorKind, Principal, Role
from tests.app.site import Site, Tenant
from tests.schema.scans.factories import package, results, scanned

EVIL = '=HYPERLINK("http://evil.example")'


async def test_a_package_is_found_and_exported(site: Site, tenant: Tenant) -> None:
    principal = Principal(
        organization_id=tenant.organization_id,
        role=Role.OWNER,
        actor_kind=ActorKind.USER,
        actor_id=tenant.user_id,
        user_id=tenant.user_id,
        credential_id="ses-none",
    )
    found = results(packages=(package("openssl", "3.0.1"), replace(package(EVIL), licenses=("MIT",))))
    await scanned(site.database, principal, found)

    async with site.client(headers=tenant.headers()) as client:
        listed = await client.get("/api/dependencies", params={"q": "ssl", "license": "Apache-2.0"})
        where = await client.get("/api/dependencies/occurrences", params={"name": "openssl", "below": "3.0.2"})
        nowhere = await client.get("/api/dependencies/occurrences", params={"name": "openssl", "from": "3.0.2"})
        licenses = await client.get("/api/dependencies/licenses")
        exported = await client.get("/api/dependencies/export")
        refused = await client.get("/api/dependencies/export", params={"imageId": "img-none"})

    [openssl] = listed.json()["data"]
    assert (openssl["versions"], openssl["purl"], openssl["imageCount"]) == (["3.0.1"], "pkg:deb/debian/openssl", 1)
    [occurrence] = where.json()["data"]
    assert (occurrence["imageName"], occurrence["tag"]) == ("ghcr.io/acme/api", "1.4.7")
    assert nowhere.json()["data"] == []
    assert licenses.json()["data"] == [{"license": "Apache-2.0", "count": 1}, {"license": "MIT", "count": 1}]
    assert exported.headers["content-type"] == "text/csv; charset=utf-8"
    assert exported.headers["content-disposition"] == 'attachment; filename="dependencies.csv"'
    header, *lines = list(csv.reader(io.StringIO(exported.text)))
    assert header[:3] == ["name", "type", "versions"]
    assert [line[:3] for line in lines] == [[f"'{EVIL}", "deb", "3.0.1"], ["openssl", "deb", "3.0.1"]]
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "NOT_FOUND")
