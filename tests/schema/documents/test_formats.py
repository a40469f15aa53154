"""Every format against its standard: for a scan with one of everything, for an empty one, and for whatever a scan may hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings

from schema.documents import sarif
from schema.documents.contents import ScanContents
from schema.documents.formats import RENDERERS, DocumentFormat
from tests.schema.documents import standards
from tests.schema.documents.factories import HOSTILE, SCANS, contents, finding, misconfiguration, package, secret

Problems = Callable[[bytes], list[str]]


def parses(document: bytes) -> list[str]:
    document.decode()
    return []


def has_all(document: bytes) -> list[str]:
    scan = json.loads(document)["scan"]
    wanted = {"findings", "packages", "layers", "engines", "misconfigurations", "secrets", "efficiency", "scannedAt"}
    return sorted(wanted - scan.keys())


JUDGES: dict[DocumentFormat, Problems] = {
    DocumentFormat.CYCLONEDX: lambda document: standards.json_problems(standards.cyclonedx_schema(), document),
    DocumentFormat.SPDX: standards.spdx_problems,
    DocumentFormat.SARIF: lambda document: standards.json_problems(standards.sarif_schema(), document),
    DocumentFormat.GITLAB: lambda document: standards.json_problems(standards.GITLAB, document),
    DocumentFormat.JUNIT: standards.junit_problems,
    DocumentFormat.MARKDOWN: parses,
    DocumentFormat.JSON: has_all,
}
EMPTY = contents(
    engines=(), layers=(), packages=(), findings=(), misconfigurations=(), secrets=(), efficiency=None, digest=None
)


@pytest.mark.parametrize("scan", [contents(), EMPTY], ids=["full", "empty"])
@pytest.mark.parametrize("wanted", DocumentFormat)
def test_a_document_keeps_to_its_standard(wanted: DocumentFormat, scan: ScanContents) -> None:
    assert JUDGES[wanted](RENDERERS[wanted].render(scan)) == []


@pytest.mark.parametrize("wanted", DocumentFormat)
@settings(max_examples=40)
@given(scan=SCANS)
def test_whatever_a_scan_holds_the_document_keeps_to_its_standard(wanted: DocumentFormat, scan: ScanContents) -> None:
    assert JUDGES[wanted](RENDERERS[wanted].render(scan)) == []


@given(scan=SCANS)
@settings(max_examples=40)
def test_a_run_for_each_provider_keeps_to_the_standard(scan: ScanContents) -> None:
    assert JUDGES[DocumentFormat.SARIF](sarif.render(scan, per_engine=True)) == []


@pytest.mark.parametrize(
    ("wanted", "document", "problem"),
    [
        (
            DocumentFormat.CYCLONEDX,
            b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{}]}',
            "components",
        ),
        (DocumentFormat.SARIF, b'{"version": "2.1.0", "runs": [{}]}', "tool"),
        (DocumentFormat.GITLAB, b'{"version": "15.0.7", "vulnerabilities": []}', "scan"),
        (DocumentFormat.JUNIT, b"<testsuites name='x'><testcase/></testsuites>", "testcase"),
    ],
)
def test_the_judges_can_say_no(wanted: DocumentFormat, document: bytes, problem: str) -> None:
    assert problem in str(JUDGES[wanted](document))


def test_the_judge_of_spdx_can_say_no() -> None:
    body = json.loads(RENDERERS[DocumentFormat.SPDX].render(contents()))
    body["packages"][1]["licenseDeclared"] = "LicenseRef-nowhere"
    assert "LicenseRef-nowhere" in str(standards.spdx_problems(json.dumps(body).encode()))


RENDERS = [
    *(pytest.param(renderer.render, id=wanted) for wanted, renderer in RENDERERS.items()),
    pytest.param(partial(sarif.render, per_engine=True), id="sarif-per-engine"),
]


@pytest.mark.parametrize("render", RENDERS)
@given(scan=SCANS)
@settings(max_examples=20)
def test_equal_scans_make_equal_bytes_in_whatever_order_their_rows_come(
    render: Callable[[ScanContents], bytes], scan: ScanContents
) -> None:
    draw = random.Random(1)  # noqa: S311 -- an order, no secret
    shuffled: dict[str, Any] = {
        name: tuple(draw.sample(getattr(scan, name), len(getattr(scan, name))))
        for name in ("layers", "packages", "findings", "misconfigurations", "secrets")
    }
    assert render(replace(scan, **shuffled)) == render(scan)


@pytest.mark.parametrize("wanted", [DocumentFormat.CYCLONEDX, DocumentFormat.SPDX])
def test_the_id_of_a_document_changes_with_what_it_says(wanted: DocumentFormat) -> None:
    name = "serialNumber" if wanted is DocumentFormat.CYCLONEDX else "documentNamespace"
    ids = {
        json.loads(RENDERERS[wanted].render(scan))[name]
        for scan in (contents(), contents(), contents(packages=(package(version="9"),)))
    }
    assert len(ids) == 2
    assert all(each.startswith("urn:uuid:") for each in ids)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("wanted", DocumentFormat)
def test_hostile_words_stay_words(wanted: DocumentFormat, text: str) -> None:
    scan = contents(
        findings=(finding(title=text, package_name=text, path=text),),
        packages=(package(text, "1", licenses=(text,), path=text),),
        misconfigurations=(misconfiguration(title=text, evidence=(text,), path=text),),
        secrets=(secret(title=text, path=text),),
        grade_reason=text,
        grade=None,
    )
    document = RENDERERS[wanted].render(scan)
    assert JUDGES[wanted](document) == []
    assert b"\x1b" not in document


def test_a_file_says_what_it_is() -> None:
    suffixes = [renderer.suffix for renderer in RENDERERS.values()]
    assert len(set(suffixes)) == len(DocumentFormat)
    assert RENDERERS[DocumentFormat.CYCLONEDX].media_type == "application/vnd.cyclonedx+json; version=1.6"
