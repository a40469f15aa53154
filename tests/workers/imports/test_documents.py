"""What the readers make of documents: shapes after the formats' schemas, and documents nobody would write in good faith."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.dependencies.records import PackageType
from schema.scans.formats import ReportFormat, recognise
from schema.scans.models import Engine
from schema.vulnerabilities.records import FindingRecord, Severity
from tests.workers.engines.test_reports import GRYPE, LAYER, OSV, TRIVY
from tests.workers.imports.samples import CURL, DIGEST, GRYPE_SARIF, OPENSSL, TRIVY_SARIF, sbom
from workers.engines import report as reports
from workers.engines.documents import EngineFailure
from workers.imports.purls import Shelf, parse_purl
from workers.imports.reading import read_document
from workers.imports.report import Generator, ImportedReport, Subject, named_system


def read(document: Any) -> ImportedReport:
    found = recognise(document)
    assert found is not None
    return read_document(found, document)


def said(finding: FindingRecord) -> tuple[object, ...]:
    package = finding.package
    return (
        finding.vulnerability_id,
        finding.severity,
        finding.fixed_versions,
        package.type,
        package.name,
        package.version,
    )


PURLS = [
    ("pkg:npm/%40babel/core@7.1.0", (PackageType.NPM, "@babel/core", "7.1.0", "npm", "@babel/core")),
    ("pkg:pypi/typing-extensions@4.0", (PackageType.PIP, "typing-extensions", "4.0", "PyPI", "typing-extensions")),
    ("pkg:maven/org.acme/core@1", (PackageType.MAVEN, "org.acme:core", "1", "Maven", "org.acme:core")),
    ("pkg:golang/github.com/a/b@v2.1.0#v2", (PackageType.GO, "github.com/a/b/v2", "v2.1.0", "Go", "github.com/a/b/v2")),
    ("pkg:golang/stdlib@1.22.3", (PackageType.GO, "stdlib", "1.22.3", "Go", "stdlib")),
    ("pkg:cargo/time@0.1.43", (PackageType.CARGO, "time", "0.1.43", "crates.io", "time")),
    ("pkg:composer/psr/log@1.1.4", (PackageType.COMPOSER, "psr/log", "1.1.4", "Packagist", "psr/log")),
    ("pkg:nuget/Newtonsoft.Json@12.0.1", (PackageType.NUGET, "Newtonsoft.Json", "12.0.1", "NuGet", "newtonsoft.json")),
    (OPENSSL, (PackageType.DEB, "libssl3", "3.0.1-1", "Debian:12", "openssl")),
    (
        "pkg:deb/debian/bsdutils@2.38.1-5%2Bb1?distro=debian-12.5&epoch=1&upstream=util-linux%402.38.1-5",
        (PackageType.DEB, "bsdutils", "1:2.38.1-5+b1", "Debian:12", "util-linux"),
    ),
    ("pkg:deb/debian/curl@1-1?distro=bookworm", (PackageType.DEB, "curl", "1-1", "Debian:12", "curl")),
    ("pkg:deb/debian/curl@1-1", (PackageType.DEB, "curl", "1-1", None, "curl")),
    (
        "pkg:rpm/rocky/bash-libs@5.1.8-6.el9?distro=rocky-9.3&epoch=2&upstream=bash-5.1.8-6.el9.src.rpm",
        (PackageType.RPM, "bash-libs", "2:5.1.8-6.el9", "Rocky Linux:9", "bash"),
    ),
    ("pkg:rpm/redhat/bash@5-6?distro=redhat-9.3", (PackageType.RPM, "bash", "5-6", "Red Hat:enterprise_linux:9", "bash")),
    (
        "pkg:rpm/suse/bash@5-6?distro=sles-15.6",
        (PackageType.RPM, "bash", "5-6", "SUSE:Linux Enterprise Server 15 SP6", "bash"),
    ),
    ("pkg:rpm/opensuse/bash@5-6?distro=opensuse-leap-15.6", (PackageType.RPM, "bash", "5-6", "openSUSE:Leap 15.6", "bash")),
    ("pkg:apk/alpine/libcrypto3@3.1-r1?distro=alpine-3.19.1&upstream=openssl",
     (PackageType.APK, "libcrypto3", "3.1-r1", "Alpine:v3.19", "openssl")),
    ("pkg:apk/wolfi/bash@5-r1?distro=wolfi-20230201", (PackageType.APK, "bash", "5-r1", "Wolfi", "bash")),
]  # fmt: skip


@pytest.mark.parametrize(("purl", "expected"), PURLS)
def test_a_package_url_is_a_package(purl: str, expected: tuple[object, ...]) -> None:
    package = Shelf(Subject()).package(parse_purl(purl))

    assert package is not None
    assert (package.type, package.name, package.version, package.ecosystem, package.source_name) == expected


def test_a_system_the_document_names_goes_before_that_of_a_package() -> None:
    shelf = Shelf(Subject(system=named_system("ubuntu", "22.04")))

    package = shelf.package(parse_purl(CURL))

    assert package is not None
    assert package.ecosystem == "Ubuntu:22.04:LTS"


def test_what_is_no_package_is_counted_and_not_invented() -> None:
    report = read(sbom("pkg:swift/a/b@1", "pkg:swift/a/c@1", "pkg:oci/image@sha256:1", "no purl", "pkg:npm/x@1")).report

    assert [package.name for package in report.packages or ()] == ["x"]
    assert report.warnings == ("Left out: 3 packages of kinds that are not read here (2 swift, 1 without a kind)",)


def test_parts_of_parts_and_both_forms_of_tools() -> None:
    document = sbom("pkg:npm/x@1")
    document["components"][0]["components"] = [
        {"type": "library", "purl": "pkg:npm/y@1", "components": [{"purl": "pkg:npm/z@1"}]}
    ]
    document["metadata"]["tools"] = [{"vendor": "acme", "name": "maker", "version": "2"}, {"name": "trivy"}]

    imported = read(document)

    assert [package.name for package in imported.report.packages or ()] == ["x", "y", "z"]
    assert (imported.provider, imported.source, imported.engine) == ("cyclonedx (maker 2)", "cyclonedx", None)


FLAW = {"id": "CVE-2024-1", "affects": [{"ref": OPENSSL}]}


@pytest.mark.parametrize(
    ("stated", "severity"),
    [
        ({"ratings": [{"severity": "high"}, {"severity": "low"}]}, Severity.HIGH),
        ({"source": {"name": "debian"}, "ratings": [{"severity": "high"}, {"severity": "low", "source": {"name": "debian"}}]},
         Severity.LOW),
        ({"ratings": [{"severity": "spicy"}, {"severity": "none"}]}, Severity.UNKNOWN),
        ({"ratings": [{"vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "method": "CVSSv31"}]}, Severity.CRITICAL),
        ({}, Severity.UNKNOWN),
    ],
)  # fmt: skip
def test_how_severe_a_flaw_of_an_sbom_is(stated: dict[str, Any], severity: Severity) -> None:
    [finding] = read(sbom(OPENSSL, vulnerabilities=[FLAW | stated])).report.findings or ()
    assert finding.severity is severity


def test_a_flaw_names_its_package_in_three_ways() -> None:
    link = "urn:cdx:f08a6ccd-4dce-4759-bd84-c626675d60a7/1#" + OPENSSL.replace("?", "%3F").replace("&", "%26")
    references = [OPENSSL, link, CURL, "nobody"]
    flaw = {"id": "CVE-2024-1", "affects": [{"ref": each} for each in references],
            "recommendation": "Upgrade libssl3 to version 3.0.2-1, 3.1; Upgrade curl to version 8"}  # fmt: skip

    imported = read(sbom(OPENSSL, vulnerabilities=[flaw]))

    names = [(each.package.name, each.fixed_versions) for each in imported.report.findings or ()]
    fixed = ("3.0.2-1", "3.1", "8")
    assert names == [("libssl3", fixed), ("libssl3", fixed), ("curl", fixed)]
    assert imported.report.unjudged == 1


@pytest.mark.parametrize(
    ("creators", "expected"),
    [
        (["Organization: Anchore, Inc", "Tool: syft-1.18.1"], Generator(name="syft", version="1.18.1")),
        (["Tool: trivy-0.76.0"], Generator(name="trivy", version="0.76.0")),
        (["Tool: Microsoft.SBOMTool-2.2.5"], Generator(name="Microsoft.SBOMTool", version="2.2.5")),
        (["Tool: spdx-maker"], Generator(name="spdx-maker", version="")),
        (["Person: x"], Generator()),
    ],
)
def test_who_made_an_spdx_document(creators: list[str], expected: Generator) -> None:
    document = {"spdxVersion": "SPDX-2.3", "creationInfo": {"creators": creators}, "packages": []}
    assert read(document).generator == expected


def test_packages_of_spdx() -> None:
    references = [{"referenceCategory": "PACKAGE_MANAGER", "referenceType": "purl", "referenceLocator": OPENSSL}]
    document = {
        "spdxVersion": "SPDX-2.2",
        "documentDescribes": ["SPDXRef-image"],
        "packages": [
            {"SPDXID": "SPDXRef-image", "name": "image", "versionInfo": DIGEST},
            {"SPDXID": "SPDXRef-1", "name": "libssl3", "externalRefs": references, "licenseConcluded": "NOASSERTION",
             "licenseDeclared": "Apache-2.0"},
            {"SPDXID": "SPDXRef-2", "name": "nameless"},
        ],
    }  # fmt: skip
    imported = read(document)

    [package] = imported.report.packages or ()
    assert (package.name, package.licenses, imported.subject.digest) == ("libssl3", ("Apache-2.0",), DIGEST)
    assert imported.report.findings is None
    assert "1 without a kind" in imported.report.warnings[0]


def test_sarif_of_grype() -> None:
    imported = read(GRYPE_SARIF)

    assert (imported.provider, imported.engine) == ("grype 0.87.0", Engine.GRYPE)
    assert [said(each) for each in imported.report.findings or ()] == [
        ("CVE-2024-0001", Severity.HIGH, ("3.0.2-1",), PackageType.DEB, "libssl3", "3.0.1-1"),
        ("CVE-2024-0002", Severity.CRITICAL, (), PackageType.NPM, "left-pad", "1.0.0"),
    ]
    assert imported.report.unjudged == 1, "a kind of package nobody here knows"
    assert imported.report.warnings[1:] == (
        "1 results are suppressed and left out",
        "1 results are about no vulnerability and left out",
    )


def test_sarif_of_trivy() -> None:
    document = deepcopy(TRIVY_SARIF)
    result = document["runs"][0]["results"][0]
    document["runs"][0]["results"].append(
        result | {"locations": [{"physicalLocation": {"artifactLocation": {"uri": "image"}}}]}
    )
    imported = read(document)

    assert [said(each) for each in imported.report.findings or ()] == [
        ("CVE-2024-0004", Severity.MEDIUM, ("7.2.0", "8.0.0"), PackageType.NPM, "@babel/core", "7.1.0"),
    ]
    assert (imported.subject.digest, imported.report.unjudged) == (DIGEST, 1)


def test_sarif_of_osv_scanner_and_of_several_tools() -> None:
    result = {
        "ruleId": "GHSA-vp9c-fpxx-744v",
        "message": {
            "text": "Package 'time@0.1.43' is vulnerable to 'GHSA-vp9c-fpxx-744v' (also known as 'CVE-2020-26235')."
        },
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": "file:///work/Cargo.lock"}}}],
    }
    rule = {
        "id": "GHSA-vp9c-fpxx-744v",
        "deprecatedIds": ["CVE-2020-26235"],
        "properties": {"security-severity": "6.2"},
    }
    driver = {"name": "osv-scanner", "semanticVersion": "2.0.0", "rules": [rule]}
    run = {"tool": {"driver": driver}, "results": [result]}
    alone = read({"version": "2.1.0", "runs": [run]})
    together = read({"version": "2.1.0", "runs": [run, {"tool": {"driver": {"name": "Trivy"}}, "results": []}]})

    assert [said(each) for each in alone.report.findings or ()] == [
        ("CVE-2020-26235", Severity.MEDIUM, (), PackageType.CARGO, "time", "0.1.43"),
    ]
    assert alone.provider == "osv-scanner 2.0.0"
    assert (together.provider, together.source) == ("sarif (osv-scanner, Trivy)", "sarif")


def test_own_reports_tell_system_layers_and_what_was_left_out() -> None:
    grype = GRYPE | {
        "distro": {"name": "debian", "version": "12"},
        "source": {"target": {"layers": [{"digest": LAYER}]}},
    }
    grype["matches"] = [*GRYPE["matches"], {"artifact": {"type": "binary", "name": "node", "version": "20"}}]
    imported = read(grype)
    osv = read(OSV)

    assert {each.package.ecosystem for each in imported.report.findings or ()} == {"PyPI", "Debian:12"}
    assert imported.report.findings is not None
    assert imported.report.findings[0].package.layer_index == 0
    assert (imported.report.unjudged, osv.report.unjudged) == (1, 1)
    assert osv.subject.system is not None
    assert osv.subject.system.ecosystem == "Debian:12"


def test_more_than_there_can_be_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.imports.cyclonedx.MAX_PACKAGES", 2)
    with pytest.raises(EngineFailure, match="more than 2 packages"):
        read(sbom(*(f"pkg:npm/x{number}@1" for number in range(3))))
    assert reports.MAX_PACKAGES == 100_000


# --- Mutations: a reader refuses with a reason, or takes what is well-formed. Nothing else comes out of it.

SPDX = {
    "spdxVersion": "SPDX-2.3",
    "creationInfo": {"creators": ["Tool: syft-1.18.1"]},
    "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relatedSpdxElement": "SPDXRef-1",
                       "relationshipType": "DESCRIBES"}],
    "packages": [{"SPDXID": "SPDXRef-2", "name": "x", "versionInfo": "1", "primaryPackagePurpose": "LIBRARY",
                  "sourceInfo": "built package from: x 1",
                  "externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:npm/x@1"}]}],
}  # fmt: skip
SYFT = {
    "artifacts": [{"type": "deb", "name": "x", "version": "1", "locations": [{"path": "p", "layerID": LAYER}]}],
    "source": {"metadata": {"layers": [{"digest": LAYER}], "manifestDigest": DIGEST}},
    "distro": {"id": "debian", "versionID": "12"},
    "descriptor": {"name": "syft", "version": "1"},
}  # fmt: skip
VULNERABLE = sbom(
    OPENSSL, vulnerabilities=[FLAW | {"ratings": [{"severity": "low"}], "references": [{"id": "GHSA-1"}]}]
)
SEEDS: list[Any] = [
    GRYPE_SARIF,
    TRIVY_SARIF,
    VULNERABLE,
    SPDX,
    SYFT,
    GRYPE,
    OSV,
    {**TRIVY, "Metadata": {"OS": {"Family": "x"}}},
]
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**70,
        1e308,
        "",
        "\x00",
        "\ud800",
        "pkg:",
        "pkg:npm/%2f%00@?a=%",
        "x" * 5000,
        [],
        [[]],
        {},
        {"a": {}},
    ]
)


def places(node: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


def changed(node: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    copy[place[0]] = changed(node[place[0]], place[1:], value)
    return copy


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    document = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        document = changed(document, draw(st.sampled_from(places(document)[1:] or [()])), draw(ODD))
        if not isinstance(document, dict):
            return {}
    return document


@settings(max_examples=1500, deadline=None)
@given(mutated())
def test_a_mutated_document_is_read_or_refused(document: Any) -> None:
    for found in ReportFormat:
        try:
            imported = read_document(found, document)
        except EngineFailure:
            continue
        for package in imported.report.packages or ():
            assert package.name.isascii()
            assert package.name
            assert package.version
            assert len(package.purl) <= 1000
        for finding in imported.report.findings or ():
            assert finding.title.isprintable()
            assert len(finding.vulnerability_id) <= 60
        assert imported.provider.isprintable()
        assert len(imported.provider) <= 100
        orjson.dumps(imported)
