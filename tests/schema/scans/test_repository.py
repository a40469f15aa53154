"""What is stored of scans is found again: by status, by words, by page, by scan, and by its owner only."""

from __future__ import annotations

import pytest

from schema.dependencies.records import PackageType
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.kernel.pagination import PageRequest
from schema.scans import repository
from schema.scans.models import Engine, ScanStatus
from tests.identity import Identity, Member
from tests.schema.scans.factories import DIGEST, finding, package, results, scanned, trigger

ALL = PageRequest()


@pytest.fixture
async def ada(identity: Identity) -> Member:
    return await identity.member()


async def references(identity: Identity, member: Member, request: PageRequest = ALL, **how: object) -> list[str]:
    async with identity.database.read() as session:
        page = await repository.list_scans(session, member.organization_id, request, **how)  # type: ignore[arg-type]
    return [row.reference for row in page.items]


async def test_scans_are_listed_by_status_and_words(identity: Identity, ada: Member) -> None:
    await scanned(identity.database, ada.principal, results(finding()), image="ghcr.io/acme/api:1")
    await trigger(identity.database, ada.principal, image="ghcr.io/acme/web:1")

    assert len(await references(identity, ada)) == 2
    assert await references(identity, ada, statuses=[ScanStatus.COMPLETE]) == ["ghcr.io/acme/api:1"]
    assert await references(identity, ada, statuses=[ScanStatus.FAILED]) == []
    assert await references(identity, ada, search="ACME/WEB") == ["ghcr.io/acme/web:1"]
    assert await references(identity, ada, search=DIGEST[:20]) == ["ghcr.io/acme/api:1"]
    assert await references(identity, ada, search="%") == [], "a wildcard is a character like any other"


async def test_packages_are_listed_by_type_and_words(identity: Identity, ada: Member) -> None:
    held = [package("curl"), package("openssl"), package("zlib")]
    scan = await scanned(identity.database, ada.principal, results(packages=held))

    async def names(request: PageRequest = ALL, **how: object) -> list[str]:
        async with identity.database.read() as session:
            page = await repository.list_packages(session, ada.organization_id, scan.id, request, **how)  # type: ignore[arg-type]
        return [row.name for row in page.items]

    assert await names() == ["curl", "openssl", "zlib"]
    assert await names(PageRequest(page=2, limit=2)) == ["zlib"]
    assert await names(search="SSL") == ["openssl"]
    assert await names(search="pkg:deb/debian/zlib") == ["zlib"]
    assert await names(types=[PackageType.NPM]) == []


async def test_a_log_is_read_on_from_where_one_was(identity: Identity, ada: Member) -> None:
    scan_id = await trigger(identity.database, ada.principal)
    for number in range(3):
        async with identity.database.write() as session:
            await repository.write_log(
                session, ada.organization_id, scan_id, f"{number} " + "x" * 3000, now=identity.clock()
            )

    async with identity.database.read() as session:
        lines = await repository.log_lines(session, ada.organization_id, scan_id, after=2)
        tail = await repository.log_tail(session, ada.organization_id, scan_id, lines=2)

    assert [line.sequence for line in lines] == [3, 4]
    assert [line.sequence for line in tail] == [3, 4]
    assert len(tail[-1].message) == 2000


async def test_runs_and_layers_belong_to_their_scan(identity: Identity, ada: Member) -> None:
    first = await scanned(identity.database, ada.principal, results(finding()))
    await scanned(identity.database, ada.principal, results(finding()))

    async with identity.database.read() as session:
        runs = await repository.engine_runs(session, ada.organization_id, first.id)
        layers = await repository.layers(session, ada.organization_id, first.id)

    assert {run.engine for run in runs} == {Engine.TRIVY, Engine.SYFT}
    assert len(layers) == 1


async def test_t02_nothing_of_a_scan_is_shown_to_another_organization(identity: Identity, ada: Member) -> None:
    mallory = await identity.member(email="mallory@umbrella.example")
    scan = await scanned(identity.database, ada.principal, results(finding()))
    theirs = mallory.organization_id

    assert await references(identity, mallory) == []
    async with identity.database.read() as session:
        assert await repository.engine_runs(session, theirs, scan.id) == []
        assert await repository.layers(session, theirs, scan.id) == []
        assert await repository.log_lines(session, theirs, scan.id, after=0) == []
        assert (await repository.list_packages(session, theirs, scan.id, ALL)).items == []
        for look in (
            repository.get_scan(session, theirs, scan.id),
            repository.load_scan(session, theirs, scan.id),
            repository.engine_output(session, theirs, [scan.id], Engine.TRIVY),
        ):
            with pytest.raises(HarborGuardError) as refused:
                await look
            assert refused.value.code is ErrorCode.NOT_FOUND
