"""The inventory over all images, against what the scans were made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from schema.dependencies.records import PackageRecord, PackageType
from schema.dependencies.repository import (
    DependencyFilter,
    count_licenses,
    every_dependency,
    list_dependencies,
    list_occurrences,
)
from schema.images.models import Image
from schema.kernel.pagination import PageRequest
from schema.vulnerabilities.records import Severity
from tests.identity import Identity, Member
from tests.schema.scans.factories import NOW, finding, package, results, rows, scanned


def maven(version: str) -> PackageRecord:
    name = "org.apache.logging.log4j:log4j-core"
    return replace(
        package(name, version, path=f"app/log4j-core-{version}.jar"),
        type=PackageType.MAVEN,
        ecosystem="Maven",
        purl=f"pkg:maven/org.apache.logging.log4j/log4j-core@{version}",
        licenses=("Apache-2.0",),
    )


OPENSSL, LIBC = package("openssl", "3.0.1"), replace(package("libc6", "2.36"), licenses=("LGPL-2.1", "MIT"))


@pytest.fixture
async def ada(identity: Identity) -> Member:
    """Two images of three tags; one of them was scanned twice."""
    ada = await identity.member()
    for image, packages, hour in (
        ("ghcr.io/acme/api:1", (OPENSSL, LIBC, maven("2.14.1"), package("gone")), 0),
        ("ghcr.io/acme/api:1", (OPENSSL, LIBC, maven("2.14.1")), 1),
        ("ghcr.io/acme/api:2", (package("openssl", "3.0.2"), maven("2.17.0")), 2),
        ("ghcr.io/acme/web:1", (OPENSSL, maven("2.9.0"), replace(package("odd"), licenses=())), 3),
    ):
        found = [finding("CVE-2026-1", Severity.CRITICAL, of=OPENSSL)] if OPENSSL in packages else []
        await scanned(
            identity.database,
            ada.principal,
            results(*found, packages=packages),
            now=NOW + timedelta(hours=hour),
            image=image,
        )
    return ada


async def listed(identity: Identity, ada: Member, sort: str | None = None, **asked: Any) -> list[tuple[object, ...]]:
    async with identity.database.read() as session:
        page = await list_dependencies(
            session,
            ada.organization_id,
            DependencyFilter(**asked),
            PageRequest(sort=sort),
        )
    assert page.meta.total == len(page.items)
    return [(each.name, each.versions, each.image_count, each.open[Severity.CRITICAL]) for each in page.items]


LOG4J = "org.apache.logging.log4j:log4j-core"


async def test_what_the_latest_scans_see_is_listed_once(identity: Identity, ada: Member) -> None:
    everything = [
        ("libc6", ["2.36"], 1, 0),
        ("odd", ["3.0.1"], 1, 0),
        ("openssl", ["3.0.2", "3.0.1"], 2, 2),
        (LOG4J, ["2.17.0", "2.14.1", "2.9.0"], 2, 0),
    ]
    assert await listed(identity, ada) == everything
    assert await listed(identity, ada, "name:desc") == everything[::-1]
    assert [row[0] for row in await listed(identity, ada, "imageCount:desc")] == ["openssl", LOG4J, "libc6", "odd"]
    assert await listed(identity, ada, types=[PackageType.MAVEN]) == everything[3:]
    assert await listed(identity, ada, search="SSL") == [everything[2]]
    assert await listed(identity, ada, license="mit") == [everything[0]]
    assert await listed(identity, ada, license="MI") == []
    [web] = [image for image in await rows(identity.database, Image) if image.name.endswith("web")]
    assert await listed(identity, ada, image_id=web.id, search="openssl") == [("openssl", ["3.0.1"], 1, 1)]


async def test_pages_follow_each_other(identity: Identity, ada: Member) -> None:
    names = []
    for number in (1, 2):
        async with identity.database.read() as session:
            request = PageRequest(page=number, limit=3)
            page = await list_dependencies(session, ada.organization_id, DependencyFilter(), request)
        names += [each.name for each in page.items]
        assert (page.meta.total, page.meta.total_pages, page.meta.has_next) == (4, 2, number == 1)
    assert names == ["libc6", "odd", "openssl", LOG4J]


@pytest.mark.parametrize(
    ("name", "from_", "below", "found"),
    [
        ("log4j-core", None, "2.17", [("api", "1", "2.14.1"), ("web", "1", "2.9.0")]),
        (LOG4J, "2.10", "2.17", [("api", "1", "2.14.1")]),
        ("log4j-core", "2.17", None, [("api", "2", "2.17.0")]),
        ("log4j", None, None, []),
        ("openssl", None, "3.0.2", [("api", "1", "3.0.1"), ("web", "1", "3.0.1")]),
        ("gone", None, None, []),
    ],
)
async def test_where_is_it(
    identity: Identity, ada: Member, name: str, from_: str | None, below: str | None, found: list[tuple[str, ...]]
) -> None:
    async with identity.database.read() as session:
        page = await list_occurrences(session, ada.organization_id, name, PageRequest(), from_=from_, below=below)
    assert [(each.image_name.rpartition("/")[2], each.tag, each.version) for each in page.items] == found
    assert page.meta.total == len(found)


async def test_licenses_are_counted_by_dependency(identity: Identity, ada: Member) -> None:
    async with identity.database.read() as session:
        counted = await count_licenses(session, ada.organization_id, DependencyFilter())
    assert counted == [("Apache-2.0", 2), ("", 1), ("LGPL-2.1", 1), ("MIT", 1)]


async def test_nothing_of_another_organization_is_there(identity: Identity, ada: Member) -> None:
    eve = await identity.member(email="eve@omega.example")
    assert await listed(identity, eve) == []
    async with identity.database.read() as session:
        assert await count_licenses(session, eve.organization_id, DependencyFilter()) == []
        assert (await list_occurrences(session, eve.organization_id, "openssl", PageRequest())).items == []
    assert ada.organization_id != eve.organization_id


async def test_the_export_has_every_row_once_however_many_pages(
    identity: Identity, ada: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schema.dependencies.repository.EXPORTED_AT_ONCE", 2)
    pieces = [piece async for piece in every_dependency(identity.database, ada.organization_id, DependencyFilter())]
    assert [each.name for piece in pieces for each in piece] == ["libc6", "odd", "openssl", LOG4J]
    assert len(pieces) == 3
