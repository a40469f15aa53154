"""What adapters make of output.

The shapes of Grype, Dockle, OSV-Scanner and of Trivy's vulnerabilities are written here after their published schemas,
because no binary of them, or no database, comes as a package. They are no recordings; the tools themselves run wherever
they are installed. Syft, Dive and the rest of Trivy run in test_real_tools.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from schema.dependencies.records import OperatingSystem, PackageRecord, PackageType
from schema.scans.evidence import CheckLevel, MisconfigurationRecord, SecretRecord
from schema.scans.models import Engine
from schema.vulnerabilities.records import Severity
from tests.workers.secrets.samples import ALNUM, made_up
from workers.engines import report as reports
from workers.engines.catalog import ADAPTERS
from workers.engines.documents import EngineFailure
from workers.engines.reading import masked, without
from workers.engines.report import EngineReport, ImageFacts, Packages, findings, joined_version

LAYER, TOP = "sha256:" + "a" * 64, "sha256:" + "b" * 64
DEBIAN = OperatingSystem(id="debian", name="Debian 12", version="12", ecosystem="Debian:12")
ROCKY = OperatingSystem(id="rocky", name="Rocky 9", version="9.3", ecosystem="Rocky Linux:9")
ALPINE = OperatingSystem(id="alpine", name="Alpine 3.19", version="3.19.1", ecosystem="Alpine:v3.19")


def facts(system: OperatingSystem | None = DEBIAN) -> ImageFacts:
    return ImageFacts(system=system, diff_ids=(LAYER, TOP))


def read(engine: Engine, document: dict[str, Any], system: OperatingSystem | None = DEBIAN) -> EngineReport:
    return ADAPTERS[engine].read(document, facts(system))


def syft(system: OperatingSystem, **artifact: Any) -> PackageRecord:
    [package] = read(Engine.SYFT, {"artifacts": [artifact]}, system).packages or ()
    return package


def trivy(system: OperatingSystem, kind: str, /, **package: Any) -> PackageRecord:
    group = "os-pkgs" if kind == system.id else "lang-pkgs"
    result = {"Target": "t", "Class": group, "Type": kind, "Packages": [package]}
    [record] = read(Engine.TRIVY, {"SchemaVersion": 2, "Results": [result]}, system).packages or ()
    return record


# Each line: what Syft says, what Trivy says, and what both are to us.
SAME = [
    (
        DEBIAN,
        {"type": "deb", "name": "bsdutils", "version": "1:2.38.1-5+b1",
         "metadata": {"source": "util-linux", "sourceVersion": "2.38.1-5", "architecture": "amd64"}},
        ("debian", {"Name": "bsdutils", "Epoch": 1, "Version": "2.38.1", "Release": "5+b1", "Arch": "amd64",
                    "SrcName": "util-linux", "SrcVersion": "2.38.1", "SrcRelease": "5"}),
        (PackageType.DEB, "bsdutils", "1:2.38.1-5+b1", "Debian:12", "util-linux", "2.38.1-5"),
    ),
    (
        ROCKY,
        {"type": "rpm", "name": "openssl-libs", "version": "1:3.0.7-24.el9",
         "metadata": {"sourceRpm": "openssl-3.0.7-24.el9.src.rpm", "architecture": "x86_64"}},
        ("rocky", {"Name": "openssl-libs", "Epoch": 1, "Version": "3.0.7", "Release": "24.el9", "Arch": "x86_64",
                   "SrcName": "openssl", "SrcEpoch": 1, "SrcVersion": "3.0.7", "SrcRelease": "24.el9"}),
        (PackageType.RPM, "openssl-libs", "1:3.0.7-24.el9", "Rocky Linux:9", "openssl", "1:3.0.7-24.el9"),
    ),
    (
        ROCKY,
        {"type": "rpm", "name": "bash", "version": "0:5.1.8-6.el9_1",
         "metadata": {"sourceRpm": "bash-5.1.8-6.el9_1.src.rpm"}},
        ("rocky", {"Name": "bash", "Epoch": 0, "Version": "5.1.8", "Release": "6.el9_1",
                   "SrcName": "bash", "SrcVersion": "5.1.8", "SrcRelease": "6.el9_1"}),
        (PackageType.RPM, "bash", "5.1.8-6.el9_1", "Rocky Linux:9", "bash", "5.1.8-6.el9_1"),
    ),
    (
        ALPINE,
        {"type": "apk", "name": "libcrypto3", "version": "3.1.4-r5", "metadata": {"originPackage": "openssl"}},
        ("alpine", {"Name": "libcrypto3", "Version": "3.1.4-r5", "SrcName": "openssl", "SrcVersion": "3.1.4-r5"}),
        (PackageType.APK, "libcrypto3", "3.1.4-r5", "Alpine:v3.19", "openssl", "3.1.4-r5"),
    ),
    (
        DEBIAN,
        {"type": "python", "name": "typing-extensions", "version": "4.0", "metadata": {"name": "Typing_Extensions"}},
        ("python-pkg", {"Name": "Typing_Extensions", "Version": "4.0"}),
        (PackageType.PIP, "Typing_Extensions", "4.0", "PyPI", "typing-extensions", "4.0"),
    ),
    (
        DEBIAN,
        {"type": "npm", "name": "@babel/core", "version": "7.1.0"},
        ("node-pkg", {"Name": "@babel/core", "Version": "7.1.0"}),
        (PackageType.NPM, "@babel/core", "7.1.0", "npm", "@babel/core", "7.1.0"),
    ),
    (
        DEBIAN,
        {"type": "java-archive", "name": "log4j-core", "version": "2.14.1",
         "purl": "pkg:maven/org.apache.logging.log4j/log4j-core@2.14.1"},
        ("jar", {"Name": "org.apache.logging.log4j:log4j-core", "Version": "2.14.1"}),
        (PackageType.MAVEN, "org.apache.logging.log4j:log4j-core", "2.14.1", "Maven",
         "org.apache.logging.log4j:log4j-core", "2.14.1"),
    ),
    (
        DEBIAN,
        {"type": "go-module", "name": "github.com/cespare/xxhash/v2", "version": "v2.3.0"},
        ("gobinary", {"Name": "github.com/cespare/xxhash/v2", "Version": "v2.3.0"}),
        (PackageType.GO, "github.com/cespare/xxhash/v2", "v2.3.0", "Go", "github.com/cespare/xxhash/v2", "v2.3.0"),
    ),
    (
        DEBIAN,
        {"type": "go-module", "name": "stdlib", "version": "go1.22.3"},
        ("gobinary", {"Name": "stdlib", "Version": "v1.22.3"}),
        (PackageType.GO, "stdlib", "1.22.3", "Go", "stdlib", "1.22.3"),
    ),
    (
        DEBIAN,
        {"type": "rust-crate", "name": "time", "version": "0.1.43"},
        ("rustbinary", {"Name": "time", "Version": "0.1.43"}),
        (PackageType.CARGO, "time", "0.1.43", "crates.io", "time", "0.1.43"),
    ),
    (
        DEBIAN,
        {"type": "gem", "name": "rack", "version": "2.2.3"},
        ("gemspec", {"Name": "rack", "Version": "2.2.3"}),
        (PackageType.GEM, "rack", "2.2.3", "RubyGems", "rack", "2.2.3"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("system", "from_syft", "from_trivy", "expected"), SAME, ids=lambda each: str(each)[:0] or None
)
def test_one_package_in_the_words_of_two(
    system: OperatingSystem,
    from_syft: dict[str, Any],
    from_trivy: tuple[str, dict[str, Any]],
    expected: tuple[str, ...],
) -> None:
    one, other = syft(system, **from_syft), trivy(system, from_trivy[0], **from_trivy[1])
    for package in (one, other):
        said = (
            package.type,
            package.name,
            package.version,
            package.ecosystem,
            package.source_name,
            package.source_version,
        )
        assert said == expected
    assert one.purl == other.purl


@pytest.mark.parametrize(
    ("parts", "version"),
    [(("", "1.0", ""), "1.0"), (("0", "1.0", "2"), "1.0-2"), (("2", "1.0", ""), "2:1.0"), (("", "", ""), "")],
)
def test_versions_are_joined_as_the_package_manager_writes_them(parts: tuple[str, str, str], version: str) -> None:
    assert joined_version(*parts) == version


def test_what_is_no_package_is_left_out_with_a_note() -> None:
    keys = {"type": "rpm", "name": "gpg-pubkey", "version": "350d275d-6279464b"}
    foreign = {"type": "linux-kernel", "name": "linux", "version": "6.1"}
    nameless, spaced = {"type": "npm", "name": "", "version": "1"}, {"type": "npm", "name": "a b", "version": "1"}
    report = read(Engine.SYFT, {"artifacts": [keys, foreign, nameless, spaced, "no object", None]}, ROCKY)
    assert report.packages == ()
    assert len(report.warnings) == 3
    assert report.warnings[0] == "Left out: 1 packages of kinds that are not read here (1 linux-kernel)"


def test_a_layer_the_image_does_not_have_is_none() -> None:
    place = {"path": "/srv/p/package.json", "layerID": "sha256:" + "f" * 64}
    package = syft(DEBIAN, type="npm", name="p", version="1", locations=[place])
    assert (package.path, package.layer_index, package.layer_digest) == ("srv/p/package.json", -1, "")


# --- Trivy's vulnerabilities, after pkg/types/report.go and pkg/types/vulnerability.go

TRIVY = {
    "SchemaVersion": 2,
    "ArtifactName": "image",
    "Results": [
        {
            "Target": "image (debian 12.5)",
            "Class": "os-pkgs",
            "Type": "debian",
            "Packages": [
                {"ID": "libssl3@3.0.1-1", "Name": "libssl3", "Identifier": {"UID": "1a"}, "Version": "3.0.1", "Release": "1",
                 "Arch": "amd64", "SrcName": "openssl", "SrcVersion": "3.0.1", "SrcRelease": "1", "Layer": {"DiffID": TOP}},
            ],
            "Vulnerabilities": [
                {"VulnerabilityID": "CVE-2024-0001", "VendorIDs": ["DSA-5000-1"], "PkgID": "libssl3@3.0.1-1",
                 "PkgName": "libssl3", "PkgIdentifier": {"UID": "1a"}, "InstalledVersion": "3.0.1-1",
                 "FixedVersion": "3.0.2-1, 3.1.0-1", "Status": "fixed", "Severity": "HIGH",
                 "Title": "openssl:\x1b[31m a flaw", "CVSS": {
                     "nvd": {"V3Vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "V3Score": 9.8},
                     "redhat": {"V3Vector": "nonsense"}}},
                {"VulnerabilityID": "CVE-2024-0002", "PkgName": "gone", "InstalledVersion": "1.0-1", "Severity": "SPICY",
                 "Layer": {"DiffID": LAYER}},
                {"VulnerabilityID": "not an id", "PkgName": "gone", "InstalledVersion": "1.0-1"},
            ],
        },
        {"Target": "deploy/pod.yaml", "Class": "config", "Type": "kubernetes", "Misconfigurations": [
            {"ID": "KSV-0001", "Title": "t", "Severity": "CRITICAL", "Status": "FAIL", "Message": "m", "Resolution": "r"},
            {"ID": "KSV-0002", "Severity": "LOW", "Status": "PASS"},
        ]},
    ],
}  # fmt: skip


def test_trivy_s_vulnerabilities() -> None:
    report = read(Engine.TRIVY, TRIVY)
    first, second = report.findings or ()
    assert (first.vulnerability_id, first.aliases) == ("CVE-2024-0001", ()), "a bulletin names other flaws, too"
    assert (first.package.name, first.package.version, first.package.layer_index) == ("libssl3", "3.0.1-1", 1)
    assert first.package.source_name == "openssl", "the package as it was listed"
    assert (first.severity, first.cvss_score) == (Severity.HIGH, 9.8), "Trivy's own rating, and the vector's score"
    assert first.fixed_versions == ("3.0.2-1", "3.1.0-1")
    assert first.title.isprintable()
    assert (second.package.name, second.severity) == ("gone", Severity.UNKNOWN)


def test_trivy_s_misconfigurations_name_the_file() -> None:
    [check] = read(Engine.TRIVY, TRIVY).misconfigurations
    assert (check.check_id, check.path, check.level, check.evidence) == (
        "KSV-0001",
        "deploy/pod.yaml",
        CheckLevel.FATAL,
        ("m",),
    )


# --- Grype, after grype/presenter/models

GRYPE = {
    "matches": [
        {
            "vulnerability": {"id": "GHSA-aaaa-bbbb-cccc", "severity": "Critical", "namespace": "github:language:python",
                              "fix": {"versions": ["4.1"], "state": "fixed"}, "description": "  a flaw\n in words ",
                              "cvss": [{"version": "3.1", "vector": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}]},
            "relatedVulnerabilities": [{"id": "CVE-2023-1234", "severity": "High"}],
            "matchDetails": [],
            "artifact": {"name": "django", "version": "4.0", "type": "python", "purl": "pkg:pypi/django@4.0",
                         "licenses": ["BSD-3-Clause"], "upstreams": [],
                         "locations": [{"path": "/site/Django-4.0.dist-info/METADATA", "layerID": LAYER}]},
        },
        {
            "vulnerability": {"id": "ELSA-2023-1", "severity": "Negligible", "fix": {"versions": [], "state": "wont-fix"}},
            "relatedVulnerabilities": [{"id": "CVE-2023-0002"}, {"id": "CVE-2023-0003"}],
            "artifact": {"name": "libssl3", "version": "3.0.1-1", "type": "deb", "upstreams": [{"name": "openssl"}]},
        },
    ]
}  # fmt: skip


def test_grype_s_matches() -> None:
    flaw, *bulletin = read(Engine.GRYPE, GRYPE).findings or ()
    assert (flaw.vulnerability_id, flaw.aliases, flaw.advisory_ids) == (
        "CVE-2023-1234",
        ("GHSA-aaaa-bbbb-cccc",),
        ("GHSA-aaaa-bbbb-cccc",),
    )
    assert (flaw.severity, flaw.cvss_score, flaw.fixed_versions) == (Severity.CRITICAL, 7.5, ("4.1",))
    assert (flaw.package.source_name, flaw.package.layer_index, flaw.title) == ("django", 0, "a flaw in words")
    assert [each.vulnerability_id for each in bulletin] == ["CVE-2023-0002", "CVE-2023-0003"]
    assert {(each.severity, each.package.source_name) for each in bulletin} == {(Severity.LOW, "openssl")}
    assert read(Engine.GRYPE, GRYPE).packages is None, "it judges packages and does not list them"


# --- Dockle, after pkg/report/json.go

DOCKLE = {
    "image": "image",
    "summary": {"fatal": 1, "warn": 1, "info": 0, "skip": 1, "pass": 10},
    "details": [
        {
            "code": "CIS-DI-0010",
            "title": "Do not store credential in environment",
            "level": "FATAL",
            "alerts": ["A", "A", "B"],
        },
        {"code": "CIS-DI-0001", "title": "Create a user", "level": "WARN", "alerts": ["Last user should not be root"]},
        {
            "code": "DKL-LI-0001",
            "title": "Avoid empty password",
            "level": "SKIP",
            "alerts": ["failed to detect etc/shadow"],
        },
        {"code": "DKL-DI-0042", "title": "New", "level": "PANIC", "alerts": None},
    ],
}


def test_dockle_s_checks() -> None:
    checks = read(Engine.DOCKLE, DOCKLE).misconfigurations
    assert [(each.check_id, each.level, each.severity, each.evidence) for each in checks] == [
        ("CIS-DI-0010", CheckLevel.FATAL, Severity.HIGH, ("A", "B")),
        ("CIS-DI-0001", CheckLevel.WARN, Severity.MEDIUM, ("Last user should not be root",)),
        ("DKL-DI-0042", CheckLevel.INFO, Severity.UNKNOWN, ()),
    ]


# --- OSV-Scanner, after pkg/models/results.go and the OSV schema

OSV = {
    "results": [
        {
            "source": {"path": "var/lib/dpkg/status", "type": "os"},
            "packages": [
                {
                    "package": {"name": "openssl", "os_package_name": "libssl3", "version": "3.0.1-1",
                                "ecosystem": "Debian:12", "image_origin_details": {"index": 1}},
                    "vulnerabilities": [
                        {"id": "DEBIAN-CVE-2024-0001", "modified": "2024-05-01T00:00:00Z", "upstream": ["CVE-2024-0001"],
                         "summary": "A flaw", "severity": [
                             {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"}],
                         "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl"}, "ranges": [
                             {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.0.2-1"}]}]}]},
                        {"id": "broken"},
                    ],
                    "groups": [
                        {"ids": ["DEBIAN-CVE-2024-0001"], "aliases": ["CVE-2024-0001"], "max_severity": "7.5"},
                        {"ids": ["broken"], "max_severity": ""},
                    ],
                },
                {"package": {"name": "x", "version": "1", "ecosystem": "Hackage"}, "groups": [{"ids": ["HSEC-1"]}]},
            ],
        }
    ],
    "image_metadata": {"layer_metadata": [{"diff_id": LAYER}, {"diff_id": TOP}]},
}  # fmt: skip


def test_osv_scanner_s_groups() -> None:
    flaw, bare = read(Engine.OSV, OSV).findings or ()
    assert (flaw.vulnerability_id, flaw.aliases) == ("CVE-2024-0001", ("DEBIAN-CVE-2024-0001",))
    assert (flaw.severity, flaw.cvss_score, flaw.fixed_versions, flaw.title) == (
        Severity.HIGH,
        7.5,
        ("3.0.2-1",),
        "A flaw",
    )
    assert (flaw.package.name, flaw.package.source_name, flaw.package.layer_index) == ("libssl3", "openssl", 1)
    assert (bare.vulnerability_id, bare.severity) == ("broken", Severity.UNKNOWN)


def test_osv_scanner_found_nothing() -> None:
    assert read(Engine.OSV, {"results": None}).findings == ()


@pytest.mark.parametrize("engine", list(Engine))
@pytest.mark.parametrize("document", [{}, {"artifacts": {}, "matches": 1, "results": 1, "Results": 1, "layer": {}}])
def test_another_document_is_a_failure_and_not_nothing_found(engine: Engine, document: dict[str, Any]) -> None:
    with pytest.raises(EngineFailure):
        read(engine, document)


def test_more_than_there_can_be_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engines.syft.MAX_PACKAGES", 2)
    artifact = {"type": "npm", "name": "p", "version": "1"}
    assert len(read(Engine.SYFT, {"artifacts": [artifact] * 2}).packages or ()) == 2
    with pytest.raises(EngineFailure, match="more than 2 packages"):
        read(Engine.SYFT, {"artifacts": [artifact] * 3})


def test_lists_of_one_finding_are_bounded() -> None:
    package = Packages(facts()).record(PackageType.NPM, "p", "1", at=("", ""))
    assert package is not None
    many = [f"GHSA-{number}" for number in range(500)]
    [finding] = findings(many, package, severity=Severity.LOW, fixed=[str(each) for each in range(500)])
    assert len(finding.aliases) < reports.MAX_ALIASES
    assert len(finding.fixed_versions) == reports.MAX_VERSIONS


def test_members_are_withheld_wherever_they_are() -> None:
    document = {"a": {"b": {"c": 1, "d": 2}}, "e": 3}
    assert without(document, [("a", "b", "c"), ("e",), ("x", "y"), ("e", "f")]) == {"a": {"b": {"d": 2}}}
    assert document["a"] == {"b": {"c": 1, "d": 2}}
    assert without({"a": [{"b": 1, "c": 2}, 3, {"d": 4}]}, [("a", "b")]) == {"a": [{"c": 2}, 3, {"d": 4}]}


def test_what_a_tool_quotes_is_masked() -> None:
    token = "ghp_" + made_up(ALNUM, 36)
    quoted, shown = f"found {token} in a step", f"found ghp_********{token[-4:]} in a step"
    record = MisconfigurationRecord(
        check_id="CIS-DI-0010",
        title=quoted,
        level=CheckLevel.FATAL,
        severity=Severity.HIGH,
        evidence=("a step", quoted),
        remediation="",
    )
    secret = SecretRecord(
        rule="r", title="", severity=Severity.HIGH, path="", line=1, masked=quoted, layer_digest="", layer_index=-1
    )
    report = masked(EngineReport(misconfigurations=(record,), secrets=(secret,), warnings=(quoted,)))
    assert report.misconfigurations == (replace(record, title=shown, evidence=("a step", shown)),)
    assert (report.secrets, report.warnings) == ((replace(secret, masked=shown),), (shown,))
