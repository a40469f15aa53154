"""What every feed tells of a CVE, put together."""

from __future__ import annotations

from typing import Any

import pytest

from schema.advisories.osv import parse_osv
from schema.cves.models import Cve
from schema.cves.records import load_cve
from schema.kernel.database import Database
from schema.kernel.errors import ErrorCode, HarborGuardError
from schema.vulnerabilities.records import Severity
from tests.schema.advisories.factories import advisory, entry
from tests.workers.workshop import store_advisories

CVE = "CVE-2024-3094"
CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"
LOW = "CVSS:3.1/AV:L/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"
NOBODY = "org-nobody"


def by_nvd(**more: Any) -> Any:
    rating = [{"type": "CVSS_V3", "score": LOW}]
    stated = {"id": CVE, "modified": "2024-05-01T00:00:00Z", "details": "A flaw of xz.", "severity": rating}
    return parse_osv(stated | {"published": "2024-03-29T00:00:00Z"} | more)


def by_debian(**more: Any) -> Any:
    return advisory(f"DEBIAN-{CVE}", entry("Debian:12", "xz-utils", ("introduced", "0")), aliases=[CVE], **more)


RATED = {"severity": [{"type": "CVSS_V3", "score": CRITICAL}], "summary": "xz: a back door"}


async def test_nvds_word_goes_first(database: Database) -> None:
    await store_advisories(database, [by_nvd()], feed="nvd:2024")
    await store_advisories(database, [by_debian(**RATED)], feed="debian")
    async with database.write() as session:
        session.add(Cve(id=CVE, kev=True, epss=0.9))
    async with database.read() as session:
        record = await load_cve(session, NOBODY, CVE)

    assert (record.title, record.severity, record.cvss) == ("A flaw of xz.", Severity.LOW, 1.8)
    assert [score.vector for score in record.cvss_scores] == [LOW]
    assert [(each.feed, each.severity) for each in record.advisories] == [
        ("debian", Severity.CRITICAL),
        ("nvd:2024", Severity.LOW),
    ]
    assert (record.exploitation.kev, record.exploitation.epss, record.rejected) == (True, 0.9, False)
    assert (record.vulnerabilities, record.images) == (0, 0)


async def test_the_advisories_rate_what_nvd_does_not(database: Database) -> None:
    await store_advisories(database, [by_nvd(severity=[])], feed="nvd:2024")
    await store_advisories(database, [by_debian(**RATED)], feed="debian")
    async with database.read() as session:
        record = await load_cve(session, NOBODY, CVE)
    assert (record.severity, record.cvss, record.exploitation.kev) == (Severity.CRITICAL, 10.0, False)


async def test_a_rejected_one_says_so(database: Database) -> None:
    await store_advisories(database, [by_nvd(withdrawn="2024-06-01T00:00:00Z")], feed="nvd:2024")
    async with database.read() as session:
        assert (await load_cve(session, NOBODY, CVE)).rejected


async def test_what_nobody_knows_is_not_there(database: Database) -> None:
    await store_advisories(database, [by_debian()], feed="debian")
    async with database.read() as session:
        with pytest.raises(HarborGuardError) as raised:
            await load_cve(session, NOBODY, "CVE-2024-0001")
    assert raised.value.code is ErrorCode.NOT_FOUND
