"""Which vulnerabilities attestations cover."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from sqlmodel import col

from schema.attestations.lifecycle import Statement, attest, revoke
from schema.attestations.models import AttestationCategory, ScopeType
from schema.images.models import Tag
from schema.vulnerabilities.models import Vulnerability
from tests.identity import Identity, Member
from tests.schema.scans.factories import finding, package, results, rows, scanned

FIRST, SECOND = "CVE-2026-0001", "CVE-2026-0002"
FOUND = results(finding(FIRST, of=package("first")), finding(SECOND, of=package("second")))


@pytest.fixture
async def ada(identity: Identity) -> Member:
    return await identity.member()


async def tagged(identity: Identity, ada: Member, *names: str) -> dict[str, str]:
    """The ids of tags whose scans see both flaws."""
    for name in names:
        await scanned(identity.database, ada.principal, FOUND, image=f"ghcr.io/acme/api:{name}")
    return {tag.name: tag.id for tag in await rows(identity.database, Tag)}


def about(flaw: str, tag_id: str) -> Statement:
    return Statement(
        cve_id=flaw,
        package="first" if flaw == FIRST else "second",
        category=AttestationCategory.NOT_APPLICABLE,
        reason="not used",
        scope_type=ScopeType.TAG,
        tag_id=tag_id,
    )


async def covered(identity: Identity) -> dict[str, Any]:
    async with identity.database.read() as session:
        found = await session.execute(select(col(Vulnerability.cve_id), col(Vulnerability.exception_id)))
        return {row[0]: row[1] for row in found}


async def test_a_flaw_of_two_tags_takes_an_attestation_of_each(identity: Identity, ada: Member) -> None:
    tags = await tagged(identity, ada, "1.0", "2.0")
    context = identity.context(ada.principal)

    first = await attest(context, about(FIRST, tags["1.0"]))
    assert await covered(identity) == {FIRST: None, SECOND: None}
    await attest(context, about(FIRST, tags["2.0"]))
    assert await covered(identity) == {FIRST: first, SECOND: None}
    await revoke(context, first, reason="it is used after all")
    assert await covered(identity) == {FIRST: None, SECOND: None}


async def test_an_attestation_of_another_flaw_is_none_of_this_one(identity: Identity, ada: Member) -> None:
    tags = await tagged(identity, ada, "1.0", "2.0")
    context = identity.context(ada.principal)

    await attest(context, about(FIRST, tags["1.0"]))
    await attest(context, about(SECOND, tags["2.0"]))

    assert await covered(identity) == {FIRST: None, SECOND: None}
    by_tag = {tag.name: (tag.high, tag.excepted) for tag in await rows(identity.database, Tag)}
    assert by_tag == {"1.0": (1, 1), "2.0": (1, 1)}, "for the tag's own verdict its attestation is enough"
