"""What a bill of materials says, in CycloneDX and in SPDX."""

from __future__ import annotations

import json
from typing import Any

import pytest
from packaging.licenses import canonicalize_license_expression
from packaging.licenses._spdx import LICENSES

from schema.documents import cyclonedx, spdx
from schema.documents.contents import ScanContents
from schema.vulnerabilities.models import TriageStatus
from schema.vulnerabilities.records import Severity
from tests.schema.documents.factories import VECTORS, contents, finding, package
from tests.schema.documents.standards import cyclonedx_schema, json_problems, spdx_problems


def bom(scan: ScanContents) -> Any:
    return json.loads(cyclonedx.render(scan))


def spdx_document(scan: ScanContents) -> Any:
    return json.loads(spdx.render(scan))


def test_a_package_in_two_places_is_two_components_and_a_flaw_affects_both() -> None:
    found = bom(contents())
    places = {each["bom-ref"] for each in found["components"] if each["name"] == "lodash"}
    assert len(places) == 2
    flaw = next(each for each in found["vulnerabilities"] if each["id"] == "CVE-2021-3")
    assert {each["ref"] for each in flaw["affects"]} == places
    assert set(found["dependencies"][0]["dependsOn"]) == {each["bom-ref"] for each in found["components"]}


def test_the_image_is_what_it_is_about() -> None:
    image = bom(contents())["metadata"]["component"]
    assert image["purl"] == f"pkg:oci/api@sha256%3A{'d' * 64}?repository_url=ghcr.io/acme/api"
    tools = bom(contents())["metadata"]["tools"]["components"]
    assert [each["name"] for each in tools] == ["HarborGuard", "native", "syft"]


def test_ratings_are_ours_then_those_of_each_source_then_of_each_vector() -> None:
    found = bom(contents(findings=(finding(cvss_vectors=(*VECTORS, "nonsense"), severities={"trivy": Severity.LOW}),)))
    first, second, *vectors = found["vulnerabilities"][0]["ratings"]
    assert first == {"source": {"name": "HarborGuard"}, "severity": "high", "score": 7.5}
    assert second == {"source": {"name": "trivy"}, "severity": "low"}
    assert [each["method"] for each in vectors] == ["CVSSv31", "CVSSv2", "CVSSv4"]


@pytest.mark.parametrize(
    ("status", "analysis"),
    [
        (TriageStatus.OPEN, None),
        (TriageStatus.ACKNOWLEDGED, {"state": "in_triage"}),
        (TriageStatus.IN_PROGRESS, {"state": "exploitable", "response": ["update"]}),
        (TriageStatus.FIXED, {"state": "resolved", "response": ["update"]}),
        (TriageStatus.WONT_FIX, {"state": "exploitable", "response": ["will_not_fix"]}),
    ],
)
def test_the_analysis_is_that_of_the_triage(status: TriageStatus, analysis: Any) -> None:
    assert bom(contents(findings=(finding(status=status),)))["vulnerabilities"][0].get("analysis") == analysis


LICENSES_OF = [
    (("MIT",), [{"license": {"id": "MIT"}}], "MIT"),
    (("mit or isc",), [{"expression": "MIT OR ISC"}], "MIT OR ISC"),
    (("MIT", "ISC"), [{"license": {"id": "MIT"}}, {"license": {"id": "ISC"}}], "MIT AND ISC"),
    (
        ("MIT OR ISC", "BSD-3-Clause"),
        [{"license": {"name": "MIT OR ISC"}}, {"license": {"id": "BSD-3-Clause"}}],
        "(MIT OR ISC) AND BSD-3-Clause",
    ),
    ((), None, "NOASSERTION"),
]


@pytest.mark.parametrize(("texts", "components", "declared"), LICENSES_OF)
def test_licences_are_said_in_each_standards_way(texts: tuple[str, ...], components: Any, declared: str) -> None:
    scan = contents(packages=(package(licenses=texts),))
    assert bom(scan)["components"][0].get("licenses") == components
    assert spdx_document(scan)["packages"][1]["licenseDeclared"] == declared


def test_a_licence_of_no_list_is_carried_along() -> None:
    scan = contents(
        packages=(package(licenses=("Ours, all rights reserved",)), package("b", licenses=("LicenseRef-x",)))
    )
    found = spdx_document(scan)
    known = {each["licenseId"]: each["extractedText"] for each in found["hasExtractedLicensingInfos"]}
    assert [known[each["licenseDeclared"]] for each in found["packages"][1:]] == [
        "LicenseRef-x",
        "Ours, all rights reserved",
    ]
    assert bom(scan)["components"][1]["licenses"] == [{"license": {"name": "Ours, all rights reserved"}}]


def test_every_identifier_we_take_for_listed_is_on_the_lists_of_both() -> None:
    current = [each["id"] for each in LICENSES.values() if not each["deprecated"]]
    listed = [str(canonicalize_license_expression(each)) for each in current]
    scan = contents(packages=tuple(package(f"p{n}", licenses=(each,)) for n, each in enumerate(listed)), findings=())
    assert len(listed) > 600
    assert json_problems(cyclonedx_schema(), cyclonedx.render(scan)) == []
    # On the list, but spdx-tools takes it for an exception because of its name.
    assert [each for each in spdx_problems(spdx.render(scan)) if "MPL-2.0-no-copyleft-exception" not in each] == []


def test_spdx_relates_the_image_to_its_packages() -> None:
    found = spdx_document(contents())
    kinds = [each["relationshipType"] for each in found["relationships"]]
    assert kinds == ["DESCRIBES"] + ["CONTAINS"] * 5
    assert found["packages"][0]["checksums"] == [{"algorithm": "SHA256", "checksumValue": "d" * 64}]
    assert found["creationInfo"]["created"] == "2026-04-26T14:22:11Z"
