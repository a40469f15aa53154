"""VEX: what goes out is valid by the formats' own schemas, and what came in goes out as it came."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from csaf.csaf.v20._validator import validate as validate_csaf  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from schema.attestations.lifecycle import Statement, attest, revoke
from schema.attestations.models import Attestation, AttestationCategory, AttestationStatus, ScopeType
from schema.attestations.vex.exporting import export_vex
from schema.attestations.vex.formats import CODECS
from schema.attestations.vex.importing import Imported, Outcome, import_vex
from schema.attestations.vex.statements import VexFormat
from schema.images.models import Tag
from schema.kernel.errors import HarborGuardError
from schema.vulnerabilities.models import Vulnerability
from tests.app.site import on_sqlite
from tests.identity import Identity, Member
from tests.schema.documents.standards import cyclonedx_schema, json_problems
from tests.schema.scans.factories import DIGEST, finding, package, results, rows, scanned

FIRST, SECOND = "CVE-2026-0001", "CVE-2026-0002"
CATEGORIES = tuple(AttestationCategory)
OPENVEX = jsonschema_rs.Draft202012Validator(
    json.loads((Path(__file__).parent / "openvex-0.2.0.schema.json").read_text()), validate_formats=True
)


def problems(wanted: VexFormat, content: bytes) -> list[str]:
    if wanted is VexFormat.CSAF:
        report = validate_csaf(json.loads(content), preset="basic")
        return [f"{each.id}: {error}" for each in report.results if not each.passed for error in each.errors]
    return json_problems(OPENVEX if wanted is VexFormat.OPENVEX else cyclonedx_schema(), content)


class Organization:
    """One with an image that has two flaws, each in a package of its own."""

    def __init__(self, identity: Identity, ada: Member) -> None:
        self.database, self.ada, self._identity = identity.database, ada, identity

    @property
    def context(self) -> Any:
        return self._identity.context(self.ada.principal)

    async def scan(
        self, *found: Any, image: str = "ghcr.io/acme/api:1.4.7", digest: str = DIGEST, hours: float = -1
    ) -> None:
        now = self._identity.clock() + timedelta(hours=hours)
        await scanned(self.database, self.ada.principal, results(*found, digest=digest), image=image, now=now)

    async def attest(self, cve: str, of: str, category: AttestationCategory, **more: Any) -> str:
        reason = f"of {category.value}"
        return await attest(self.context, Statement(cve_id=cve, package=of, category=category, reason=reason, **more))

    async def take_in(self, document: dict[str, Any]) -> Imported:
        return await import_vex(self.context, document)

    async def take_out(self, wanted: VexFormat) -> dict[str, Any]:
        """Valid by the format's own rules."""
        async with self.database.read() as session:
            written = await export_vex(session, self.ada.principal.organization_id, wanted)
            again = await export_vex(session, self.ada.principal.organization_id, wanted)
        assert written.content == again.content
        assert problems(wanted, written.content) == []
        found: dict[str, Any] = json.loads(written.content)
        return found

    async def said(self) -> set[tuple[Any, ...]]:
        """What holds, without what only this organization gave it: ids and times."""
        return {
            (each.cve_id, each.package_name, each.category, each.reason, each.evidence, each.scope_type, each.tag_id)
            for each in await rows(self.database, Attestation)
            if each.status is AttestationStatus.ACTIVE
        }

    async def forget(self) -> None:
        async with self.database.write() as session:
            await session.execute(delete(Attestation))

    async def tag_id(self) -> str:
        return str((await rows(self.database, Tag))[0].id)


@pytest.fixture
async def acme(identity: Identity) -> Organization:
    found = Organization(identity, await identity.member())
    await found.scan(finding(FIRST, of=package("first")), finding(SECOND, of=package("second")))
    return found


def outcomes(imported: Imported) -> list[tuple[int, Outcome]]:
    return [(result.position, result.outcome) for result in imported.results]


def statement(cve: str = FIRST, *products: str, **said: Any) -> dict[str, Any]:
    named = [{"@id": product} for product in products or ("pkg:deb/debian/first",)]
    given = {"status": "not_affected", "justification": "vulnerable_code_not_present"} | said
    return {"vulnerability": {"name": cve}, "products": named, **given}


def openvex(*statements: dict[str, Any]) -> dict[str, Any]:
    return {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "@id": "https://acme.example/vex/1",
        "author": "Acme",
        "timestamp": "2026-01-02T03:04:05Z",
        "version": 1,
        "statements": list(statements),
    }


@pytest.mark.parametrize("wanted", list(VexFormat))
@pytest.mark.parametrize("scope", list(ScopeType))
async def test_what_went_out_comes_back_whole(acme: Organization, wanted: VexFormat, scope: ScopeType) -> None:
    more: dict[str, Any] = {
        ScopeType.TAG: {"tag_id": await acme.tag_id()},
        ScopeType.HISTORICAL: {"as_of": acme.context.now()},
        ScopeType.BLANKET: {"evidence": "https://tickets.acme.example/1"},
    }[scope]
    for number, category in enumerate(CATEGORIES):
        cve, of = (FIRST, "first") if number % 2 else (SECOND, "second")
        if wanted is VexFormat.CSAF and number > 1:
            break  # of a product one thing is said there
        await acme.attest(cve, of, category, scope_type=scope, **more)
    said, document = await acme.said(), await acme.take_out(wanted)
    await acme.forget()

    imported = await acme.take_in(document)
    assert {result.outcome for result in imported.results} == {Outcome.CREATED}
    assert await acme.said() == said
    again = await acme.take_in(document)
    assert {result.outcome for result in again.results} == {Outcome.UNCHANGED}
    assert await acme.said() == said


CYCLONEDX_GIVEN: dict[str, Any] = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "components": [{"type": "library", "bom-ref": "a", "name": "first", "purl": "pkg:deb/debian/first@3.0.1"}],
    "vulnerabilities": [
        {
            "bom-ref": "v1",
            "id": FIRST,
            "source": {"name": "NVD", "url": "https://nvd.nist.gov/"},
            "ratings": [{"score": 5.0, "severity": "medium", "method": "CVSSv31"}],
            "analysis": {
                "state": "not_affected",
                "justification": "requires_environment",
                "response": ["can_not_fix"],
                "detail": "Only on Windows",
            },
            "affects": [{"ref": "a", "versions": [{"version": "3.0.1", "status": "unaffected"}]}],
        }
    ],
}
CSAF_GIVEN: dict[str, Any] = {
    "document": {"category": "csaf_vex", "csaf_version": "2.0"},
    "product_tree": {
        "branches": [
            {
                "category": "vendor",
                "name": "Debian",
                "branches": [
                    {
                        "category": "product_version",
                        "name": "first",
                        "product": {
                            "product_id": "P1",
                            "name": "first 3.0.1",
                            "product_identification_helper": {"purl": "pkg:deb/debian/first@3.0.1"},
                        },
                    }
                ],
            }
        ]
    },
    "vulnerabilities": [
        {
            "cve": FIRST,
            "title": "A flaw in first",
            "notes": [{"category": "description", "text": "It is flawed"}],
            "product_status": {"known_not_affected": ["P1"]},
            "flags": [{"label": "vulnerable_code_not_present", "product_ids": ["P1"], "date": "2026-01-02T03:04:05Z"}],
            "threats": [{"category": "impact", "details": "Not built in", "product_ids": ["P1"]}],
        }
    ],
}


def heard(wanted: VexFormat, document: dict[str, Any]) -> Any:
    """What a document says, without who says it and when."""
    if wanted is VexFormat.OPENVEX:
        return document["statements"]
    if wanted is VexFormat.CYCLONEDX:
        return document["components"], document["vulnerabilities"]
    return document["product_tree"], document["vulnerabilities"]


@pytest.mark.parametrize(
    ("wanted", "document"),
    [
        (
            VexFormat.OPENVEX,
            openvex(
                statement(timestamp="2026-01-02T03:04:05Z", status_notes="Seen by Ada", supplier="Debian"),
                statement(SECOND, "pkg:deb/debian/second", timestamp="2026-01-03T00:00:00Z"),
            ),
        ),
        (VexFormat.CYCLONEDX, CYCLONEDX_GIVEN),
        (VexFormat.CSAF, CSAF_GIVEN),
    ],
    ids=lambda value: value.value if isinstance(value, VexFormat) else "",
)
async def test_u41_what_came_in_goes_out_as_it_came(
    acme: Organization, wanted: VexFormat, document: dict[str, Any]
) -> None:
    imported = await acme.take_in(document)
    assert {result.outcome for result in imported.results} == {Outcome.CREATED}

    assert heard(wanted, await acme.take_out(wanted)) == heard(wanted, document)
    for other in VexFormat:
        await acme.take_out(other)

    first = next(result for result in imported.results if result.attestation_id)
    await acme.attest(SECOND, "second", AttestationCategory.RISK_ACCEPTED)
    await revoke(acme.context, str(first.attestation_id), reason="it was wrong")
    assert heard(wanted, document) != heard(wanted, await acme.take_out(wanted))


async def test_what_it_inherits_it_says_itself(acme: Organization) -> None:
    await acme.take_in(openvex(statement()))
    [said] = (await acme.take_out(VexFormat.OPENVEX))["statements"]
    assert said == statement(timestamp="2026-01-02T03:04:05Z")


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        (statement(status="affected", justification=None, action_statement="Upgrade"), Outcome.SKIPPED),
        (statement(status="fixed"), Outcome.CREATED),
        (statement(status="under_investigation"), Outcome.CREATED),
        (statement(status="nonsense"), Outcome.REFUSED),
        (statement(justification="nonsense"), Outcome.REFUSED),
        (statement("CVE-1999-1"), Outcome.REFUSED),
        (statement(FIRST, "pkg:deb/debian/second"), Outcome.REFUSED),
        (statement(FIRST, "pkg:deb/ubuntu/first"), Outcome.REFUSED),
        (statement(FIRST, "pkg:deb/debian/first@9"), Outcome.REFUSED),
        (statement(FIRST, "pkg:npm/first"), Outcome.REFUSED),
        (statement(FIRST, "https://acme.example/product"), Outcome.REFUSED),
        (statement(FIRST, "pkg:oci/api@sha256%3Aabc"), Outcome.REFUSED),
        ({"vulnerability": {"name": FIRST}, "status": "not_affected"}, Outcome.REFUSED),
        ({"products": [{"@id": "pkg:deb/debian/first"}], "status": "not_affected"}, Outcome.REFUSED),
    ],
)
@on_sqlite
async def test_a_statement_is_judged_by_itself(acme: Organization, given_: dict[str, Any], expected: Outcome) -> None:
    if given_.get("justification", "") is None or given_["status"] in {"fixed", "under_investigation"}:
        given_ = {name: value for name, value in given_.items() if name != "justification"}
        expected = Outcome.SKIPPED
    imported = await acme.take_in(openvex(given_, statement(SECOND, "pkg:deb/debian/second")))

    assert outcomes(imported) == [(0, expected), (1, Outcome.CREATED)]
    assert all(result.message for result in imported.results if result.outcome is not Outcome.CREATED)


@on_sqlite
async def test_an_attestation_covers_no_more_than_its_statement(acme: Organization) -> None:
    await acme.take_in(openvex(statement(FIRST, "pkg:deb/debian/first@3.0.1")))
    await acme.scan(
        finding(FIRST, of=package("first", "3.0.9")), image="ghcr.io/acme/other:1", digest="sha256:" + "e" * 64, hours=1
    )
    async with acme.database.read() as session:
        found = (await session.execute(select(Vulnerability).order_by(Vulnerability.package_version))).scalars().all()
    covered = {(each.package_name, each.package_version): each.exception_id is not None for each in found}
    assert covered == {("first", "3.0.1"): True, ("first", "3.0.9"): False, ("second", "3.0.1"): False}

    refused = await acme.take_in(openvex(statement(FIRST, "pkg:deb/debian/first@3.0.9")))
    assert outcomes(refused) == [(0, Outcome.REFUSED)]
    assert "pkg:deb/debian/first@3.0.1" in str(refused.results[0].message)


@on_sqlite
async def test_an_image_stands_for_the_tags_that_point_to_it(acme: Organization) -> None:
    await acme.scan(finding(FIRST, of=package("first")), image="ghcr.io/acme/other:1", digest="sha256:" + "e" * 64)
    image = f"pkg:oci/api@{DIGEST.replace(':', '%3A')}"
    whole = statement(FIRST, image)
    imported = await acme.take_in(openvex(whole))

    [held] = await rows(acme.database, Attestation)
    assert outcomes(imported) == [(0, Outcome.CREATED)]
    assert (held.scope_type, held.cve_id, held.package_name) == (ScopeType.TAG, FIRST, "first")
    assert held.tag_id in {tag.id for tag in await rows(acme.database, Tag) if tag.digest == DIGEST}


@on_sqlite
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"@context": "https://openvex.dev/ns/v0.2.0"},
        {"bomFormat": "CycloneDX", "components": []},
        {"document": {"csaf_version": "2.1"}, "vulnerabilities": []},
        {"bomFormat": "SPDX"},
    ],
)
async def test_what_is_no_vex_document_changes_nothing(acme: Organization, document: dict[str, Any]) -> None:
    with pytest.raises(HarborGuardError, match="document"):
        await acme.take_in(document)
    assert await rows(acme.database, Attestation) == []


@on_sqlite
async def test_without_an_attestation_there_is_no_document(acme: Organization) -> None:
    with pytest.raises(HarborGuardError, match="No attestation is active"):
        await acme.take_out(VexFormat.OPENVEX)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([FIRST, "pkg:deb/debian/first", "P1", "not_affected", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "statements",
                    "vulnerability",
                    "name",
                    "products",
                    "@id",
                    "status",
                    "subcomponents",
                    "vulnerabilities",
                    "id",
                    "affects",
                    "ref",
                    "analysis",
                    "state",
                    "components",
                    "purl",
                    "bom-ref",
                    "product_tree",
                    "branches",
                    "product",
                    "product_id",
                    "product_status",
                    "known_not_affected",
                    "flags",
                    "label",
                    "product_ids",
                    "relationships",
                    "full_product_name",
                    "product_groups",
                    "group_id",
                    "notes",
                    "title",
                    "text",
                    "cve",
                    "ids",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(
    document=st.dictionaries(st.sampled_from(["statements", "vulnerabilities", "components", "product_tree"]), _JSON)
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("wanted", list(VexFormat))
def test_a_document_of_any_shape_can_be_looked_at(wanted: VexFormat, document: dict[str, Any]) -> None:
    for each in CODECS[wanted].read(document):
        assert each.position >= 0
